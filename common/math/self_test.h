/* self_test.h - a known answer: whether this machine computes what every other one does.
 *
 * The digest of everything that a half-step is made of (products of every type of weights for one
 * row and for many, so that each kind of tile is used; fixed point sums and their compact form;
 * SiLU, the norm, log-sum-exp; RoPE, K/V rows of both types and attention over some blocks of them)
 * on inputs that are drawn from the seed with integers alone. It is a function of the seed: the
 * same for every variant of the kernels, every machine and any number of threads (tests/cross
 * compares them). A difference means that one of the two does not compute what it should.
 *
 * It takes about a millisecond, and 20 by the portable kernels. */
#ifndef HD_MATH_SELF_TEST_H
#define HD_MATH_SELF_TEST_H

#include "common/math/kernels.h"
#include "common/math/team.h"

struct hd_self_test {
    uint64_t digest; /* never 0; what it is when threads differ is in no other answer */
    bool differs;    /* not all threads have come to the same */
    unsigned thread; /* ... this one's answer is not that of most others */
    int cpu;         /* ... where it ran; -1: unknown */
};

/* Every thread of the team computes all of it, all at the same time: a core that computes wrongly
 * is found wherever it is, as far as each thread has a core of its own. NULL: the calling thread
 * alone. 0 or HD_E_NOMEM. Called by the thread that leads the team. */
int hd_kernels_self_test(const struct hd_kernels *k, uint64_t seed, struct hd_team *team,
                         struct hd_self_test *out);

#endif
