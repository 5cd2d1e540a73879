/* whole.c - the order in which stores, holds, audits and scrubbing hear of a change. */
#include "worker/crew/whole.h"

#include "worker/share/hold.h"
#include "worker/trust/audit.h"
#include "worker/trust/scrub.h"

int hd_node_new(struct hd_node **out, const struct hd_node_options *o)
{
    struct hd_node *n;
    int rc = hd_node_open(&n, o);
    if (rc < 0)
        return rc;
    rc = hd_hold_new(&n->hold);
    if (rc == 0)
        rc = hd_audit_new(&n->audit, &n->model->shape);
    if (rc == 0)
        rc = hd_scrub_new(&n->scrub);
    if (rc < 0) {
        hd_node_free(n);
        return rc;
    }
    *out = n;
    return 0;
}

void hd_node_free(struct hd_node *n)
{
    if (!n)
        return;
    hd_audit_free(n->audit);
    hd_hold_free(n->hold);
    hd_scrub_free(n->scrub);
    hd_node_close(n);
}

int hd_node_resize(struct hd_node *n, const struct hd_node_sizes *sizes, struct hd_error *err)
{
    hd_audit_leave(n);
    hd_hold_leave(n);
    int rc = hd_node_make_stores(n, sizes);
    return rc < 0 ? hd_fail(err, rc, "out of memory for steps of %u rows", sizes->max_rows) : 0;
}

void hd_node_forget(struct hd_node *n)
{
    hd_audit_drop(n, UINT64_MAX);
    hd_node_clear(n);
}

void hd_node_leave(struct hd_node *n)
{
    hd_node_forget(n);
    hd_audit_leave(n);
    hd_hold_leave(n);
    n->assigned = n->goes_on = false;
}

void hd_node_rest(struct hd_node *n)
{
    hd_audit_drop(n, UINT64_MAX);
    hd_audit_leave(n);
    hd_hold_rest(n);
}

bool hd_node_go_on(struct hd_node *n, const struct hd_node_sizes *sizes)
{
    const struct hd_node_sizes *has = &n->sizes;
    if (!(n->assigned || n->goes_on) || !n->kv || sizes->kv_type != has->kv_type ||
        sizes->activations != has->activations || sizes->wire != has->wire ||
        sizes->max_rows != has->max_rows || sizes->max_positions != has->max_positions ||
        sizes->max_sequences != has->max_sequences)
        return false;
    hd_node_rest(n);
    hd_kv_count_anew(n->kv);
    n->sizes = *sizes;
    n->assigned = false;
    n->goes_on = true;
    return true;
}

void hd_node_drop(struct hd_node *n, uint32_t sequence)
{
    hd_audit_drop(n, UINT64_C(1) << sequence);
    hd_node_clear_sequence(n, sequence);
}

/* The first rows that have to stay: those that it shares, or that others share with it. */
static uint32_t must_stay(const struct hd_node *n, uint32_t sequence)
{
    uint32_t most = hd_kv_shared(n->kv, sequence).shared;
    for (uint32_t s = 0; s < n->sizes.max_sequences; s++) {
        struct hd_kv_share with = hd_kv_shared(n->kv, s);
        if (with.shared > most && with.parent == sequence)
            most = with.shared;
    }
    return most;
}

int hd_node_cut(struct hd_node *n, uint32_t sequence, uint32_t positions, struct hd_error *err)
{
    uint32_t shared = must_stay(n, sequence);
    if (positions < shared)
        return hd_fail(err, HD_E_PROTO,
                       "SequenceCut: sequence %u to %u positions, %u of them are shared", sequence,
                       positions, shared);
    hd_audit_cut(n, sequence, positions);
    hd_kv_cut_sequence(n->kv, sequence, positions);
    hd_input_log_truncate(n->input_log, sequence, positions);
    hd_hold_cut(n, sequence, positions);
    hd_known_cut(&n->known[sequence], positions);
    return 0;
}

uint64_t hd_node_forgotten(const struct hd_assignment *a)
{
    uint64_t mask = a->clear ? UINT64_MAX : 0;
    for (size_t i = 0; i < a->n_needs; i++)
        mask |= (uint64_t)a->needs[i].replayed << a->needs[i].sequence;
    return mask;
}

int hd_node_assign(struct hd_node *n, const struct hd_assignment *a, struct hd_kv_report *report,
                   struct hd_error *err)
{
    hd_audit_drop(n, hd_node_forgotten(a));
    hd_audit_reassign(n);
    int rc = hd_rebuild(n, a, report, err);
    if (rc == 0)
        hd_hold_set(n, a);
    return rc;
}

void hd_node_hold(struct hd_node *n, const struct hd_assignment *a)
{
    hd_audit_reassign(n);
    hd_note_shares(n, a);
    hd_hold_set(n, a);
}

uint64_t hd_node_weight_bytes(const struct hd_node *n)
{
    return hd_shard_bytes(n->shard) + hd_audit_weight_bytes(n);
}

uint64_t hd_node_kv_bytes(const struct hd_node *n)
{
    return (n->kv ? hd_kv_bytes(n->kv) : 0) + hd_audit_kv_bytes(n);
}
