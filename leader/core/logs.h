/* logs.h - which worker's input log holds which sequence, and how they are completed. */
#ifndef HD_CORE_LOGS_H
#define HD_CORE_LOGS_H

#include "leader/core/core.h"

/* Rows that a worker waits for. */
struct fetch {
    bool active;
    unsigned source; /* slot that was asked */
    uint64_t asked;  /* the question's number: rows that answer another one are not for it */
    struct hd_fetch rows;
};

/* Of one worker; sets of sequences. */
struct worker_log {
    uint64_t knows;   /* it was told of */
    uint64_t covers;  /* ... and its log has from position 0 on */
    uint64_t filling; /* ... and its log completes just now */
    uint64_t cannot;  /* ... and its log could not complete */
    uint64_t no_room; /* ... and its log's limit keeps out */
    uint64_t limit;   /* bytes; 0: it keeps none */
};

struct logs {
    struct worker_log of[HD_MAX_WORKERS];
    struct fetch fetches[HD_MAX_WORKERS]; /* by requester */
    uint64_t questions;                   /* asked of sources so far */
};

void core_fill_logs(struct hd_core *c); /* between two steps */
void core_log_state(struct hd_core *c, unsigned slot, const struct hd_log_info *log);
void core_fetch(struct hd_core *c, unsigned slot, const struct hd_fetch *rows);
void core_rows(struct hd_core *c, unsigned slot, const struct hd_fetch *rows);
void core_logs_joined(struct hd_core *c, unsigned slot, uint64_t limit);
void core_logs_lost(struct hd_core *c, unsigned slot);
void core_fetches_lost(struct hd_core *c, unsigned slot);
void core_log_told(struct hd_core *c, unsigned slot); /* of all live sequences */
void core_log_opened(struct hd_core *c, unsigned slot, unsigned sequence);
bool core_log_closed(struct hd_core *c, unsigned slot, unsigned sequence); /* false: not known */
void core_logs_ended(struct hd_core *c, uint64_t sequences); /* or replayed: no fetch of them */
void core_logs_replayed(struct hd_core *c, uint64_t sequences);
/* It turned out not to have these. */
void core_log_lacks(struct hd_core *c, unsigned slot, uint64_t sequences);

/* Its log has all of these, of those that it knows. */
void core_log_has(struct hd_core *c, unsigned slot, uint64_t sequences);

uint64_t core_covers(const struct hd_core *c, unsigned slot); /* sequences */
/* Who is alive and has a log that holds every live sequence from its start; of those that no
 * request needs, every one that it can hold. */
uint64_t core_covering(const struct hd_core *c);
uint64_t core_covering_needed(const struct hd_core *c); /* ... those that a request needs */
/* Who is alive and covers the most positions of live sequences; nobody, when nobody covers any. */
uint64_t core_best_covering(const struct hd_core *c);

/* room.c: what the logs have room for */
/* It has a log, and that can hold anything at all. */
bool core_keeps_log(const struct hd_core *c, unsigned slot);
/* Its limit has room for the sequence and some growth, beside what it covers and completes. */
bool core_log_fits(const struct hd_core *c, unsigned slot, unsigned sequence);
const char *core_check_logs(const struct hd_core *c);
void core_view_log(const struct hd_core *c, unsigned slot, struct hd_worker_view *out);

#endif
