/* prefixes.h - which tokens' rows the workers have, so that a request need not compute them again.
 * Pure: numbers and token ids only.
 *
 * A branch is a sequence with its rows: of a request that runs, or kept when that has ended. It may
 * begin with the first rows of another branch, its parent, whole blocks of them; so the branches
 * are a tree over token ids, and what several begin with is there once. Rows are only ever
 * appended, or cut where nobody has begun with them, so a branch can be forked while it runs, and
 * one that is kept can be gone on with.
 *
 *     FREE --open--> RUNNING --its request ends--> KEPT --another one goes on--> RUNNING
 *                       |                           |
 *                       +------- it is no use ------+--evicted, the last used first--> FREE
 *
 * References are the children: a branch with children is not closed. What is left at the end of a
 * path stays with its branch, whether a child shares it or not.
 *
 * Requests share within a scope (an API key). A doomed branch's rows may be wrong: nobody begins
 * with them, and it is closed as soon as nobody runs on it. */
#ifndef HD_ENGINE_PREFIXES_H
#define HD_ENGINE_PREFIXES_H

#include "common/model/unit.h" /* HD_MAX_SEQUENCES */

#include <stdbool.h>
#include <stdint.h>

#define HD_PREFIX_BLOCK 64 /* positions: what is shared is a multiple (HD_LOG_CHUNK) */
#define HD_NO_SEQUENCE  UINT32_MAX

enum hd_branch_state { HD_BRANCH_FREE, HD_BRANCH_RUNNING, HD_BRANCH_KEPT };

struct hd_branch {
    enum hd_branch_state state;
    uint32_t parent, shared; /* shared 0: all rows are its own */
    uint32_t n;              /* positions with rows, shared ones among them */
    uint32_t coming;         /* RUNNING: positions that it will have for sure */
    const int32_t *tokens; /* [max(n, coming)]; borrowed, of a KEPT one owned by whoever keeps it */
    uint64_t scope;
    uint64_t used;    /* the higher, the later */
    uint64_t lineage; /* sequences whose rows went into its own (a mask), its own number too */
    bool doomed;
    uint32_t tail; /* KEPT, of an earlier leader: workers may have rows of tokens [n, tail), which
                    * are known: they stay for who has the same ones there. 0: no rows */
};

struct hd_prefixes {
    struct hd_branch of[HD_MAX_SEQUENCES];
    uint64_t clock;
    uint64_t kept; /* positions that kept branches have themselves */
};

/* What rows there are for a prompt. */
struct hd_prefix_match {
    uint32_t sequence;  /* the branch; HD_NO_SEQUENCE: none */
    uint32_t positions; /* of them */
    bool whole;         /* all that a kept one has: go on with it. Else it is to be forked */
    bool coming;        /* a running one is about to have more: better wait */
};
struct hd_prefix_ask {
    const int32_t *tokens;
    uint32_t n; /* that may be found: one less than the prompt has, as its last row is computed */
    uint64_t scope;
};
struct hd_prefix_match hd_prefixes_match(const struct hd_prefixes *p,
                                         const struct hd_prefix_ask *ask);

/* A FREE one begins to run; as the match says, if that is not whole. The branch's tokens, scope and
 * `coming` are the caller's to set. */
struct hd_branch *hd_prefixes_open(struct hd_prefixes *p, uint32_t sequence,
                                   const struct hd_prefix_match *m);
/* A KEPT one runs again. */
void hd_prefixes_resume(struct hd_prefixes *p, uint32_t sequence);
/* A RUNNING one is kept, with n positions; workers have no rows behind. */
void hd_prefixes_keep(struct hd_prefixes *p, uint32_t sequence, uint32_t n);
/* A KEPT one without children has fewer positions. */
void hd_prefixes_shorten(struct hd_prefixes *p, uint32_t sequence, uint32_t n);
/* Without children. */
void hd_prefixes_close(struct hd_prefixes *p, uint32_t sequence);
/* A RUNNING one, all of whose rows are gone, begins anew and alone. */
void hd_prefixes_restart(struct hd_prefixes *p, uint32_t sequence);

/* Sets of sequences. */
uint64_t hd_prefixes_in(const struct hd_prefixes *p, enum hd_branch_state state);
uint64_t hd_prefixes_with_parents(const struct hd_prefixes *p, uint64_t set);
uint64_t hd_prefixes_with_children(const struct hd_prefixes *p, uint64_t set);
/* Kept, and nothing that runs has begun with their rows. */
uint64_t hd_prefixes_spare(const struct hd_prefixes *p);
/* Of this set of spare ones the one to be closed first: doomed, or used the longest ago, without
 * children. HD_NO_SEQUENCE: the set is empty. */
uint32_t hd_prefixes_oldest(const struct hd_prefixes *p, uint64_t set);
/* Positions that kept ones of the set have themselves. */
uint64_t hd_prefixes_positions(const struct hd_prefixes *p, uint64_t set);
bool hd_prefixes_has_children(const struct hd_prefixes *p, uint32_t sequence);

/* NULL, or what is not as it must be. */
const char *hd_prefixes_check(const struct hd_prefixes *p);

#endif
