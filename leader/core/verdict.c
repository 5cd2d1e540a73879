/* verdict.c - what the answers to audits mean.
 *
 * Two workers that compute the same from the same inputs say the same bits, so whoever stands alone
 * among three is wrong. When there is no third all who spoke are asked to compute afresh, with
 * nothing that was kept: who then says something else than before has something wrong in him. When
 * they stay with their words nobody can be blamed, but what was computed cannot be trusted either.
 *
 * Nobody is blamed for what he was not asked rightly: when a sequence is closed or replayed, or the
 * step given up, what ATTENTION read of it is not there any more, and the audit ends without a
 * result. If two have differed by then somebody is wrong all the same. The next audits will most
 * likely tell who; if they have not within the deadline, nothing that is computed is trusted. */
#include "leader/core/core_impl.h"

#include <string.h>

#define MOST_TRIES 4 /* workers that were asked and did not answer; then it is not audited */

struct found {
    struct round *r;
    unsigned subject;
    struct opinion *o;
};

/* The question of that number, if the slot has yet to answer it. */
static bool find(struct hd_core *c, unsigned slot, uint64_t asked, struct found *out)
{
    for (unsigned i = 0; i < HD_MAX_ROUNDS; i++) {
        struct round *r = &c->audits.rounds[i];
        for (unsigned s = 0; s < HD_MAX_WORKERS && r->id; s++)
            for (unsigned k = 0; k < r->of[s].n; k++) {
                struct opinion *o = &r->of[s].opinions[k];
                if (o->asked == asked && o->slot == slot) {
                    *out = (struct found){r, s, o};
                    return true;
                }
            }
    }
    return false;
}

static void end(struct hd_core *c, struct round *r, unsigned subject, uint64_t *count)
{
    (*count)++;
    r->of[subject] = (struct question){0};
    core_audit_settle(c, r);
}

/* ---- Verdicts ----*/

/* An older answer of the same worker may turn out to be wrong yet. */
static bool older_is_open(const struct hd_core *c, const struct round *r, unsigned subject)
{
    for (unsigned i = 0; i < HD_MAX_ROUNDS; i++) {
        const struct round *other = &c->audits.rounds[i];
        if (other->id && other->id < r->id && other->of[subject].state != AUDIT_IDLE)
            return true;
    }
    return false;
}

static bool is_doubted(const struct hd_core *c, unsigned slot)
{
    return c->audits.differed.open &&
           (c->audits.differed.slots[0] == slot || c->audits.differed.slots[1] == slot);
}

static void confirm(struct hd_core *c, struct round *r, unsigned subject)
{
    uint64_t *clean_us = &c->audits.by[subject].clean_us[r->half];
    if (!is_doubted(c, subject) && !older_is_open(c, r, subject) && r->at_us > *clean_us)
        *clean_us = r->at_us;
    end(c, r, subject, &c->audits.totals.equal);
}

static void say_doubt(struct hd_core *c)
{
    struct hd_action *a = core_push(c, HD_ACT_DOUBT, c->audits.differed.slots[0]);
    a->doubt.subject = c->audits.differed.slots[1];
    a->doubt.since_us = c->audits.differed.since_us;
    c->audits.differed.open = false;
    core_spoil(c, UINT64_MAX);
}

uint64_t core_doubted_since(const struct hd_core *c, unsigned slot, enum hd_half half)
{
    return c->audits.by[slot].contributed ? c->audits.by[slot].clean_us[half] : c->now_us + 1;
}

void core_audit_wrong(struct hd_core *c, unsigned slot)
{
    c->audits.totals.wrong++;
    if (is_doubted(c, slot))
        c->audits.differed.open = false;
}

/* Two differ and it will not be known who is right. */
static void leave_open(struct hd_core *c, struct round *r, unsigned subject)
{
    const struct question *q = &r->of[subject];
    if (!c->audits.differed.open) {
        c->audits.differed.open = true;
        c->audits.differed.at_us = c->audits.differed.since_us = c->now_us;
        for (unsigned i = 0; i < 2; i++) {
            unsigned slot = c->audits.differed.slots[i] = q->opinions[i].slot;
            if (c->audits.by[slot].clean_us[r->half] < c->audits.differed.since_us)
                c->audits.differed.since_us = c->audits.by[slot].clean_us[r->half];
        }
    }
    end(c, r, subject, &c->audits.totals.undecided);
}

/* The inputs are no more what they were. */
static void give_up(struct hd_core *c, struct round *r, unsigned subject)
{
    const struct question *q = &r->of[subject];
    if (q->state == AUDIT_AGAIN || q->n > 2)
        leave_open(c, r, subject);
    else
        end(c, r, subject, &c->audits.totals.not_audited);
}

static void blame(struct hd_core *c, uint64_t wrong, enum hd_half half)
{
    for (; wrong; wrong &= wrong - 1)
        core_wrong(c, core_first(wrong), half);
}

/* What two of those who spoke agree on; 0: all differ. */
static uint64_t agreed(const struct question *q, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < i; k++)
            if (q->opinions[i].digest == q->opinions[k].digest)
                return q->opinions[i].digest;
    return 0;
}

/* All who spoke are asked once more; those who are gone cannot be. */
static void ask_again(struct hd_core *c, struct round *r, unsigned subject)
{
    struct question *q = &r->of[subject];
    uint64_t alive = core_alive(c);
    bool all = true;
    for (unsigned i = 0; i < q->n; i++)
        all &= !!(alive & core_bit(q->opinions[i].slot));
    if (!all) {
        leave_open(c, r, subject);
        return;
    }
    q->state = AUDIT_AGAIN;
    for (unsigned i = 0; i < q->n; i++)
        core_audit_ask(c, r, subject, &q->opinions[i]);
}

/* The last opinion is still to be given: somebody else gives it. False: nobody is left. */
static bool ask_another(struct hd_core *c, struct round *r, unsigned subject)
{
    struct question *q = &r->of[subject];
    int partner = core_audit_partner(c, r, subject, q->tried);
    if (partner < 0 || core_count(q->tried) >= MOST_TRIES)
        return false;
    q->opinions[q->n - 1] = (struct opinion){.slot = (unsigned)partner};
    core_audit_ask(c, r, subject, &q->opinions[q->n - 1]);
    return true;
}

/* The last who was asked gives no opinion. */
static void without(struct hd_core *c, struct round *r, unsigned subject)
{
    struct question *q = &r->of[subject];
    if (ask_another(c, r, subject))
        return;
    q->n--;
    if (q->n < 2)
        end(c, r, subject, &c->audits.totals.not_audited);
    else
        ask_again(c, r, subject);
}

/* All opinions are there. */
static void judge(struct hd_core *c, struct round *r, unsigned subject)
{
    struct question *q = &r->of[subject];
    uint64_t right = agreed(q, q->n), wrong = 0;
    if (!right && q->n < MAX_OPINIONS) {
        if (q->n == 2) {
            struct hd_action *a = core_push(c, HD_ACT_DIFFER, subject);
            a->differ.subject = q->opinions[1].slot;
            a->differ.round = r->id;
        }
        q->n++;
        without(c, r, subject); /* so far */
        return;
    }
    if (!right) {
        ask_again(c, r, subject);
        return;
    }
    for (unsigned i = 0; i < q->n; i++)
        if (q->opinions[i].digest != right)
            wrong |= core_bit(q->opinions[i].slot);
    if (q->opinions[0].digest == right)
        confirm(c, r, subject);
    else
        end(c, r, subject, &c->audits.totals.unequal);
    blame(c, wrong, r->half);
}

/* Who says the same as before, and who does not; and among three or more, who now stands alone. */
static uint64_t unsteady(const struct question *q, uint64_t *stayed)
{
    uint64_t changed = 0;
    *stayed = 0;
    for (unsigned i = 0; i < q->n; i++) {
        const struct opinion *o = &q->opinions[i];
        unsigned same = 0;
        for (unsigned k = 0; k < q->n; k++)
            same += q->opinions[k].again == o->again;
        if (o->again == o->digest && (q->n < 3 || same > 1))
            *stayed |= core_bit(o->slot);
        else if (o->again)
            changed |= core_bit(o->slot);
    }
    return changed;
}

/* All have spoken again, or never will. */
static void judge_again(struct hd_core *c, struct round *r, unsigned subject)
{
    const struct question *q = &r->of[subject];
    bool all = true;
    for (unsigned i = 0; i < q->n; i++) {
        if (q->opinions[i].asked)
            return;
        all &= q->opinions[i].again != 0;
    }
    uint64_t stayed, changed = unsteady(q, &stayed);
    if (!changed || !stayed) {
        leave_open(c, r, subject);
        if (all)
            say_doubt(c);
        return;
    }
    end(c, r, subject, &c->audits.totals.unequal);
    blame(c, changed, r->half);
}

/* ---- What happens ----*/

/* It cannot, is late, or is gone. */
static void unanswered(struct hd_core *c, const struct found *f)
{
    f->o->asked = 0;
    if (f->r->of[f->subject].state == AUDIT_AGAIN)
        judge_again(c, f->r, f->subject);
    else
        without(c, f->r, f->subject);
}

void core_audit_result(struct hd_core *c, unsigned slot, const struct hd_audit_info *a)
{
    struct found f;
    if (!(core_alive(c) & core_bit(slot)))
        return;
    core_heard(c, slot);
    if (!a->number || !find(c, slot, a->number, &f))
        return; /* came too late */
    if (a->cannot || a->digest == 0) {
        unanswered(c, &f);
        return;
    }
    f.o->asked = 0;
    if (f.r->of[f.subject].state == AUDIT_AGAIN) {
        f.o->again = a->digest;
        judge_again(c, f.r, f.subject);
    } else {
        f.o->digest = a->digest;
        judge(c, f.r, f.subject);
    }
}

/* Calls `lost` for all questions that `which` says will not be answered. It may change the rest. */
static void sweep(struct hd_core *c,
                  bool (*which)(const struct hd_core *c, const struct opinion *o, unsigned slot),
                  unsigned slot, uint64_t *count)
{
    for (unsigned i = 0; i < HD_MAX_ROUNDS; i++)
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            for (unsigned k = 0; k < MAX_OPINIONS; k++) {
                struct round *r = &c->audits.rounds[i];
                struct opinion *o = &r->of[s].opinions[k];
                if (!r->id || k >= r->of[s].n || !o->asked || !which(c, o, slot))
                    continue;
                (*count)++;
                unanswered(c, &(struct found){r, s, o});
            }
}

static bool is_late(const struct hd_core *c, const struct opinion *o, unsigned slot)
{
    return c->now_us > o->asked_us + c->o.trust.deadline_us;
}

static bool is_from(const struct hd_core *c, const struct opinion *o, unsigned slot)
{
    return o->slot == slot;
}

void core_audit_tick(struct hd_core *c, uint64_t late_us)
{
    for (unsigned i = 0; i < HD_MAX_ROUNDS && late_us; i++)
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            for (unsigned k = 0; k < MAX_OPINIONS; k++)
                c->audits.rounds[i].of[s].opinions[k].asked_us += late_us;
    sweep(c, is_late, 0, &c->audits.totals.late);
    c->audits.differed.at_us += late_us;
    if (c->audits.differed.open && c->now_us > c->audits.differed.at_us + c->o.trust.deadline_us)
        say_doubt(c);
}

/* Nothing that was said by it counts any more. */
static void drop_opinions(struct hd_core *c, unsigned slot)
{
    for (unsigned i = 0; i < HD_MAX_ROUNDS; i++) {
        struct round *r = &c->audits.rounds[i];
        r->subjects &= ~core_bit(slot);
        for (unsigned s = 0; s < HD_MAX_WORKERS && r->id; s++)
            for (unsigned k = 0; k < r->of[s].n; k++)
                if (r->of[s].opinions[k].slot == slot) {
                    end(c, r, s, &c->audits.totals.not_audited);
                    break;
                }
    }
}

void core_audit_lost(struct hd_core *c, unsigned slot, enum hd_loss_cause cause)
{
    uint64_t ignored = 0;
    if (cause == HD_LOSS_WRONG)
        drop_opinions(c, slot);
    else
        sweep(c, is_from, slot, &ignored);
}

void core_audit_taken(struct hd_core *c, unsigned slot)
{
    drop_opinions(c, slot);
}

void core_audit_abandoned(struct hd_core *c)
{
    uint64_t unsure = core_in_hand(c);
    core_audit_spoiled(c, unsure);
    c->audits.unsure |= unsure;
}

void core_audit_spoiled(struct hd_core *c, uint64_t sequences)
{
    c->audits.unsure &= ~sequences;
    for (unsigned i = 0; i < HD_MAX_ROUNDS; i++) {
        struct round *r = &c->audits.rounds[i];
        if (!r->id || r->half != HD_HALF_ATTENTION || !(r->sequences & sequences))
            continue;
        r->subjects = 0;
        for (unsigned s = 0; s < HD_MAX_WORKERS && r->id; s++)
            if (r->of[s].state != AUDIT_IDLE)
                give_up(c, r, s);
    }
}
