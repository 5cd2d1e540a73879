/* rows.c - K/V rows that two workers have computed.
 *
 * An epoch's confirmations say a digest of the rows that the epoch needs, of each live sequence and
 * head, for all that a worker has: owned, held as a copy, or not yet released. So the rows of a
 * standby copy, of a head that moves and of one that was just rebuilt are compared with those of
 * everybody else who has them, before the next half-step is sent.
 *
 * Rows are a function of the inputs that everybody was sent, so of two that differ one is wrong. Of
 * three who stands alone is cut off, as by an audit (verdict.c). Two cannot be decided, for neither
 * could compute afresh without stopping the cluster: the sequence begins anew with its tokens
 * kept, and its answer says that it may be wrong. Who is to blame the audits will tell.
 *
 * Of a sequence whose step was given up nothing is compared: if somebody was wrong then, the logs
 * may have other inputs than were computed with. */
#include "leader/core/core_impl.h"

#include <stdlib.h>
#include <string.h>

int core_rows_init(struct hd_core *c)
{
    size_t n = (size_t)c->o.units[HD_UNIT_HEAD] * HD_MAX_SEQUENCES;
    c->rows.same = calloc(n + 1, sizeof *c->rows.same);
    return c->rows.same ? 0 : HD_E_NOMEM;
}

void core_rows_deinit(struct hd_core *c)
{
    free(c->rows.same);
}

static struct same_rows *rows_of(struct hd_core *c, uint32_t sequence, uint32_t head)
{
    return &c->rows.same[(size_t)head * HD_MAX_SEQUENCES + sequence];
}

bool core_rows_make_sense(const struct hd_core *c, const struct hd_kv_info *kv)
{
    for (size_t i = 0; i < kv->n_digests; i++)
        if (kv->digests[i].sequence >= HD_MAX_SEQUENCES ||
            kv->digests[i].head >= c->o.units[HD_UNIT_HEAD])
            return false;
    return true;
}

void core_rows_forget(struct hd_core *c)
{
    memset(c->rows.same, 0,
           (size_t)c->o.units[HD_UNIT_HEAD] * HD_MAX_SEQUENCES * sizeof *c->rows.same);
}

/* Has it said something of these rows? Once is enough. */
static bool has_said(const struct same_rows *r, unsigned slot)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->said[i].slot == slot)
            return true;
    return false;
}

void core_rows_said(struct hd_core *c, unsigned slot, const struct hd_kv_info *kv)
{
    for (size_t i = 0; i < kv->n_digests; i++) {
        struct same_rows *r = rows_of(c, kv->digests[i].sequence, kv->digests[i].head);
        if (r->n == MAX_OPINIONS || has_said(r, slot))
            continue;
        r->said[r->n].slot = slot;
        r->said[r->n++].digest = kv->digests[i].digest;
    }
}

/* ---- What it means ----*/

struct finding {
    uint64_t wrong;     /* slots that stand alone */
    uint64_t doubtful;  /* sequences of which answers may be made of wrong rows */
    uint64_t undecided; /* ... and nobody can say whose are right */
    unsigned slots[2];  /* who differed first */
    bool any;
};

static void drop_lost(const struct hd_core *c, struct same_rows *r)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->n; i++)
        if (core_alive(c) & core_bit(r->said[i].slot))
            r->said[n++] = r->said[i];
    r->n = n;
}

/* Slots that say something else than two others do; 0: no two say the same. */
static uint64_t alone(const struct same_rows *r)
{
    uint64_t set = 0;
    for (unsigned i = 0; i < r->n; i++) {
        unsigned same = 0;
        for (unsigned k = 0; k < r->n; k++)
            same += r->said[k].digest == r->said[i].digest;
        set |= same == 1 ? core_bit(r->said[i].slot) : 0;
    }
    return core_count(set) < r->n ? set : 0;
}

static void note(const struct hd_core *c, const struct same_rows *r, uint32_t sequence,
                 struct finding *f)
{
    uint64_t wrong = alone(r), bit = core_bit(sequence);
    if (!f->any)
        for (unsigned i = 0; i < 2; i++)
            f->slots[i] = r->said[i].slot;
    for (unsigned i = 1; !f->any && i < r->n; i++)
        if (r->said[i].digest != r->said[0].digest)
            f->slots[1] = r->said[i].slot;
    f->any = true;
    f->wrong |= wrong;
    f->undecided |= wrong ? 0 : bit;
    if (!wrong)
        f->doubtful |= bit;
    for (; wrong; wrong &= wrong - 1) /* whose rows nobody has used has harmed nobody */
        f->doubtful |= core_has_contributed(c, core_first(wrong)) ? bit : 0;
}

static void look_at(struct hd_core *c, uint32_t sequence, uint32_t head, struct finding *f)
{
    struct same_rows *r = rows_of(c, sequence, head);
    bool same = true;
    drop_lost(c, r);
    if (r->n < 2)
        return;
    for (unsigned i = 1; i < r->n; i++)
        same &= r->said[i].digest == r->said[0].digest;
    core_audit_rows(c, same);
    if (!same)
        note(c, r, sequence, f);
}

void core_rows_compare(struct hd_core *c)
{
    struct finding f = {0};
    uint64_t sequences = core_live(c) & ~(core_unsure(c) | core_dropping(c) | core_spoiled(c));
    for (uint64_t left = sequences; left; left &= left - 1)
        for (uint32_t h = 0; h < c->o.units[HD_UNIT_HEAD]; h++)
            look_at(c, core_first(left), h, &f);
    core_rows_forget(c);
    if (!f.any)
        return;
    struct hd_action *a = core_push(c, HD_ACT_ROWS_DIFFER, f.slots[0]);
    a->rows.subject = f.slots[1];
    a->rows.sequences = f.doubtful;
    for (; f.wrong; f.wrong &= f.wrong - 1)
        core_wrong(c, core_first(f.wrong), HD_HALF_ATTENTION);
    core_spoil(c, f.undecided);
}
