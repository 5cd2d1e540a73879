/* net.c - virtual time: a heap of events, and connections that keep their order. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void sim_fail(const struct sim *s, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "seed %llu at %.3f ms: ", (unsigned long long)s->seed, (double)s->now / 1e3);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n  again with: test_sim --seeds 1 --seed %llu --trace\n",
            (unsigned long long)s->seed);
    exit(1);
}

/* splitmix64 */
static uint64_t scramble(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_mix(uint64_t a, uint64_t b, uint64_t c)
{
    return scramble(scramble(scramble(a + 0x9e3779b97f4a7c15u) + b) + c);
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
    s->random += 0x9e3779b97f4a7c15u;
    return scramble(s->random) % n;
}

bool sim_chance(struct sim *s, unsigned percent)
{
    return sim_below(s, 100) < percent;
}

/* ---- The heap, earliest first ----*/

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void insert(struct sim *s, struct sim_event *e)
{
    if (s->n_heap == s->cap_heap) {
        s->cap_heap = s->cap_heap ? 2 * s->cap_heap : 256;
        s->heap = realloc(s->heap, s->cap_heap * sizeof *s->heap);
        if (!s->heap)
            sim_fail(s, "out of memory");
    }
    size_t i = s->n_heap++;
    for (; i > 0 && before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

struct sim_event *sim_next(struct sim *s)
{
    if (s->n_heap == 0)
        return NULL;
    struct sim_event *first = s->heap[0], *last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->n_heap; i = child) {
        if (child + 1 < s->n_heap && before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(s->heap[child], last))
            break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return first;
}

void sim_at(struct sim *s, uint64_t at, enum sim_event_type type, unsigned worker,
            const struct sim_msg *msg)
{
    struct sim_event *e = malloc(sizeof *e);
    if (!e)
        sim_fail(s, "out of memory");
    e->at = at;
    e->order = s->order++;
    e->type = type;
    e->worker = worker;
    if (msg)
        e->msg = *msg;
    insert(s, e);
}

void sim_again(struct sim *s, struct sim_event *e, uint64_t at)
{
    e->at = at;
    insert(s, e);
}

/* ---- Connections ----*/

/* Mostly a fifth of a millisecond, now and then much more; never before what was sent earlier. */
static uint64_t delivery(struct sim *s, uint64_t *latest)
{
    uint64_t at = s->now + 50 + sim_below(s, sim_chance(s, 5) ? 20000 : 300);
    if (at < *latest)
        at = *latest;
    return *latest = at;
}

void sim_send_to_worker(struct sim *s, uint64_t conn, struct sim_msg *msg)
{
    unsigned w = s->conn_worker[conn];
    msg->conn = conn;
    if (s->workers[w].conn == conn)
        sim_at(s, delivery(s, &s->workers[w].sent_at[0]), AT_WORKER, w, msg);
}

void sim_send_to_leader(struct sim *s, unsigned worker, struct sim_msg *msg)
{
    struct sim_worker *w = &s->workers[worker];
    msg->conn = w->conn;
    sim_at(s, delivery(s, &w->sent_at[1]), AT_LEADER, worker, msg);
}
