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
        if (c->trust.quarantine[i].until_us > c->now_us &&
            strcmp(c->trust.quarantine[i].name, name) == 0)
            return true;
    return false;
}

const char *hd_core_quarantined(const struct hd_core *c, size_t i, uint64_t now_us,
                                uint64_t *left_us)
{
    for (size_t k = 0; k < HD_MAX_WORKERS; k++)
        if (c->trust.quarantine[k].until_us > now_us && i-- == 0) {
            *left_us = c->trust.quarantine[k].until_us - now_us;
            return c->trust.quarantine[k].name;
        }
    return NULL;
}

/* In place of the one that ends first. */
static void quarantine(struct hd_core *c, const char *name)
{
    struct quarantine *q = &c->trust.quarantine[0];
    for (size_t i = 1; i < HD_MAX_WORKERS; i++)
        if (c->trust.quarantine[i].until_us < q->until_us)
            q = &c->trust.quarantine[i];
    if (c->o.trust.quarantine_us == 0)
        return;
    strcpy(q->name, name);
    q->until_us = c->now_us + c->o.trust.quarantine_us;
}

void core_wrong(struct hd_core *c, unsigned slot, enum hd_half half)
{
    uint64_t since_us = core_doubted_since(c, slot, half);
    struct hd_action *a = core_push(c, HD_ACT_WRONG, slot);
    strcpy(a->wrong.name, core_name(c, slot));
    a->wrong.since_us = since_us;
    core_audit_wrong(c, slot);
    if (since_us <= c->now_us)
        core_spoil(c, UINT64_MAX);
    quarantine(c, core_name(c, slot));
    core_lose(c, slot, HD_LOSS_WRONG);
}

/* ---- The known answer ----*/

/* It hears of the ends of the sequences that there are; their beginnings it fetches (logs.c). The
 * steps that it sees from now on are of the present epoch. */
void core_let_in(struct hd_core *c, unsigned slot)
{
    if (core_untested(c) & core_bit(slot))
        return;
    bool stale = core_is_stale(c, slot);
    core_log_told(c, slot);
    if (!stale)
        core_log_has(c, slot, core_adopted_covers(c, slot));
    core_stir(c);
    if (c->trust.of[slot].welcomed == hd_core_epoch(c) && !stale)
        return;
    struct hd_action *a = core_push(c, HD_ACT_ASSIGN, slot);
    a->assign.all = core_orders(c);
    a->assign.clear = stale;
}

void core_test(struct hd_core *c, unsigned slot)
{
    c->trust.of[slot].tested_us = c->now_us;
    c->trust.of[slot].welcomed = hd_core_epoch(c);
    c->trust.of[slot].n_damages = 0;
    if (!c->o.trust.self_test) {
        core_let_in(c, slot);
        return;
    }
    c->trust.untested |= core_bit(slot);
    core_push(c, HD_ACT_SELF_TEST, slot);
}

void core_tested(struct hd_core *c, unsigned slot, uint64_t digest)
{
    if (!(c->trust.untested & core_bit(slot)))
        return;
    core_heard(c, slot);
    if (digest != c->o.trust.self_test_digest) {
        core_wrong(c, slot, HD_HALF_ATTENTION); /* it has contributed nothing */
        return;
    }
    c->trust.untested &= ~core_bit(slot);
    core_let_in(c, slot);
}

uint64_t core_untested_late(const struct hd_core *c)
{
    uint64_t late = 0;
    for (uint64_t left = core_untested(c); left; left &= left - 1) {
        unsigned s = core_first(left);
        if (c->now_us > c->trust.of[s].tested_us + c->o.trust.deadline_us)
            late |= core_bit(s);
    }
    return late;
}

void core_trust_tick(struct hd_core *c, uint64_t late_us)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        c->trust.of[s].tested_us += late_us;
}

void core_trust_lost(struct hd_core *c, unsigned slot)
{
    c->trust.untested &= ~core_bit(slot);
    c->trust.failing &= ~core_bit(slot);
}

uint64_t core_untested(const struct hd_core *c)
{
    return c->trust.untested | core_telling(c);
}

void core_view_trust(const struct hd_core *c, unsigned slot, struct hd_worker_view *out)
{
    out->testing = c->trust.untested & core_bit(slot);
    out->failing = c->trust.failing & core_bit(slot);
}

/* ---- Damage ----*/

void core_looked_after(struct hd_core *c, unsigned slot)
{
    c->trust.failing &= ~core_bit(slot);
    c->trust.of[slot].n_damages = 0;
}

/* Its memory was damaged again and again. */
static void drain_failing(struct hd_core *c, unsigned slot)
{
    if (!core_drain_failing(c, slot))
        return;
    c->trust.failing |= core_bit(slot);
    core_push(c, HD_ACT_FAILING, slot);
}

void core_damage(struct hd_core *c, unsigned slot, const struct hd_damage_info *d)
{
    unsigned most = c->o.trust.drain_after, *n = &c->trust.of[slot].n_damages;
    uint64_t *at_us = c->trust.of[slot].damaged_us;
    if (!(core_alive(c) & core_bit(slot)))
        return;
    core_heard(c, slot);
    if (d->replay && d->sequence < HD_MAX_SEQUENCES)
        core_spoil(c, core_bit(d->sequence));
    if (!d->memory || most == 0)
        return;
    at_us[(*n)++ % most] = c->now_us;
    if (*n >= most && c->now_us - at_us[*n % most] <= DAMAGE_WINDOW_US)
        drain_failing(c, slot);
}
