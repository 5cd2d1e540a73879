/* damage.h - memory that is not what it was: what is told of it, by whoever finds it.
 *
 * Times are passed in, microseconds of one clock. */
#ifndef HD_WORKER_DAMAGE_H
#define HD_WORKER_DAMAGE_H

#include "common/net/frame.h"
#include "worker/share/node.h"

struct hd_finding {
    enum hd_damage kind;
    struct hd_shard_unit unit; /* weights, K/V, file */
    uint32_t layer;
    uint32_t sequence; /* K/V, log */
    uint64_t since_us; /* it was whole, or not there yet, so long ago */
    bool repaired, replay;
    char text[512]; /* for a person; a file has a path */
};

/* How long ago something was whole that was last seen then (0: in no round of the scrub yet). */
uint64_t hd_damage_since(const struct hd_node *n, uint64_t seen_us, uint64_t now_us);
/* Says it, in the log and to who wants to know. */
void hd_damage_tell(struct hd_node *n, const struct hd_finding *f);

/* What is to be said of a piece of weights. */
struct hd_finding hd_damage_of_piece(const struct hd_node *n, struct hd_shard_unit u,
                                     uint32_t layer, uint64_t now_us);
/* A piece of weights is to be released, if it is there: what differs is told, if memory is looked
 * over at all. */
void hd_damage_look_at_piece(struct hd_node *n, struct hd_shard_unit u, uint32_t layer,
                             uint64_t now_us);
/* Likewise, all of a unit. */
void hd_damage_look_at_unit(struct hd_node *n, struct hd_shard_unit u, uint64_t now_us);
/* A row of the log is not what was appended: out it goes, and it is told. For those who use rows.
 */
void hd_damage_log_row(struct hd_node *n, struct hd_log_at at, uint64_t now_us);

#endif
