/* guard.c - see guard.h. The handler only reads atomics and calls mmap, which on Linux is a bare
 * system call; two threads that fault on one page both replace it, which is harmless. */
#include "common/model/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Entries are never freed, only used again: the handler may be walking over them. */
struct hd_guard {
    struct hd_guard *next;
    _Atomic bool used;
    _Atomic uintptr_t start, end; /* end 0: no range */
    _Atomic size_t lost;
};

static _Atomic(struct hd_guard *) guards;
static uintptr_t page_bytes;
static struct sigaction before; /* who had SIGBUS */
static int install_error = -1;

/* The guarded range that `at` lies in, or NULL. */
static struct hd_guard *find(uintptr_t at)
{
    for (struct hd_guard *g = atomic_load(&guards); g; g = g->next)
        if (at >= atomic_load(&g->start) && at < atomic_load(&g->end))
            return g;
    return NULL;
}

/* Not ours: as if we were not there. Without a handler the fault comes again, and ends us. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else {
        signal(number, SIG_DFL);
        if (info->si_code <= 0) /* sent by somebody: it does not come again by itself */
            raise(number);
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    uintptr_t page = (uintptr_t)info->si_addr & ~(page_bytes - 1);
    struct hd_guard *g = info->si_code > 0 ? find(page) : NULL;
    void *zeros = MAP_FAILED;
    if (g)
        zeros = mmap((void *)page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                     -1, 0);
    if (zeros == MAP_FAILED)
        pass_on(number, info, context);
    else
        atomic_fetch_add(&g->lost, 1);
    errno = saved;
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    install_error = sigaction(SIGBUS, &action, &before);
}

/* An entry that nobody uses, or a new one. */
static struct hd_guard *take_entry(void)
{
    for (struct hd_guard *g = atomic_load(&guards); g; g = g->next) {
        bool unused = false;
        if (atomic_compare_exchange_strong(&g->used, &unused, true))
            return g;
    }
    struct hd_guard *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    atomic_store(&g->used, true);
    g->next = atomic_load(&guards);
    while (!atomic_compare_exchange_weak(&guards, &g->next, g))
        ;
    return g;
}

struct hd_guard *hd_guard_add(const void *start, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    struct hd_guard *g = install_error == 0 ? take_entry() : NULL;
    if (!g)
        return NULL;
    atomic_store(&g->lost, 0);
    atomic_store(&g->start, (uintptr_t)start);
    atomic_store(&g->end, (uintptr_t)start + len); /* last: it makes the range valid */
    return g;
}

void hd_guard_remove(struct hd_guard *g)
{
    if (!g)
        return;
    atomic_store(&g->end, 0);
    atomic_store(&g->used, false);
}

size_t hd_guard_lost(const struct hd_guard *g)
{
    return atomic_load(&g->lost);
}
