/* members.h - who is there: joining, heartbeats, suspicion, loss, and being forgotten. What is
 * known of a worker beside that belongs to the part that it is about. */
#ifndef HD_CORE_MEMBERS_H
#define HD_CORE_MEMBERS_H

#include "leader/core/core.h"

struct member {
    enum hd_worker_state state;
    char name[HD_NAME_MAX + 1];
    struct hd_detector detector;
    uint64_t last_seen_us;
    double rtt_us;                              /* smoothed; 0 until the first answer */
    bool answered_beat;                         /* rtt_us is measured */
    uint64_t memory_bytes, multiply_adds_per_s; /* 0 = unknown */
    uint64_t weights_us;                        /* when it asked for weights last */
    uint64_t weights_asked; /* requests since it was last told what to own or to hold */
    uint64_t failures, joins;
};

struct members {
    struct member of[HD_MAX_WORKERS];
    const char *names[HD_MAX_WORKERS]; /* for strategies */
    uint64_t online, suspects;         /* slots in these states: asked for often in every event */
    uint64_t heartbeat;
};

void core_members_init(struct hd_core *c);
/* members.c and signs.c only. False: refused, it is a bug. */
bool core_set_member(struct hd_core *c, unsigned slot, enum hd_worker_state state);
void core_say_member(struct hd_core *c, unsigned slot);
void core_hello(struct hd_core *c, const struct hd_hello_info *h);
void core_ack(struct hd_core *c, unsigned slot, const struct hd_ack_info *ack);
void core_weights(struct hd_core *c, unsigned slot);
void core_tick(struct hd_core *c, uint64_t late_us);
void core_heard(struct hd_core *c, unsigned slot);
/* Write the worker off; core_settle begins the recovery. */
void core_lose(struct hd_core *c, unsigned slot, enum hd_loss_cause cause);
/* It is told what to own or to hold: it may ask for as many weights as ever. */
void core_may_load(struct hd_core *c, unsigned slot);

uint64_t core_alive(const struct hd_core *c);     /* slots ONLINE or SUSPECT, and tested */
uint64_t core_connected(const struct hd_core *c); /* ... or yet to be tested */
uint64_t core_suspects(const struct hd_core *c);
bool core_is_online(const struct hd_core *c, unsigned slot);
/* Who may own units: who is alive, not being drained, and not relieved of all for being slow; the
 * slow, when there is nobody else; all, when all are drained. */
uint64_t core_usable(const struct hd_core *c);
/* Workers whose round trip the strategy wants to know before it makes a fresh plan. */
uint64_t core_unmeasured(const struct hd_core *c);
const char *const *core_names(const struct hd_core *c); /* [HD_MAX_WORKERS] */
const char *core_name(const struct hd_core *c, unsigned slot);
uint64_t core_last_seen(const struct hd_core *c, unsigned slot);
/* Smoothed round trip; negative: not measured yet. */
double core_rtt_us(const struct hd_core *c, unsigned slot);
double core_speed(const struct hd_core *c, unsigned slot); /* multiply-adds a second; 0 = unknown */
double core_memory(const struct hd_core *c, unsigned slot); /* bytes of the machine; likewise */
double core_phi(const struct hd_core *c, unsigned slot, uint64_t now_us);
const char *core_check_members(const struct hd_core *c);
void core_view_member(const struct hd_core *c, unsigned slot, struct hd_worker_view *out);

#endif
