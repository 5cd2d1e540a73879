/* A loop is published by setting `remaining` to n, after its function and argument. A thread takes
 * an index by lowering `remaining` by one; whoever succeeds owns index n - remaining of the loop
 * that is running at that moment, and the loop cannot end before that index is done. So there is
 * no barrier: a thread that wakes late finds nothing left, and costs nobody time.
 *
 * Sleeping: a thread announces itself (sleepers, caller_sleeps), then looks again at what it waits
 * for; the other side changes that, then looks for announcements. All four are sequentially
 * consistent, so at least one of the two sees the other. */
#include "common/math/team.h"
#include "common/util/clock.h"
#include "common/util/error.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define CACHE_LINE       64
#define SPINS_BETWEEN_US 64 /* looks at the condition between two looks at the clock */
#define TEAM_THREADS_MAX 1024

/* Waking all threads costs more than the gaps between the loops of a stream, which differ from
 * model to model: so it is spun for twice the longest of late, while nobody else wants the CPU:
 * then giving it away takes no time. */
#define CROWDED_US 50
#define FADE       16 /* loops until a gap counts for little */

struct member {
    struct hd_team *team;
    unsigned index;
    pthread_t thread;
};

struct hd_team {
    _Alignas(CACHE_LINE) atomic_size_t remaining; /* indices that nobody has taken */
    _Alignas(CACHE_LINE) atomic_size_t done;      /* indices that are finished */
    _Alignas(CACHE_LINE) size_t n;                /* of the running loop, as fn and arg */
    void (*fn)(void *arg, size_t index, unsigned thread);
    void *arg;
    unsigned threads, spin_us, longest_us;
    uint64_t ended_us;  /* the caller's: the loop before */
    atomic_uint gap_us; /* between loops, of late */
    atomic_uint sleepers;
    atomic_bool caller_sleeps, stop;
    pthread_mutex_t lock; /* only around sleeping and waking */
    pthread_cond_t work, finished;
    struct member members[]; /* [threads - 1] */
};

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool has_work(struct hd_team *t)
{
    return atomic_load(&t->remaining) > 0 || atomic_load(&t->stop);
}

static bool all_done(struct hd_team *t)
{
    return atomic_load(&t->done) == t->n;
}

/* Spins until ready(t) or until so much time is up; returns what ready said last. */
static bool spin(struct hd_team *t, bool (*ready)(struct hd_team *), uint64_t most_us)
{
    if (ready(t))
        return true;
    if (t->spin_us == 0)
        return false;
    uint64_t start = hd_now_us(), now = start, last;
    do {
        last = now;
        for (int i = 0; i < SPINS_BETWEEN_US; i++) {
            pause_cpu();
            if (ready(t))
                return true;
        }
        sched_yield(); /* it may be what is waited for that wants this CPU */
        now = hd_now_us();
        if (now - start >= t->spin_us && now - last >= CROWDED_US)
            break;
    } while (now - start < most_us);
    return ready(t);
}

/* How long it pays to spin for the next loop. */
static uint64_t patience(struct hd_team *t)
{
    uint64_t us = 2 * (uint64_t)atomic_load_explicit(&t->gap_us, memory_order_relaxed);
    us = us < t->longest_us ? us : t->longest_us;
    return us > t->spin_us ? us : t->spin_us;
}

/* A loop begins; longer gaps are those between streams. */
static void note_gap(struct hd_team *t)
{
    uint64_t gap = hd_now_us() - t->ended_us;
    unsigned of_late = atomic_load_explicit(&t->gap_us, memory_order_relaxed);
    if (gap > t->longest_us)
        return;
    of_late -= of_late / FADE;
    of_late = gap > of_late ? (unsigned)gap : of_late;
    atomic_store_explicit(&t->gap_us, of_late, memory_order_relaxed);
}

static void finish_one(struct hd_team *t, size_t n)
{
    if (atomic_fetch_add(&t->done, 1) + 1 != n || !atomic_load(&t->caller_sleeps))
        return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_signal(&t->finished);
    pthread_mutex_unlock(&t->lock);
}

/* Takes and runs indices until none is left. */
static void take_part(struct hd_team *t, unsigned thread)
{
    size_t left = atomic_load(&t->remaining);
    while (left > 0) {
        if (!atomic_compare_exchange_weak(&t->remaining, &left, left - 1))
            continue;
        size_t n = t->n; /* after finish_one the next loop may begin */
        t->fn(t->arg, n - left, thread);
        finish_one(t, n);
        left = atomic_load(&t->remaining);
    }
}

static void wait_for_work(struct hd_team *t)
{
    if (spin(t, has_work, patience(t)))
        return;
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleepers, 1);
    while (!has_work(t))
        pthread_cond_wait(&t->work, &t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    pthread_mutex_unlock(&t->lock);
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    while (!atomic_load(&m->team->stop)) {
        wait_for_work(m->team);
        take_part(m->team, m->index);
    }
    return NULL;
}

static void wake_sleepers(struct hd_team *t)
{
    if (atomic_load(&t->sleepers) == 0)
        return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
}

static void wait_until_done(struct hd_team *t)
{
    if (spin(t, all_done, t->spin_us))
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->caller_sleeps, true);
    while (!all_done(t))
        pthread_cond_wait(&t->finished, &t->lock);
    atomic_store(&t->caller_sleeps, false);
    pthread_mutex_unlock(&t->lock);
}

void hd_team_run(struct hd_team *t, size_t n, void (*fn)(void *arg, size_t index, unsigned thread),
                 void *arg)
{
    if (t->threads == 1 || n <= 1) { /* nothing to share: leave the others alone */
        for (size_t i = 0; i < n; i++)
            fn(arg, i, 0);
        return;
    }
    note_gap(t);
    t->n = n;
    t->fn = fn;
    t->arg = arg;
    atomic_store(&t->done, 0);
    atomic_store(&t->remaining, n);
    wake_sleepers(t);
    take_part(t, 0);
    wait_until_done(t);
    t->ended_us = hd_now_us();
}

static int start_members(struct hd_team *t, const char *name)
{
    for (unsigned i = 1; i < t->threads; i++) {
        struct member *m = &t->members[i - 1];
        *m = (struct member){.team = t, .index = i};
        if (pthread_create(&m->thread, NULL, member_main, m) != 0) {
            t->threads = i; /* those that run */
            return HD_E_IO;
        }
        if (name)
            pthread_setname_np(m->thread, name); /* for people only: a refusal is no error */
    }
    return 0;
}

int hd_team_new(struct hd_team **team, const struct hd_team_options *o)
{
    *team = NULL;
    unsigned threads = o->threads > 0 ? o->threads : 1;
    if (threads > TEAM_THREADS_MAX)
        return HD_E_IO;
    size_t bytes = sizeof(struct hd_team) + (threads - 1) * sizeof(struct member);
    bytes = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct hd_team *t = aligned_alloc(CACHE_LINE, bytes);
    if (!t)
        return HD_E_NOMEM;
    *t = (struct hd_team){.threads = threads, .spin_us = o->spin_us, .longest_us = o->longest_us};
    pthread_mutex_init(&t->lock, NULL); /* these three cannot fail with default attributes */
    pthread_cond_init(&t->work, NULL);
    pthread_cond_init(&t->finished, NULL);
    int r = start_members(t, o->name);
    if (r < 0) {
        hd_team_free(t);
        return r;
    }
    *team = t;
    return 0;
}

void hd_team_free(struct hd_team *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stop, true);
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 1; i < t->threads; i++)
        pthread_join(t->members[i - 1].thread, NULL);
    pthread_cond_destroy(&t->finished);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

unsigned hd_team_threads(const struct hd_team *t)
{
    return t->threads;
}
