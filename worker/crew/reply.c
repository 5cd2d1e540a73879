/* reply.c - messages own their lists, so that the loop thread can send and free them without
 * asking. */
#include "worker/crew/reply.h"

#include "common/net/conn.h"
#include "common/net/frame.h"
#include "common/util/clock.h"
#include "worker/crew/whole.h"
#include "worker/share/damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hd_reply *hd_reply_new(uint64_t session)
{
    struct hd_reply *r = calloc(1, sizeof *r);
    if (r)
        r->session = session;
    return r;
}

void hd_reply_free(struct hd_reply *r)
{
    if (!r)
        return;
    if (r->message)
        protobuf_c_message_free_unpacked(r->message, NULL);
    hd_shared_unref(r->payload);
    free(r);
}

/* A copy that protobuf-c may free; an empty list is NULL. */
static int copy_list(uint32_t **to, size_t *n_to, const uint32_t *list, size_t n)
{
    *to = NULL;
    *n_to = 0;
    if (n == 0)
        return 0;
    *to = malloc(n * sizeof **to);
    if (!*to)
        return HD_E_NOMEM;
    memcpy(*to, list, n * sizeof *list);
    *n_to = n;
    return 0;
}

static int copy_digests(Hydac__V1__KvResult *m, const struct hd_kv_report *report)
{
    m->digests = malloc((report->n_digests + 1) * sizeof *m->digests);
    if (!m->digests)
        return HD_E_NOMEM;
    for (; m->n_digests < report->n_digests; m->n_digests++) {
        Hydac__V1__RowsDigest *d = malloc(sizeof *d);
        if (!d)
            return HD_E_NOMEM;
        hydac__v1__rows_digest__init(d);
        d->sequence = report->digests[m->n_digests].sequence;
        d->head = report->digests[m->n_digests].head;
        d->digest = report->digests[m->n_digests].digest;
        m->digests[m->n_digests] = d;
    }
    return 0;
}

int hd_reply_kv_result(struct hd_reply *r, const struct hd_kv_report *report)
{
    Hydac__V1__KvResult *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__kv_result__init(m);
    r->type = HD_FRAME_KV_RESULT;
    r->message = &m->base;
    m->epoch = report->epoch;
    m->round = report->round;
    m->positions = report->positions;
    m->rows_rebuilt = report->rows_rebuilt;
    m->rows_kept = report->rows_kept;
    m->bytes = report->bytes;
    m->weights_us = report->weights_us;
    m->rebuild_us = report->rebuild_us;
    m->flops = report->flops;
    int rc = copy_list(&m->heads, &m->n_heads, report->heads, report->n_heads);
    if (rc == 0)
        rc = copy_list(&m->ready_heads, &m->n_ready_heads, report->ready, report->n_ready);
    if (rc == 0)
        rc = copy_list(&m->gaps, &m->n_gaps, report->gaps, report->n_gaps);
    return rc < 0 ? rc : copy_digests(m, report);
}

int hd_reply_step_result(struct hd_reply *r, const Hydac__V1__Step *step,
                         const struct hd_half_output *out, uint64_t compute_us)
{
    r->payload = out->payload;
    Hydac__V1__StepResult *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__step_result__init(m);
    r->type = HD_FRAME_STEP_RESULT;
    r->message = &m->base;
    m->epoch = step->epoch;
    m->step = step->step;
    m->half = step->half;
    m->layer = step->layer;
    m->group = step->group;
    m->compute_us = compute_us;
    m->flops = out->flops;
    int rc = copy_list(&m->wide, &m->n_wide, out->wide, out->n_wide);
    return rc < 0 ? rc : copy_list(&m->bad, &m->n_bad, out->bad, out->n_bad);
}

int hd_reply_tokens(struct hd_reply *r, const struct hd_kept_sequence *k)
{
    size_t n = k->known->n - k->known->first;
    Hydac__V1__SequenceTokens *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__sequence_tokens__init(m);
    r->type = HD_FRAME_SEQ_TOKENS;
    r->message = &m->base;
    m->sequence = k->sequence;
    m->parent = k->share.parent;
    m->shared = k->share.shared;
    m->scope = k->known->scope;
    m->positions = k->positions;
    m->logged = k->logged;
    r->payload = hd_shared_new(n * sizeof *k->known->tokens);
    if (!r->payload)
        return HD_E_NOMEM;
    memcpy(hd_shared_data(r->payload), k->known->tokens, n * sizeof *k->known->tokens);
    return 0;
}

/* These lists; `loaded`: of them what is. */
static Hydac__V1__Units *
units_of(const struct hd_shard *s,
         struct hd_unit_list (*list)(const struct hd_shard *s, enum hd_unit_kind kind), bool loaded)
{
    Hydac__V1__Units *m = malloc(sizeof *m);
    if (!m)
        return NULL;
    hydac__v1__units__init(m);
    uint32_t **to[HD_UNIT_KINDS] = {&m->heads, &m->ffn_blocks, &m->vocab_blocks};
    size_t *n[HD_UNIT_KINDS] = {&m->n_heads, &m->n_ffn_blocks, &m->n_vocab_blocks};
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        struct hd_unit_list all = list(s, (enum hd_unit_kind)k);
        *to[k] = all.n > 0 ? malloc(all.n * sizeof **to[k]) : NULL;
        if (all.n > 0 && !*to[k]) {
            hydac__v1__units__free_unpacked(m, NULL);
            return NULL;
        }
        for (size_t i = 0; i < all.n; i++)
            if (!loaded ||
                hd_shard_has_whole(s, (struct hd_shard_unit){(enum hd_unit_kind)k, all.list[i]}))
                (*to[k])[(*n[k])++] = all.list[i];
    }
    return m;
}

/* Those of the held heads without K/V. */
static int list_bare(Hydac__V1__Units *m, const struct hd_shard *s)
{
    struct hd_unit_list bare = hd_shard_bare(s);
    if (bare.n == 0)
        return 0;
    m->bare_heads = malloc(bare.n * sizeof *m->bare_heads);
    if (!m->bare_heads)
        return HD_E_NOMEM;
    memcpy(m->bare_heads, bare.list, bare.n * sizeof *m->bare_heads);
    m->n_bare_heads = bare.n;
    return 0;
}

int hd_reply_kept(struct hd_reply *r, const struct hd_node *n)
{
    Hydac__V1__Kept *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__kept__init(m);
    r->type = HD_FRAME_KEPT;
    r->message = &m->base;
    m->own = units_of(n->shard, hd_shard_owned, false);
    m->hold = units_of(n->shard, hd_shard_held, true);
    return m->own && m->hold ? list_bare(m->hold, n->shard) : HD_E_NOMEM;
}

int hd_reply_log_state(struct hd_reply *r, uint32_t sequence, bool complete)
{
    Hydac__V1__LogState *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__log_state__init(m);
    r->type = HD_FRAME_LOG_STATE;
    r->message = &m->base;
    m->sequence = sequence;
    m->complete = complete;
    return 0;
}

int hd_reply_self_test(struct hd_reply *r, uint64_t seed, uint64_t digest)
{
    Hydac__V1__SelfTestResult *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__self_test_result__init(m);
    r->type = HD_FRAME_SELF_TEST_RESULT;
    r->message = &m->base;
    m->seed = seed;
    m->digest = digest;
    return 0;
}

int hd_reply_audit_result(struct hd_reply *r, const struct hd_audit_answer *a)
{
    Hydac__V1__AuditResult *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__audit_result__init(m);
    r->type = HD_FRAME_AUDIT_RESULT;
    r->message = &m->base;
    m->id = a->id;
    m->cannot = a->cannot;
    m->digest = a->digest;
    m->compute_us = a->compute_us;
    return 0;
}

int hd_reply_weights_request(struct hd_reply *r, const struct hd_weights_ask *a)
{
    Hydac__V1__WeightsRequest *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__weights_request__init(m);
    r->type = HD_FRAME_WEIGHTS_REQUEST;
    r->message = &m->base;
    m->kind = (uint32_t)a->at.kind;
    m->unit = a->at.unit;
    m->layer = a->at.layer;
    m->offset = a->offset;
    return 0;
}

int hd_reply_fetch(struct hd_reply *r, const struct hd_log_piece *piece)
{
    Hydac__V1__Fetch *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__fetch__init(m);
    r->type = HD_FRAME_FETCH;
    r->message = &m->base;
    m->id = piece->id;
    m->sequence = piece->sequence;
    m->layer = piece->layer;
    m->position = piece->position;
    m->count = piece->count;
    return 0;
}

/* Copies rows from `at` on to `to`; returns how many the log has, at most `most`. */
static uint32_t copy_rows(const struct hd_node *n, struct hd_log_at at, uint32_t most, uint8_t *to)
{
    size_t bytes = hd_node_row_bytes(n), piece;
    uint32_t done = 0;
    const void *from;
    while (done < most && (from = hd_input_log_rows(n->input_log, at, &piece))) {
        if (piece > most - done)
            piece = most - done;
        memcpy(to + done * bytes, from, piece * bytes);
        done += (uint32_t)piece;
        at.position += (uint32_t)piece;
    }
    return done;
}

/* How many of these rows are whole, up to the first that is not: that one goes, so that it does not
 * spread. */
static uint32_t whole_rows(struct hd_node *n, struct hd_log_at at, uint32_t most)
{
    uint32_t bad = hd_input_log_bad_row(n->input_log, at, at.position + most);
    if (bad == UINT32_MAX)
        return most;
    most = bad - at.position;
    at.position = bad;
    hd_damage_log_row(n, at, hd_now_us());
    return most;
}

int hd_reply_damage(struct hd_reply *r, const struct hd_finding *f)
{
    Hydac__V1__Damage *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__damage__init(m);
    r->type = HD_FRAME_DAMAGE;
    r->message = &m->base;
    m->kind = (uint32_t)f->kind;
    m->unit_kind = (uint32_t)f->unit.kind;
    m->unit = f->unit.unit;
    m->layer = f->layer;
    m->sequence = f->sequence;
    m->since_us = f->since_us;
    m->repaired = f->repaired;
    m->replay = f->replay;
    m->text = strdup(f->text);
    return m->text ? 0 : HD_E_NOMEM;
}

int hd_reply_rows(struct hd_reply *r, const Hydac__V1__Fetch *fetch, struct hd_node *n)
{
    struct hd_log_at at = {fetch->sequence, fetch->layer, fetch->position};
    uint32_t have = hd_input_log_count(n->input_log, at.sequence, at.layer);
    uint32_t most = have > at.position ? have - at.position : 0;
    most = most < fetch->count ? most : fetch->count;
    most = most < n->sizes.max_rows ? most : n->sizes.max_rows;
    most = whole_rows(n, at, most);
    Hydac__V1__Rows *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__rows__init(m);
    r->type = HD_FRAME_ROWS;
    r->message = &m->base;
    m->id = fetch->id;
    m->sequence = fetch->sequence;
    m->layer = fetch->layer;
    m->position = fetch->position;
    m->requester = fetch->requester;
    if (most == 0)
        return 0;
    r->payload = hd_shared_new(most * hd_node_row_bytes(n));
    if (!r->payload)
        return HD_E_NOMEM;
    m->count = copy_rows(n, at, most, hd_shared_data(r->payload));
    return 0;
}

/* ---- Stats ----*/

static int add_head_stats(Hydac__V1__Stats *m, const struct hd_node *n, uint32_t layer,
                          uint32_t head)
{
    Hydac__V1__HeadStats *s = malloc(sizeof *s);
    if (!s)
        return HD_E_NOMEM;
    hydac__v1__head_stats__init(s);
    const struct hd_kv_counters *c = hd_kv_counters(n->kv, layer, head);
    s->layer = layer;
    s->head = head;
    s->hits = c->hits;
    s->misses = c->misses;
    s->rebuilt = c->rebuilt;
    s->standby = c->standby;
    s->bytes = c->bytes;
    s->valid = hd_kv_valid_total(n->kv, layer, head);
    s->held = !hd_shard_owns(n->shard, (struct hd_shard_unit){HD_UNIT_HEAD, head});
    m->heads[m->n_heads++] = s;
    return 0;
}

/* The list has room for `heads` in every layer. */
static int add_heads(Hydac__V1__Stats *m, const struct hd_node *n, struct hd_unit_list heads)
{
    int rc = 0;
    for (uint32_t l = 0; l < n->model->shape.n_layers && rc == 0; l++)
        for (size_t h = 0; h < heads.n && rc == 0; h++)
            rc = add_head_stats(m, n, l, heads.list[h]);
    return rc;
}

static int fill_heads(Hydac__V1__Stats *m, const struct hd_node *n)
{
    struct hd_unit_list owned = hd_shard_owned(n->shard, HD_UNIT_HEAD);
    struct hd_unit_list held = hd_shard_followed(n->shard);
    if (owned.n + held.n == 0)
        return 0;
    m->heads =
        calloc(n->model->shape.n_layers * (owned.n + held.n), sizeof(Hydac__V1__HeadStats *));
    int rc = m->heads ? add_heads(m, n, owned) : HD_E_NOMEM;
    if (rc == 0)
        rc = add_heads(m, n, held);
    if (rc < 0 && m->n_heads == 0) { /* protobuf-c frees a list only if it has entries */
        free(m->heads);
        m->heads = NULL;
    }
    return rc;
}

int hd_reply_stats(struct hd_reply *r, uint64_t id, const struct hd_node *n)
{
    Hydac__V1__Stats *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__stats__init(m);
    r->type = HD_FRAME_STATS;
    r->message = &m->base;
    m->id = id;
    m->log_rows = hd_input_log_appended(n->input_log);
    m->log_bytes = hd_input_log_bytes(n->input_log);
    m->kv_bytes = hd_node_kv_bytes(n);
    m->weight_bytes = hd_node_weight_bytes(n);
    m->rss_bytes = hd_rss_bytes();
    return fill_heads(m, n);
}

uint64_t hd_rss_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long long total, resident = 0;
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
