/* audits.h - which half-steps are computed by a second worker as well, by whom, and what the
 * answers mean. */
#ifndef HD_CORE_AUDITS_H
#define HD_CORE_AUDITS_H

#include "leader/core/core.h"

#define MAX_OPINIONS 4

struct opinion {
    unsigned slot;
    uint64_t digest;   /* what it says the answer is */
    uint64_t again;    /* ... when it was asked to compute afresh; 0: it did not say */
    uint64_t asked;    /* the question that it has not answered; 0: none */
    uint64_t asked_us; /* moved on by our own lateness */
};
/* Whether one worker's answer to an audited half-step was right.
 *
 *   IDLE --half-step done--> ASKED
 *   ASKED --two say the same--> IDLE: who says something else was wrong
 *   ASKED --they differ, or it cannot, is late, is lost--> ASKED: another one
 *   ASKED --they differ and nobody is left to ask--> AGAIN: all who spoke compute afresh
 *   AGAIN --all have spoken--> IDLE: who says something else than before was wrong; or nobody knows
 *   ASKED, AGAIN --the inputs are no more what they were--> IDLE: not audited */
struct question {
    enum { AUDIT_IDLE, AUDIT_ASKED, AUDIT_AGAIN } state;
    unsigned n;                            /* opinions; in ASKED the last has yet to be given */
    struct opinion opinions[MAX_OPINIONS]; /* the first is the worker's own, its answer */
    uint64_t tried;                        /* slots */
};
/* One audited half-step. */
struct round {
    uint64_t id; /* 0: not in use */
    bool open;   /* the half-step is in hand */
    enum hd_half half;
    uint32_t layer;
    uint64_t sequences; /* of its rows */
    uint64_t at_us;     /* sent */
    uint64_t subjects;  /* slots that have answered it */
    uint64_t digests[HD_MAX_WORKERS];
    struct question of[HD_MAX_WORKERS]; /* by subject */
};
struct audits {
    uint64_t random;
    uint32_t at, target; /* half-steps since the window began; the one to audit */
    bool due;            /* the next of this kind, in the layer, is audited */
    enum hd_half kind;
    unsigned waited;  /* times it could have been, but for rows that may be cut */
    uint32_t layer;   /* stays for a while: loading weights is what an audit costs */
    unsigned left;    /* audits for which it stays */
    uint64_t partner; /* likewise: which of the others audits a worker */
    uint64_t unsure;  /* sequences whose logs may have other rows than were computed with */
    uint64_t rounds_begun, questions;
    struct round rounds[HD_MAX_ROUNDS];
    struct {
        bool open; /* two differed, and then one of them could not be asked any more */
        unsigned slots[2];
        uint64_t since_us, at_us; /* confirmed up to; noticed at, moved on by our own lateness */
    } differed;
    struct hd_audit_totals totals;
    struct {
        uint64_t clean_us[HD_HALVES]; /* when the latest of its answers that was confirmed was asked
                                       * for, or it joined; apart, because it may fail in one kind
                                       * only */
        bool contributed;             /* others have used what it said: sums, rows of its log */
    } by[HD_MAX_WORKERS];
};

void core_audit_init(struct hd_core *c);
/* `back`: a worker of the same name is in its slot again. */
void core_audits_joined(struct hd_core *c, unsigned slot, bool back);
/* The half-step of these sequences is audited: its round. NULL: it is not. */
struct half;
struct round *core_audit_begin(struct hd_core *c, const struct half *h, uint64_t sequences);
/* It would be, but too many audits are under way, and all are to be audited. */
bool core_audit_full(const struct hd_core *c);
uint64_t core_audit_number(const struct round *r);        /* 0 for NULL; so may it be below */
void core_audit_sent(struct hd_core *c, struct round *r); /* (again): nobody has answered */
void core_audit_answer(struct round *r, unsigned slot, uint64_t digest); /* 0: no comparing */
void core_audit_done(struct hd_core *c, struct round *r);                /* all have: ask others */
void core_audit_drop(struct hd_core *c, struct round *r);                /* it is given up */
uint64_t core_unsure(const struct hd_core *c); /* sequences whose logs may be other ones */
bool core_has_contributed(const struct hd_core *c, unsigned slot);
void core_audit_rows(struct hd_core *c, bool same);      /* rows.c: counted */
void core_contributed(struct hd_core *c, unsigned slot); /* others use what it said */
/* Somebody who can be asked for an opinion, beside those of `tried`; -1: nobody. */
int core_audit_partner(const struct hd_core *c, const struct round *r, unsigned subject,
                       uint64_t tried);
void core_audit_ask(struct hd_core *c, struct round *r, unsigned subject, struct opinion *o);
/* No question of the round is open: it ends. */
void core_audit_settle(struct hd_core *c, struct round *r);

/* verdict.c: what the answers mean */
/* The worker was found wrong: counted, and it explains whatever differed. */
void core_audit_wrong(struct hd_core *c, unsigned slot);
/* Of what it has said in such half-steps nothing since then is confirmed; after now: it has said
 * nothing at all. */
uint64_t core_doubted_since(const struct hd_core *c, unsigned slot, enum hd_half half);
void core_audit_result(struct hd_core *c, unsigned slot, const struct hd_audit_info *a);
void core_audit_lost(struct hd_core *c, unsigned slot, enum hd_loss_cause cause);
void core_audit_taken(struct hd_core *c, unsigned slot); /* by another than before */
/* The step in hand is given up: its rows come again, and if somebody is wrong now and then they are
 * others than those that were logged. */
void core_audit_abandoned(struct hd_core *c);
/* What these sequences' logs and K/V held is gone, or another one's. */
void core_audit_spoiled(struct hd_core *c, uint64_t sequences);
void core_audit_tick(struct hd_core *c, uint64_t late_us);

#endif
