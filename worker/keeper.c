#include "worker/keeper.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STACK_BYTES 16384

/* Shares its memory with the worker, errno and all: nothing but system calls that cannot fail, with
 * every signal blocked (SIGKILL cannot be). */
static int keep(void *arg)
{
    const pid_t *worker = arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "hydac-keeper");
    if (getppid() != *worker) /* gone before the line above */
        return 0;
    for (;;)
        pause();
}

int hd_keeper_start(void)
{
    static _Alignas(64) char stack[STACK_BYTES]; /* one keeper to a process, for all its life */
    static pid_t worker;
    sigset_t all, before;
    worker = getpid();
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    int pid = clone(keep, stack + sizeof stack, CLONE_VM, &worker);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? -1 : 0;
}
