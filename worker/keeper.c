/* keeper.c - a process that shares the memory of the worker and does nothing but wait for its end.
 */
#include "worker/keeper.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES 16384

/* Shares its memory with the worker, errno and all: nothing but system calls that cannot fail, with
 * every signal blocked (SIGKILL cannot be). A death signal would not do: the kernel sends it when
 * main's thread has ended, and it may be the compute thread that has yet to go, which would then
 * take the memory apart before the sockets close. */
static int keep(void *arg)
{
    struct pollfd worker = {.fd = *(const int *)arg, .events = POLLIN};
    prctl(PR_SET_NAME, "hydac-keeper");
    /* Readable once the last thread is gone, and all files with it. */
    syscall(SYS_ppoll, &worker, 1, NULL, NULL, (size_t)0);
    return 0;
}

int hd_keeper_start(void)
{
    static _Alignas(64) char stack[STACK_BYTES]; /* one keeper to a process, for all its life */
    static int worker;                           /* the keeper has a descriptor of its own */
    sigset_t all, before;
    worker = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (worker < 0)
        return -1;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    int pid = clone(keep, stack + sizeof stack, CLONE_VM, &worker);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(worker);
    return pid;
}
