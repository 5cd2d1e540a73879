#include "worker/reply.h"

#include "common/net/conn.h"
#include "common/net/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hd_reply *hd_reply_new(uint64_t conversation)
{
    struct hd_reply *r = calloc(1, sizeof *r);
    if (r)
        r->conversation = conversation;
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

int hd_reply_kv_result(struct hd_reply *r, uint64_t epoch, const struct hd_kv_report *report)
{
    Hydac__V1__KvResult *m = malloc(sizeof *m);
    if (!m)
        return HD_E_NOMEM;
    hydac__v1__kv_result__init(m);
    r->type = HD_FRAME_KV_RESULT;
    r->message = &m->base;
    m->epoch = epoch;
    m->positions = report->positions;
    m->rows_rebuilt = report->rows_rebuilt;
    m->rows_kept = report->rows_kept;
    m->bytes = report->bytes;
    m->weights_us = report->weights_us;
    m->rebuild_us = report->rebuild_us;
    m->digest = report->digest;
    m->flops = report->flops;
    int rc = copy_list(&m->heads, &m->n_heads, report->heads, report->n_heads);
    return rc < 0 ? rc : copy_list(&m->gaps, &m->n_gaps, report->gaps, report->n_gaps);
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
    m->compute_us = compute_us;
    int rc = copy_list(&m->wide, &m->n_wide, out->wide, out->n_wide);
    return rc < 0 ? rc : copy_list(&m->bad, &m->n_bad, out->bad, out->n_bad);
}

static int add_head_stats(Hydac__V1__Stats *m, struct hd_kv *kv, uint32_t layer, uint32_t head)
{
    Hydac__V1__HeadStats *s = malloc(sizeof *s);
    if (!s)
        return HD_E_NOMEM;
    hydac__v1__head_stats__init(s);
    const struct hd_kv_counters *c = hd_kv_counters(kv, layer, head);
    s->layer = layer;
    s->head = head;
    s->hits = c->hits;
    s->misses = c->misses;
    s->rebuilt = c->rebuilt;
    s->bytes = c->bytes;
    s->valid = hd_kv_valid_total(kv, layer, head);
    m->heads[m->n_heads++] = s;
    return 0;
}

static int fill_heads(Hydac__V1__Stats *m, const struct hd_node *n)
{
    struct hd_unit_list heads = hd_shard_owned(n->shard, HD_SHARD_HEAD);
    uint32_t layers = n->o.model->shape.n_layers;
    if (!n->assigned || heads.n == 0)
        return 0;
    m->heads = calloc(layers * heads.n, sizeof(Hydac__V1__HeadStats *));
    int rc = m->heads ? 0 : HD_E_NOMEM;
    for (uint32_t l = 0; l < layers && rc == 0; l++)
        for (size_t h = 0; h < heads.n && rc == 0; h++)
            rc = add_head_stats(m, n->kv, l, heads.list[h]);
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
    m->kv_bytes = hd_kv_bytes(n->kv);
    m->weight_bytes = hd_shard_bytes(n->shard);
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
