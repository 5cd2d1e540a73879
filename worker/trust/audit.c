/* audit.c - a queue of orders; the first is worked on slice by slice. */
#include "common/net/answer_digest.h"
#include "common/net/conn.h"
#include "common/util/clock.h"
#include "worker/trust/audit_impl.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64 /* of rows of f32 */

int hd_audit_new(struct hd_audit **out, const struct hd_model_shape *m)
{
    struct hd_audit *a = calloc(1, sizeof *a);
    if (!a)
        return HD_E_NOMEM;
    a->n_lanes = (size_t)m->n_layers * m->n_kv_heads;
    a->lanes = calloc(a->n_lanes, 1);
    if (!a->lanes) {
        free(a);
        return HD_E_NOMEM;
    }
    *out = a;
    return 0;
}

static void close_fresh(struct hd_audit *a)
{
    hd_kv_free(a->fresh.kv);
    hd_shard_free(a->fresh_shard);
    a->fresh = (struct hd_stores){0};
    a->fresh_shard = NULL;
}

static void free_order(struct order *order)
{
    free(order->payload);
    free(order);
}

static void clear(struct hd_audit *a)
{
    close_fresh(a);
    while (a->n > 0)
        free_order(a->orders[--a->n]);
}

void hd_audit_free(struct hd_audit *a)
{
    if (!a)
        return;
    clear(a);
    hd_kv_list_deinit(&a->list);
    free(a->lanes);
    free(a);
}

/* ---- What is to be audited ----*/

/* Copies `bytes` to *to, which moves on; NULL stays NULL. */
static const void *put(uint8_t **to, const void *from, size_t bytes)
{
    uint8_t *at = *to;
    if (!from)
        return NULL;
    memcpy(at, from, bytes);
    *to += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

/* Everything in one block, the payload among it. */
static struct order *copy_order(const struct hd_node *n, const struct hd_audit_order *o)
{
    size_t rows = o->step.rows.n, x = rows * hd_node_row_bytes(n);
    size_t list = rows * sizeof(uint32_t), lists = 7, units = o->units.n * sizeof(uint32_t);
    size_t used = o->step.rows.experts ? hd_node_used(n) * list : 0;
    size_t bytes =
        sizeof(struct order) + x + lists * list + 2 * used + units + (lists + 5) * ALIGNMENT;
    struct order *order = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (!order)
        return NULL;
    *order = (struct order){.o = *o};
    if (o->step.units == HD_UNIT_VOCAB)
        order->o.step.layer = 0; /* that of its pieces, whatever the message says */
    uint8_t *to = (uint8_t *)order + (sizeof *order + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct hd_rows *r = &order->o.step.rows;
    r->x = put(&to, r->x, x);
    r->sequences = put(&to, r->sequences, list);
    r->positions = put(&to, r->positions, list);
    r->shifts = put(&to, r->shifts, list);
    r->want = put(&to, r->want, list);
    r->temperatures = put(&to, r->temperatures, list);
    r->experts = put(&to, r->experts, used);
    r->weights = put(&to, r->weights, used);
    order->o.units.list = put(&to, o->units.list, units);
    order->wide = (uint32_t *)(void *)to;
    order->bad = order->wide + rows;
    return order;
}

int hd_audit_add(struct hd_node *n, const struct hd_audit_order *o)
{
    struct hd_audit *a = n->audit;
    if (a->n == HD_AUDITS_MAX)
        return HD_E_LIMIT;
    struct order *order = copy_order(n, o);
    if (!order)
        return HD_E_NOMEM;
    a->orders[a->n++] = order;
    return 0;
}

bool hd_audit_pending(const struct hd_node *n)
{
    return n->audit->n > 0;
}

/* Only attention reads what is kept of a sequence. */
static bool speaks_of(const struct order *order, uint64_t sequences, uint32_t positions)
{
    const struct hd_rows *rows = &order->o.step.rows;
    if (order->o.step.units != HD_UNIT_HEAD)
        return false;
    for (size_t i = 0; i < rows->n; i++)
        if (sequences >> rows->sequences[i] & 1 && rows->positions[i] >= positions)
            return true;
    return false;
}

static void drop(struct hd_node *n, uint64_t sequences, uint32_t positions)
{
    struct hd_audit *a = n->audit;
    for (size_t i = 0; i < a->n; i++)
        a->orders[i]->dropped =
            a->orders[i]->dropped || speaks_of(a->orders[i], sequences, positions);
}

void hd_audit_drop(struct hd_node *n, uint64_t sequences)
{
    drop(n, sequences, 0);
}

void hd_audit_cut(struct hd_node *n, uint32_t sequence, uint32_t positions)
{
    drop(n, UINT64_C(1) << sequence, positions);
}

void hd_audit_leave(struct hd_node *n)
{
    clear(n->audit);
    hd_audit_keep_nothing(n);
}

uint64_t hd_audit_weight_bytes(const struct hd_node *n)
{
    return n->audit->fresh_shard ? hd_shard_bytes(n->audit->fresh_shard) : 0;
}

uint64_t hd_audit_kv_bytes(const struct hd_node *n)
{
    return n->audit->fresh.kv ? hd_kv_bytes(n->audit->fresh.kv) : 0;
}

/* ---- One slice. The stages return HD_AUDIT_WORKED (that is enough for now), HD_AUDIT_IDLE (wait),
 * or what is below; READY: there is nothing to do in this stage. ----*/

enum { READY = 3 };

/* Where this order's weights and rows are. 0 or HD_E_NOMEM. */
static int open_stores(struct hd_node *n, const struct order *order, struct hd_shard **shard,
                       struct hd_kv **kv)
{
    struct hd_audit *a = n->audit;
    *shard = n->shard;
    *kv = n->kv;
    if (!order->o.fresh)
        return 0;
    int rc = a->fresh_shard ? 0 : hd_node_new_shard(n, &a->fresh_shard);
    if (rc == 0 && !a->fresh.kv)
        rc = hd_node_new_kv(n, &a->fresh.kv);
    *shard = a->fresh_shard;
    *kv = a->fresh.kv;
    return rc;
}

static int load(struct hd_node *n, const struct order *order, struct hd_shard *shard,
                struct hd_error *err)
{
    const struct hd_half_step *step = &order->o.step;
    struct hd_shard_layer what = {
        .kind = step->units,
        .layer = step->layer,
        .units = order->o.units,
    };
    int rc = hd_shard_load_layer(shard, &what, hd_team_threads(n->team), err);
    return rc == HD_SHARD_COMPLETE  ? READY
           : rc == HD_SHARD_LOADED  ? HD_AUDIT_WORKED
           : rc == HD_SHARD_WAITING ? HD_AUDIT_IDLE
                                    : rc;
}

/* The rows that are next. */
static struct hd_rows next_rows(const struct hd_node *n, const struct order *order)
{
    struct hd_rows r = order->o.step.rows;
    size_t left = r.n - order->row;
    r.x = (const uint8_t *)r.x + order->row * hd_node_row_bytes(n);
    r.n = left < HD_AUDIT_ROWS ? left : HD_AUDIT_ROWS;
    r.sequences += order->row;
    r.positions += order->row;
    r.shifts = r.shifts ? r.shifts + order->row : NULL;
    r.want = r.want ? r.want + order->row : NULL;
    r.temperatures = r.temperatures ? r.temperatures + order->row : NULL;
    r.experts = r.experts ? r.experts + order->row * hd_node_used(n) : NULL;
    r.weights = r.weights ? r.weights + order->row * hd_node_used(n) : NULL;
    return r;
}

/* Lists what the lanes of one sequence lack below position `end`. */
static int list_own(struct hd_node *n, const struct order *order, struct hd_lane_rows rows,
                    struct hd_error *err)
{
    struct hd_kv_list *list = &n->audit->list;
    bool logged = hd_input_log_count(n->input_log, rows.at.sequence, rows.at.layer) >= rows.end;
    int rc = 0;
    for (size_t i = 0; i < order->o.units.n && rc == 0; i++) {
        rows.at.head = order->o.units.list[i];
        if (!logged && hd_kv_valid(list->to.kv, rows.at) < rows.end)
            rc = hd_fail(err, HD_E_STATE, "the log of sequence %u lacks rows below position %u",
                         rows.at.sequence, rows.end);
        else
            rc = hd_kv_list_add_lane(list, n, &rows);
    }
    return rc;
}

/* ... and what those lack that it shares rows with. */
static int list_sequence(struct hd_node *n, const struct order *order, struct hd_lane_rows rows,
                         struct hd_error *err)
{
    int others = __builtin_popcountll(hd_kv_lineage(n->kv, rows.at.sequence)) - 1;
    int rc = list_own(n, order, rows, err);
    for (; rc == 0 && others > 0; others--) {
        struct hd_kv_share with = hd_kv_shared(n->kv, rows.at.sequence);
        rows.at.sequence = with.parent;
        rows.end = with.shared;
        rc = list_own(n, order, rows, err);
    }
    return rc;
}

/* The K/V rows before those of the payload. Rows that were computed in an earlier slice may be gone
 * again (a repair drops them): then these come from the log, too. */
static int compute_kv(struct hd_node *n, const struct order *order, const struct hd_stores *to,
                      struct hd_error *err)
{
    struct hd_kv_list *list = &n->audit->list;
    struct hd_rows rows = next_rows(n, order);
    struct hd_lane_rows lane = {.max = hd_team_threads(n->team)};
    uint64_t seen = 0;
    int rc = 0;
    list->n = 0;
    list->to = *to;
    for (size_t i = 0; i < rows.n && rc == 0; i++) {
        lane.at = (struct hd_kv_at){rows.sequences[i], order->o.step.layer, 0};
        lane.end = rows.positions[i];
        if (!(seen >> lane.at.sequence & 1))
            rc = list_sequence(n, order, lane, err);
        seen |= UINT64_C(1) << lane.at.sequence;
    }
    if (rc == 0 && list->n == 0)
        return READY;
    if (rc == 0)
        rc = hd_kv_list_run(list, n);
    if (rc == HD_E_NOMEM)
        hd_fail(err, rc, "out of memory for K/V of audited heads");
    return rc < 0 ? rc : HD_AUDIT_WORKED;
}

/* Appends what these rows give. The output's lists count from the slice's first row. */
static int take_output(struct order *order, const struct hd_half_output *out, struct hd_error *err)
{
    size_t len = hd_shared_len(out->payload);
    uint8_t *payload = realloc(order->payload, order->payload_len + len);
    if (!payload)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the sums of an audit");
    memcpy(payload + order->payload_len, hd_shared_data(out->payload), len);
    order->payload = payload;
    order->payload_len += len;
    for (size_t i = 0; i < out->n_wide; i++)
        order->wide[order->n_wide++] = (uint32_t)order->row + out->wide[i];
    for (size_t i = 0; i < out->n_bad; i++)
        order->bad[order->n_bad++] = (uint32_t)order->row + out->bad[i];
    return 0;
}

static int compute(struct hd_node *n, struct order *order, const struct hd_stores *from,
                   struct hd_error *err)
{
    struct hd_half_step step = order->o.step;
    struct hd_half_order what = {.from = *from, .units = order->o.units, .uncounted = true};
    struct hd_half_output out;
    step.rows = next_rows(n, order);
    int rc = hd_half(n, &step, &what, &out, err);
    if (rc == 0)
        rc = take_output(order, &out, err);
    hd_shared_unref(out.payload);
    if (rc < 0)
        return rc;
    order->row += step.rows.n;
    return order->row < order->o.step.rows.n ? HD_AUDIT_WORKED : HD_AUDIT_DONE;
}

/* Counts the rows that a slice has added to lanes of owned and held heads: those were behind.
 * `sign` is -1 before and 1 after it. */
static void count_own_rows(struct hd_node *n, const struct order *order, int sign)
{
    const struct hd_half_step *step = &order->o.step;
    if (order->o.fresh || step->units != HD_UNIT_HEAD)
        return;
    for (size_t i = 0; i < order->o.units.n; i++) {
        uint32_t head = order->o.units.list[i];
        uint64_t rows = hd_kv_valid_total(n->kv, step->layer, head);
        if (hd_audit_is_ours(n, (struct hd_shard_unit){HD_UNIT_HEAD, head}))
            hd_kv_counters(n->kv, step->layer, head)->rebuilt += sign < 0 ? -rows : rows;
    }
}

static int advance(struct hd_node *n, struct order *order, struct hd_error *err)
{
    struct hd_shard *shard;
    struct hd_kv *kv;
    if (order->dropped)
        return hd_fail(err, HD_E_STATE, "a sequence was dropped");
    if (open_stores(n, order, &shard, &kv) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for an audit");
    struct hd_stores stores = {shard, kv};
    if (!order->o.fresh)
        hd_audit_keep(n, order);
    int rc = load(n, order, shard, err);
    count_own_rows(n, order, -1);
    if (rc == READY && order->o.step.units == HD_UNIT_HEAD)
        rc = compute_kv(n, order, &stores, err);
    if (rc == READY)
        rc = compute(n, order, &stores, err);
    count_own_rows(n, order, 1);
    return rc;
}

static uint64_t digest_of(const struct order *order)
{
    return hd_answer_digest(&(struct hd_answer){
        .payload = order->payload,
        .payload_len = order->payload_len,
        .wide = order->wide,
        .n_wide = order->n_wide,
        .bad = order->bad,
        .n_bad = order->n_bad,
    });
}

int hd_audit_slice(struct hd_node *n, struct hd_audit_answer *answer)
{
    struct hd_audit *a = n->audit;
    struct hd_error err = {0};
    if (a->n == 0)
        return HD_AUDIT_IDLE;
    struct order *order = a->orders[0];
    uint64_t t0 = hd_now_us();
    int rc = advance(n, order, &err);
    uint64_t digest = rc == HD_AUDIT_DONE ? digest_of(order) : 0;
    order->us += hd_now_us() - t0;
    if (rc == HD_AUDIT_IDLE || rc == HD_AUDIT_WORKED)
        return rc;
    *answer = (struct hd_audit_answer){
        .id = order->o.id, .cannot = rc < 0, .digest = digest, .compute_us = order->us, .why = err};
    close_fresh(a);
    free_order(order);
    memmove(a->orders, a->orders + 1, --a->n * sizeof *a->orders);
    return HD_AUDIT_DONE;
}
