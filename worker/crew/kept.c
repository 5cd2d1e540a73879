/* kept.c - what a worker says of what it has kept of an earlier session (SequenceTokens, Kept).
 *
 * A sequence is of use to the next leader if it is known which tokens its rows are of. So one whose
 * tokens are not known from its first row on, or of which rows are lost, is dropped, with those
 * that share its rows, and not spoken of. */
#include "worker/crew/crew_impl.h"
#include "worker/crew/whole.h"

/* Positions of which all owned heads have K/V, in all layers. */
static uint32_t complete(const struct hd_node *n, uint32_t sequence)
{
    struct hd_unit_list heads = hd_shard_owned(n->shard, HD_UNIT_HEAD);
    uint32_t least = n->known[sequence].n;
    for (uint32_t l = 0; l < n->model->shape.n_layers; l++)
        for (size_t h = 0; h < heads.n; h++) {
            uint32_t valid = hd_kv_valid(n->kv, (struct hd_kv_at){sequence, l, heads.list[h]});
            least = valid < least ? valid : least;
        }
    return least;
}

static uint32_t logged(const struct hd_node *n, uint32_t sequence)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t l = 0; l < n->model->shape.n_layers; l++) {
        uint32_t count = hd_input_log_count(n->input_log, sequence, l);
        least = count < least ? count : least;
    }
    return least;
}

static bool is_of_use(const struct hd_node *n, uint32_t sequence)
{
    const struct hd_known *k = &n->known[sequence];
    return k->n > k->first && !(n->lost >> sequence & 1) && complete(n, sequence) > k->first;
}

static void tell(struct hd_crew *c, uint32_t sequence)
{
    struct hd_kept_sequence k = {
        .sequence = sequence,
        .share = hd_kv_shared(c->node->kv, sequence),
        .known = &c->node->known[sequence],
        .positions = complete(c->node, sequence),
        .logged = logged(c->node, sequence),
    };
    struct hd_reply *r = hd_reply_new(c->joined);
    hd_crew_finish(c, r, r ? hd_reply_tokens(r, &k) : 0);
}

/* A sequence, behind those whose rows it shares. */
static void tell_behind(struct hd_crew *c, uint32_t sequence, uint64_t *told)
{
    struct hd_kv_share share = hd_kv_shared(c->node->kv, sequence);
    if (*told >> sequence & 1)
        return;
    *told |= UINT64_C(1) << sequence;
    if (share.shared > 0)
        tell_behind(c, share.parent, told);
    tell(c, sequence);
}

void hd_crew_tell_kept(struct hd_crew *c)
{
    struct hd_node *n = c->node;
    uint64_t told = 0;
    for (uint32_t s = 0; s < n->sizes.max_sequences; s++)
        if (!is_of_use(n, s))
            hd_node_drop(n, s);
    for (uint32_t s = 0; s < n->sizes.max_sequences; s++)
        if (is_of_use(n, s))
            tell_behind(c, s, &told);
    struct hd_reply *r = hd_reply_new(c->joined);
    hd_crew_finish(c, r, r ? hd_reply_kept(r, n) : 0);
}
