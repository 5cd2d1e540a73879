/* moves.h - units go from worker to worker without a pause, and who is to hold what for that. */
#ifndef HD_CORE_MOVES_H
#define HD_CORE_MOVES_H

#include "leader/core/core.h"

enum move_state { MOVE_QUIET, MOVE_RESTLESS, MOVE_PREPARING, MOVE_READY };

struct moves {
    enum move_state state;
    struct hd_holds hold;   /* what each worker is to hold now beside what it owns */
    struct hd_holds held;   /* what of it is ready */
    struct hd_holds wanted; /* what there is to be held when `next` is in force */
    struct hd_holds scratch;
    struct hd_plan next; /* who is to own what when all are ready */
    struct hd_plan ideal;
    bool changes;                          /* the move under way changes owners */
    bool rebalance;                        /* asked for */
    uint64_t round;                        /* of the latest move */
    uint64_t preparing;                    /* slots that are not ready for it */
    uint64_t since_us;                     /* told at, moved on by our own lateness */
    uint64_t planned;                      /* slots that were there when a plan was made */
    uint64_t draining, leaving, dismissed; /* slots: to own nothing; to stop; were told they may */
    unsigned late[HD_MAX_WORKERS];         /* moves in a row that it was not ready for in time */
};

int core_moves_init(struct hd_core *c);
void core_moves_deinit(struct hd_core *c);
/* Between two steps: begins to prepare what has to move; true when all are ready and the plan is
 * the new one: an epoch is to begin. */
bool core_move(struct hd_core *c);
void core_move_confirmed(struct hd_core *c, unsigned slot, const struct hd_kv_info *kv);
void core_stir(struct hd_core *c);        /* something has happened: look for a move */
void core_move_forget(struct hd_core *c); /* ... and give up the one under way */
void core_drain(struct hd_core *c, unsigned slot, const struct hd_drain_info *d);
bool core_drain_failing(struct hd_core *c, unsigned slot); /* false: it is drained already */
void core_rebalance(struct hd_core *c);
/* It has its share again, in part because others give it up. */
void core_share_back(struct hd_core *c, unsigned slot, bool rebalance);
void core_dismiss(struct hd_core *c);
void core_moves_joined(struct hd_core *c, unsigned slot);
void core_moves_lost(struct hd_core *c, unsigned slot);
void core_moves_tick(struct hd_core *c, uint64_t late_us);
/* The plan is another one, with these workers in mind. */
void core_moves_planned(struct hd_core *c, uint64_t workers);
void core_moves_kept(struct hd_core *c, const struct hd_holds *kept);
/* An epoch begins: nobody holds what he owns. Or nothing is served any more: nobody holds any. */
void core_moves_epoch(struct hd_core *c);
void core_moves_clear(struct hd_core *c);

bool core_between_steps(const struct hd_core *c);
uint64_t core_draining(const struct hd_core *c);
uint64_t core_round(const struct hd_core *c);
uint64_t core_preparing(const struct hd_core *c);
uint64_t core_preparing_since(const struct hd_core *c);
/* The preparations of these slots have taken too long. Those of them to be lost for it. */
uint64_t core_move_late(struct hd_core *c, uint64_t late);
const char *core_check_moves(const struct hd_core *c);

#endif
