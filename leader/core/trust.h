/* trust.h - who is let in, and what becomes of who was wrong, or whose memory fails. */
#ifndef HD_CORE_TRUST_H
#define HD_CORE_TRUST_H

#include "leader/core/core.h"

struct quarantine {
    char name[HD_NAME_MAX + 1];
    uint64_t until_us;
};

struct trust {
    struct quarantine quarantine[HD_MAX_WORKERS];
    uint64_t untested; /* slots that have not given the known answer: they are not alive yet */
    uint64_t failing;  /* slots that are drained because of their memory */
    struct {
        uint64_t welcomed;  /* the epoch when it joined */
        uint64_t tested_us; /* the self test was sent at, moved on by our own lateness */
        unsigned n_damages; /* of its memory, while it was here */
        uint64_t damaged_us[HD_MAX_DRAIN_AFTER]; /* the latest of them, a ring */
    } of[HD_MAX_WORKERS];
};

/* `half`: in what it was wrong. */
void core_wrong(struct hd_core *c, unsigned slot, enum hd_half half);
bool core_is_quarantined(const struct hd_core *c, const char *name);
void core_test(struct hd_core *c, unsigned slot); /* it has just joined */
/* It is alive, if it has given the known answer and said what it has kept. */
void core_let_in(struct hd_core *c, unsigned slot);
void core_tested(struct hd_core *c, unsigned slot, uint64_t digest);
void core_damage(struct hd_core *c, unsigned slot, const struct hd_damage_info *d);
void core_trust_lost(struct hd_core *c, unsigned slot);
void core_trust_tick(struct hd_core *c, uint64_t late_us);
void core_looked_after(struct hd_core *c, unsigned slot); /* its memory, by somebody */
uint64_t core_untested(const struct hd_core *c);          /* slots that are not let in yet */
uint64_t core_untested_late(const struct hd_core *c);
void core_view_trust(const struct hd_core *c, unsigned slot, struct hd_worker_view *out);

#endif
