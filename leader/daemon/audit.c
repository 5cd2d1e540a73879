/* audit.c - what is kept of an audited half-step until its audits are over: the inputs as they
 * went out, and of each worker the units for which it answered.
 *
 * Happy path: the first answer to a half-step that the core audits makes the record, with a
 * reference to the payload and copies of the lists; each answer adds its units and gives its digest
 * to the core; HD_ACT_AUDIT sends the record on; HD_ACT_AUDITED ends it. Of LOGITS one vocab block
 * of each worker is audited, or all of the other's output matrix would have to be loaded: its bytes
 * are cut out of the answer. Failure mode: out of memory: that answer is not audited. */
#include "common/net/answer_digest.h"
#include "leader/daemon/leader_impl.h"

#include <stdlib.h>
#include <string.h>

static struct hd_audit_record *find(struct hd_leader *l, uint64_t round)
{
    for (size_t i = 0; i < HD_MAX_ROUNDS; i++)
        if (l->audits[i].round == round)
            return &l->audits[i];
    return NULL;
}

static void clear(struct hd_audit_record *r)
{
    hd_shared_unref(r->payload);
    free(r->sequences);
    for (size_t i = 0; i < HD_MAX_WORKERS; i++)
        free(r->of[i].list);
    *r = (struct hd_audit_record){0};
}

void hd_audit_forget(struct hd_leader *l, uint64_t round)
{
    for (size_t i = 0; i < HD_MAX_ROUNDS; i++)
        if (l->audits[i].round && (round == 0 || l->audits[i].round == round))
            clear(&l->audits[i]);
}

/* ---- Keeping ----*/

static const void *copy(uint32_t **to, const void *list, size_t rows)
{
    uint32_t *at = *to;
    if (!list)
        return NULL;
    memcpy(at, list, rows * sizeof *at);
    *to += rows;
    return at;
}

/* The half-step in hand of `group`, as it was sent. */
static struct hd_audit_record *keep(struct hd_leader *l, uint64_t round, unsigned group)
{
    struct hd_audit_record *r = find(l, 0);
    const struct hd_half_work *w = hd_engine_work(l->engine, group);
    struct hd_shared *payload = l->payloads[group].bytes;
    bool logits = w && w->half == HD_HALF_LOGITS;
    size_t used = w && w->experts ? l->model->shape.n_used : 0;
    uint32_t *lists = w && payload ? malloc((4 + 2 * used) * w->rows * sizeof *lists) : NULL;
    if (!r || !lists) {
        free(lists);
        return NULL;
    }
    *r = (struct hd_audit_record){
        .round = round, .half = w->half, .rows = w->rows, .layer = logits ? 0 : w->layer};
    r->payload = hd_shared_ref(payload);
    r->sequences = (uint32_t *)copy(&lists, w->sequences, w->rows);
    r->positions = (uint32_t *)copy(&lists, w->positions, w->rows);
    r->shifts = (int32_t *)copy(&lists, logits ? NULL : w->shifts, w->rows);
    r->want = (uint32_t *)copy(&lists, logits ? w->want : NULL, w->rows);
    r->temperatures = (float *)copy(&lists, logits ? w->temperatures : NULL, w->rows);
    r->experts = (uint32_t *)copy(&lists, w->experts, used * w->rows);
    r->weights = (float *)copy(&lists, w->weights, used * w->rows);
    return r;
}

/* ---- One vocab block of an answer ----*/

/* Bytes of one block of one row: proto/README.md, StepResult of LOGITS. */
static size_t block_bytes(const struct hd_leader *l, const struct hd_audit_record *r, size_t row,
                          uint32_t block)
{
    uint32_t vocab = l->model->shape.vocab, width = l->units.vocab_width;
    uint32_t left = vocab - block * width, n = left < width ? left : width, want = r->want[row];
    size_t head = r->temperatures[row] != 0 ? 8 : 4;
    return head + (want == 0 ? 4 * (size_t)n : 8 * (size_t)(want < n ? want : n));
}

/* The digest of an answer that only has the i-th of its blocks; 0: no memory. */
static uint64_t block_digest(const struct hd_leader *l, const struct hd_audit_record *r,
                             const struct hd_audited_units *of, size_t i, const struct hd_frame *f)
{
    uint8_t *cut = malloc(f->payload_len + 1);
    size_t n = 0, at = 0;
    if (!cut)
        return 0;
    for (size_t row = 0; row < r->rows; row++)
        for (size_t k = 0; k < of->n; k++) {
            size_t bytes = block_bytes(l, r, row, of->list[k]);
            if (k == i) /* the engine has found the payload as long as it must be */
                memcpy(cut + n, f->payload + at, bytes);
            n += k == i ? bytes : 0;
            at += bytes;
        }
    uint64_t digest = hd_answer_digest(&(struct hd_answer){.payload = cut, .payload_len = n});
    free(cut);
    return digest;
}

static uint64_t logits_digest(struct hd_leader *l, struct hd_audit_record *r, unsigned slot,
                              const struct hd_frame *f)
{
    struct hd_audited_units *of = &r->of[slot];
    size_t i = (size_t)((r->round * UINT64_C(0x9e3779b97f4a7c15) ^ l->self_test.seed) >> 32);
    i = (i + slot) % of->n;
    uint64_t digest = block_digest(l, r, of, i, f);
    of->list[0] = of->list[i];
    of->n = 1;
    return digest;
}

uint64_t hd_audit_answer(struct hd_peer *p, const struct hd_frame *f,
                         const Hydac__V1__StepResult *m, uint64_t round)
{
    struct hd_leader *l = p->leader;
    if (round == 0 || m->n_bad > 0) /* rows that are no numbers end their requests anyway */
        return 0;
    struct hd_audit_record *r = find(l, round);
    if (!r)
        r = keep(l, round, m->group);
    if (!r)
        return 0;
    struct hd_audited_units *of = &r->of[p->slot];
    free(of->list); /* of an epoch that has ended */
    *of = (struct hd_audited_units){0};
    if (hd_owned_units(hd_core_plan(l->core), p, hd_half_units(r->half), &of->list, &of->n) < 0 ||
        of->n == 0)
        return 0;
    if (r->half == HD_HALF_LOGITS)
        return logits_digest(l, r, (unsigned)p->slot, f);
    return hd_answer_digest(&(struct hd_answer){.payload = f->payload,
                                                .payload_len = f->payload_len,
                                                .wide = m->wide,
                                                .n_wide = m->n_wide});
}

/* ---- Asking ----*/

int hd_send_audit(struct hd_leader *l, struct hd_peer *p, const struct hd_action *a)
{
    const struct hd_audit_record *r = find(l, a->audit.round);
    Hydac__V1__Audit m = HYDAC__V1__AUDIT__INIT;
    if (!r)
        return 0; /* it ended before it was carried out */
    m.id = a->audit.number;
    m.half = (Hydac__V1__Half)r->half;
    m.layer = r->layer;
    m.units = r->of[a->audit.subject].list;
    m.n_units = r->of[a->audit.subject].n;
    m.sequences = r->sequences;
    m.positions = r->positions;
    m.n_sequences = m.n_positions = r->rows;
    m.shifts = r->shifts;
    m.n_shifts = r->shifts ? r->rows : 0;
    m.want = r->want;
    m.temperatures = r->temperatures;
    m.n_want = m.n_temperatures = r->want ? r->rows : 0;
    m.experts = r->experts;
    m.weights = r->weights;
    m.n_experts = m.n_weights = r->experts ? r->rows * l->model->shape.n_used : 0;
    m.fresh = a->audit.again;
    return hd_peer_send(p, HD_FRAME_AUDIT, &m.base, r->payload);
}

void hd_peer_audit_result(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__AuditResult *m = hydac__v1__audit_result__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_peer_broke_rules(p, "AuditResult cannot be read");
        return;
    }
    struct hd_event ev = {.type = HD_EV_AUDIT,
                          .slot = (unsigned)p->slot,
                          .audit = {.number = m->id, .cannot = m->cannot, .digest = m->digest}};
    hydac__v1__audit_result__free_unpacked(m, NULL);
    hd_leader_event(p->leader, &ev);
}
