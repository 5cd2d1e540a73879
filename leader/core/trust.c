/* trust.c - who is let in, and what becomes of who was wrong, or whose memory fails.
 *
 * Who joins is asked for a known answer first and does not count until it was right. Whose bits
 * were wrong is cut off, and its name refused for a while. All live sequences begin anew then:
 * their K/V was computed behind wrong sums, and a log may have rows that came from it. */
#include "leader/core/core_impl.h"

#include <string.h>

#define DAMAGE_WINDOW_US UINT64_C(3600000000) /* damages further apart than this are no pattern */

/* ---- Quarantine ----*/

bool core_is_quarantined(const struct hd_core *c, const char *name)
{
    for (size_t i = 0; i < HD_MAX_WORKERS; i++)
        if (c->quarantine[i].until_us > c->now_us && strcmp(c->quarantine[i].name, name) == 0)
            return true;
    return false;
}

const char *hd_core_quarantined(const struct hd_core *c, size_t i, uint64_t now_us,
                                uint64_t *left_us)
{
    for (size_t k = 0; k < HD_MAX_WORKERS; k++)
        if (c->quarantine[k].until_us > now_us && i-- == 0) {
            *left_us = c->quarantine[k].until_us - now_us;
            return c->quarantine[k].name;
        }
    return NULL;
}

/* In place of the one that ends first. */
static void quarantine(struct hd_core *c, const char *name)
{
    struct quarantine *q = &c->quarantine[0];
    for (size_t i = 1; i < HD_MAX_WORKERS; i++)
        if (c->quarantine[i].until_us < q->until_us)
            q = &c->quarantine[i];
    if (c->o.trust.quarantine_us == 0)
        return;
    strcpy(q->name, name);
    q->until_us = c->now_us + c->o.trust.quarantine_us;
}

void core_wrong(struct hd_core *c, unsigned slot, enum hd_half half)
{
    const struct worker *w = &c->workers[slot];
    struct hd_action *a = core_push(c, HD_ACT_WRONG, slot);
    strcpy(a->wrong.name, w->name);
    a->wrong.since_us =
        w->contributed ? w->clean_us[half] : c->now_us + 1; /* else nothing is doubted */
    c->audits.totals.wrong++;
    core_audit_explained(c, slot);
    if (w->contributed)
        c->spoiled |= c->live;
    quarantine(c, w->name);
    core_lose(c, slot, HD_LOSS_WRONG);
}

/* ---- The known answer ----*/

/* It hears of the ends of the sequences that there are; their beginnings it fetches (fill.c). The
 * steps that it sees from now on are of the present epoch. */
static void let_in(struct hd_core *c, unsigned slot)
{
    struct worker *w = &c->workers[slot];
    c->untested &= ~core_bit(slot);
    w->knows = c->live;
    c->restless = true;
    if (w->welcomed != c->epoch)
        core_push(c, HD_ACT_ASSIGN, slot)->assign.all = core_orders(c);
}

void core_test(struct hd_core *c, unsigned slot)
{
    c->workers[slot].tested_us = c->now_us;
    c->workers[slot].welcomed = c->epoch;
    if (!c->o.trust.self_test) {
        let_in(c, slot);
        return;
    }
    c->untested |= core_bit(slot);
    core_push(c, HD_ACT_SELF_TEST, slot);
}

void core_tested(struct hd_core *c, const struct hd_event *ev)
{
    if (!(c->untested & core_bit(ev->slot)))
        return;
    core_heard(c, ev->slot);
    if (ev->digest == c->o.trust.self_test_digest)
        let_in(c, ev->slot);
    else
        core_wrong(c, ev->slot, HD_HALF_ATTENTION); /* it has contributed nothing */
}

uint64_t core_untested_late(const struct hd_core *c)
{
    uint64_t late = 0;
    for (uint64_t left = c->untested; left; left &= left - 1) {
        unsigned s = core_first(left);
        if (c->now_us > c->workers[s].tested_us + c->o.trust.deadline_us)
            late |= core_bit(s);
    }
    return late;
}

/* ---- Damage ----*/

/* Its memory was damaged again and again. */
static void drain_failing(struct hd_core *c, unsigned slot)
{
    struct worker *w = &c->workers[slot];
    if (w->draining)
        return;
    w->draining = w->failing = true;
    core_move_forget(c);
    core_push(c, HD_ACT_FAILING, slot);
}

void core_damage(struct hd_core *c, const struct hd_event *ev)
{
    const struct hd_damage_info *d = &ev->damage;
    struct worker *w = &c->workers[ev->slot];
    unsigned most = c->o.trust.drain_after;
    if (!(core_alive(c) & core_bit(ev->slot)))
        return;
    core_heard(c, ev->slot);
    if (d->replay && d->sequence < HD_MAX_SEQUENCES)
        c->spoiled |= core_bit(d->sequence) & c->live;
    if (!d->memory || most == 0)
        return;
    w->damaged_us[w->n_damages++ % most] = c->now_us;
    if (w->n_damages < most)
        return;
    uint64_t first = w->damaged_us[w->n_damages % most];
    if (c->now_us - first <= DAMAGE_WINDOW_US)
        drain_failing(c, ev->slot);
}
