/* hold.c - looks for the next small piece of work, does it, and remembers where it was. */
#include "worker/share/hold.h"

#include "common/util/clock.h"
#include "worker/share/damage.h"
#include "worker/share/kv_work.h"

#include <stdlib.h>
#include <string.h>

struct hd_hold {
    bool in_force;   /* an assignment of this session said what is held */
    bool releasing;  /* there may be units to release */
    bool loading;    /* there may be weights to load */
    uint64_t behind; /* mask of sequences whose held lanes may lack rows that are logged */
    /* The round that is to be answered; .round == 0: none. Its needs are the next array, its lists
     * are not used (the shard has them). */
    struct hd_assignment round;
    struct hd_sequence_need needs[HD_MAX_SEQUENCES];
    struct hd_kv_report done; /* in this round so far */
    struct hd_kv_list list;   /* of the slice, or of the step that is followed */
};

int hd_hold_new(struct hd_hold **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : HD_E_NOMEM;
}

void hd_hold_free(struct hd_hold *h)
{
    if (!h)
        return;
    hd_kv_list_deinit(&h->list);
    free(h);
}

static struct hd_unit_list held_heads(const struct hd_node *n)
{
    return hd_shard_followed(n->shard);
}

/* ---- What is to be held ----*/

static uint64_t rows_held(const struct hd_node *n)
{
    struct hd_unit_list heads = held_heads(n);
    uint64_t rows = 0;
    for (uint32_t l = 0; l < n->model->shape.n_layers; l++)
        for (size_t h = 0; h < heads.n; h++)
            rows += hd_kv_valid_total(n->kv, l, heads.list[h]);
    return rows;
}

void hd_hold_set(struct hd_node *n, const struct hd_assignment *a)
{
    struct hd_hold *h = n->hold;
    hd_shard_hold(n->shard, a->hold, a->bare);
    h->in_force = h->releasing = h->loading = true;
    h->behind = UINT64_MAX;
    h->round = *a;
    h->round.needs = h->needs;
    if (a->n_needs > 0)
        memcpy(h->needs, a->needs, a->n_needs * sizeof *a->needs);
    h->done = (struct hd_kv_report){.rows_kept = rows_held(n)};
}

void hd_hold_rest(struct hd_node *n)
{
    n->hold->in_force = false;
    n->hold->round.round = 0;
}

void hd_hold_leave(struct hd_node *n)
{
    hd_shard_leave(n->shard);
    hd_hold_rest(n);
}

/* ---- Slices ----*/

/* Of one head that has some: it was owned, or held with K/V. */
static bool drop_bare_rows(struct hd_node *n)
{
    struct hd_unit_list bare = hd_shard_bare(n->shard);
    for (size_t i = 0; i < bare.n; i++)
        for (uint32_t l = 0; l < n->model->shape.n_layers; l++)
            if (hd_kv_counters(n->kv, l, bare.list[i])->bytes > 0) {
                hd_kv_drop_head(n->kv, bare.list[i]);
                return true;
            }
    return false;
}

static bool release_one(struct hd_node *n)
{
    struct hd_shard_unit u;
    if (!hd_shard_surplus(n->shard, &u))
        return drop_bare_rows(n);
    hd_damage_look_at_unit(n, u, hd_now_us());
    hd_shard_release(n->shard, u);
    if (u.kind == HD_UNIT_HEAD)
        hd_kv_drop_head(n->kv, u.unit);
    return true;
}

static int load_some(struct hd_node *n, struct hd_error *err)
{
    uint64_t t0 = hd_now_us();
    int rc = hd_shard_load(n->shard, hd_team_threads(n->team), err);
    if (rc == HD_SHARD_LOADED)
        n->hold->done.weights_us += hd_now_us() - t0;
    return rc;
}

/* Lists missing rows of one sequence. */
static int list_sequence(struct hd_node *n, uint32_t sequence, size_t max)
{
    struct hd_unit_list heads = held_heads(n);
    int rc = 0;
    for (uint32_t l = 0; l < n->model->shape.n_layers; l++) {
        uint32_t end = hd_input_log_count(n->input_log, sequence, l);
        for (size_t h = 0; h < heads.n && rc == 0; h++) {
            struct hd_lane_rows rows = {{sequence, l, heads.list[h]}, end, max};
            rc = hd_kv_list_add_lane(&n->hold->list, n, &rows);
        }
    }
    return rc;
}

/* Lists a slice of missing rows; forgets sequences that have none. */
static int list_behind(struct hd_node *n)
{
    struct hd_hold *h = n->hold;
    size_t max = hd_team_threads(n->team);
    int rc = 0;
    h->list.n = 0;
    for (uint32_t s = 0; s < n->sizes.max_sequences && h->list.n < max && rc == 0; s++) {
        if (!(h->behind >> s & 1))
            continue;
        size_t before = h->list.n;
        rc = list_sequence(n, s, max);
        if (rc == 0 && h->list.n == before)
            h->behind &= ~(UINT64_C(1) << s);
    }
    return rc;
}

static void count_rebuilt(struct hd_node *n)
{
    const struct hd_kv_list *list = &n->hold->list;
    for (size_t i = 0; i < list->n; i++)
        hd_kv_counters(n->kv, list->work[i].at.layer, list->work[i].at.head)->rebuilt +=
            list->work[i].n;
    n->hold->done.rows_rebuilt += hd_kv_list_rows(list);
}

/* Computes a slice of missing rows: HD_HOLD_WORKED, HD_HOLD_IDLE (none is missing) or HD_E_NOMEM.
 */
static int catch_up(struct hd_node *n, struct hd_error *err)
{
    uint64_t t0 = hd_now_us();
    int rc;
    do {
        rc = list_behind(n);
        if (rc == 0 && n->hold->list.n == 0)
            return HD_HOLD_IDLE;
        if (rc == 0)
            rc = hd_kv_list_run(&n->hold->list, n);
    } while (rc == HD_KV_AGAIN);
    if (rc < 0)
        return hd_fail(err, rc, "out of memory for K/V of the held heads");
    count_rebuilt(n);
    n->hold->done.rebuild_us += hd_now_us() - t0;
    return HD_HOLD_WORKED;
}

bool hd_hold_pending(const struct hd_node *n)
{
    const struct hd_hold *h = n->hold;
    return h->in_force && (h->releasing || h->loading || h->round.round != 0 ||
                           (h->behind && held_heads(n).n > 0));
}

int hd_hold_slice(struct hd_node *n, struct hd_error *err)
{
    struct hd_hold *h = n->hold;
    if (!h->in_force)
        return HD_HOLD_IDLE;
    if (h->releasing && release_one(n)) /* first: what comes may need the room */
        return HD_HOLD_WORKED;
    h->releasing = false;
    if (h->loading) {
        int rc = load_some(n, err);
        if (rc == HD_SHARD_WAITING)
            return HD_HOLD_IDLE; /* called again when something has come */
        if (rc != HD_SHARD_COMPLETE)
            return rc < 0 ? rc : HD_HOLD_WORKED;
        h->loading = false;
    }
    if (h->behind && held_heads(n).n > 0) {
        int rc = catch_up(n, err);
        if (rc != HD_HOLD_IDLE)
            return rc;
    }
    return h->round.round != 0 ? HD_HOLD_READY : HD_HOLD_IDLE;
}

int hd_hold_report(struct hd_node *n, struct hd_kv_report *report)
{
    struct hd_hold *h = n->hold;
    struct hd_unit_list heads = held_heads(n);
    *report = h->done;
    report->round = h->round.round;
    report->epoch = h->round.epoch;
    hd_find_gaps(n, &h->round, heads, report);
    hd_kv_report_size(n, report);
    h->round.round = 0;
    report->heads = malloc((heads.n + 1) * sizeof *report->heads);
    if (!report->heads)
        return HD_E_NOMEM;
    for (size_t i = 0; i < heads.n; i++)
        report->heads[report->n_heads++] = heads.list[i];
    return 0;
}

void hd_hold_load_again(struct hd_node *n)
{
    n->hold->loading = true;
}

void hd_hold_cut(struct hd_node *n, uint32_t sequence, uint32_t positions)
{
    for (size_t i = 0; i < n->hold->round.n_needs; i++)
        if (n->hold->needs[i].sequence == sequence)
            hd_need_cut(&n->hold->needs[i], positions);
}

/* ---- Following the steps ----*/

void hd_hold_behind(struct hd_node *n, uint64_t sequences)
{
    n->hold->behind |= sequences;
}

/* Appends a row: to the last item if it lies behind that one's rows, else as a new item. */
static int add_row(struct hd_kv_list *list, const struct hd_kv_work *row, size_t bytes)
{
    struct hd_kv_work *last = list->n ? &list->work[list->n - 1] : NULL;
    bool continues = last && last->at.head == row->at.head &&
                     last->at.sequence == row->at.sequence && last->n < HD_LOG_CHUNK &&
                     last->x + last->n * bytes == row->x;
    if (!continues)
        return hd_kv_list_add(list, row);
    last->n++;
    return 0;
}

/* Lists the rows of one head whose lanes are current. Lanes that are not, or for which there is no
 * memory now, are behind. */
static void list_head(struct hd_node *n, struct hd_kv_at at, const struct hd_rows *rows)
{
    size_t bytes = hd_node_row_bytes(n);
    const uint8_t *x = rows->x;
    uint32_t next[HD_MAX_SEQUENCES]; /* the position that continues a lane */
    uint64_t seen = 0;
    for (size_t i = 0; i < rows->n; i++) {
        uint32_t p = rows->positions[i];
        at.sequence = rows->sequences[i];
        uint64_t bit = UINT64_C(1) << at.sequence;
        if (!(seen & bit))
            next[at.sequence] = hd_kv_valid(n->kv, at);
        seen |= bit;
        if (p < next[at.sequence])
            continue;
        struct hd_kv_work row = {.at = at, .position = p, .n = 1, .x = x + i * bytes};
        if (p == next[at.sequence] && hd_kv_reserve(n->kv, at, p + 1) == 0 &&
            add_row(&n->hold->list, &row, bytes) == 0)
            next[at.sequence]++;
        else
            hd_hold_behind(n, bit);
    }
}

void hd_hold_follow(struct hd_node *n, uint32_t layer, const struct hd_rows *rows)
{
    struct hd_kv_list *list = &n->hold->list;
    struct hd_unit_list heads = held_heads(n);
    list->n = 0;
    list->logged = false;
    if (!n->hold->in_force)
        return;
    for (size_t h = 0; h < heads.n; h++) {
        struct hd_shard_unit u = {HD_UNIT_HEAD, heads.list[h]};
        if (hd_shard_has(n->shard, u, layer))
            list_head(n, (struct hd_kv_at){.layer = layer, .head = u.unit}, rows);
        else
            hd_hold_behind(n, UINT64_MAX);
    }
    if (list->n == 0)
        return;
    if (hd_kv_list_run(list, n) < 0) {
        hd_hold_behind(n, UINT64_MAX);
        return;
    }
    for (size_t i = 0; i < list->n; i++)
        hd_kv_counters(n->kv, layer, list->work[i].at.head)->standby += list->work[i].n;
}
