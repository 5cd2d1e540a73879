/* The keeper holds the memory until the last thread of its process is gone, whichever that is. */
#include "worker/keeper.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGKILL_BIT (UINT64_C(1) << (SIGKILL - 1))

/* A process with a keeper, whose main thread is told to end before its other one. */
struct process {
    int pid, keeper;
    int go[2];  /* a byte ends the main thread, the end of it the other */
    int say[2]; /* it says the keeper's number */
};

static void *stay(void *arg)
{
    struct process *p = arg;
    char byte;
    while (read(p->go[0], &byte, 1) > 0)
        ;
    _exit(0);
}

static void run(struct process *p)
{
    pthread_t other;
    char byte;
    close(p->go[1]); /* the keeper would hold it */
    int keeper = hd_keeper_start();
    if (write(p->say[1], &keeper, sizeof keeper) != sizeof keeper ||
        read(p->go[0], &byte, 1) != 1 || pthread_create(&other, NULL, stay, p) != 0)
        _exit(1);
    pthread_exit(NULL);
}

static void start(struct process *p)
{
    cr_assert_eq(pipe(p->go), 0);
    cr_assert_eq(pipe(p->say), 0);
    p->pid = fork();
    cr_assert_geq(p->pid, 0);
    if (p->pid == 0)
        run(p);
    close(p->go[0]);
    cr_assert_eq(read(p->say[0], &p->keeper, sizeof p->keeper), sizeof p->keeper);
}

/* State letter of a process ('X': gone), and the signals that wait for it. */
static char state_of(int pid, uint64_t *pending)
{
    char path[64], line[256], state = 'X';
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    *pending = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        sscanf(line, "State: %c", &state);
        sscanf(line, "SigPnd: %" SCNx64, pending);
    }
    if (f)
        fclose(f);
    return state;
}

static bool is_gone(int pid)
{
    uint64_t pending;
    char state = state_of(pid, &pending);
    return state == 'X' || state == 'Z';
}

static void until_gone(int pid)
{
    while (!is_gone(pid))
        poll(NULL, 0, 1);
}

Test(keeper, outlives_the_main_thread_and_goes_with_the_last, .timeout = 60)
{
    struct process p;
    uint64_t pending;
    start(&p);
    cr_assert_gt(p.keeper, 0);
    cr_assert_eq(write(p.go[1], "", 1), 1);
    until_gone(p.pid); /* a zombie: its main thread has ended, not all of it */
    cr_expect_eq(waitpid(p.pid, NULL, WNOHANG), 0);
    char state = state_of(p.keeper, &pending);
    cr_expect(state != 'X' && state != 'Z', "the keeper is gone with the main thread");
    cr_expect_eq(pending & SIGKILL_BIT, 0, "the keeper was killed with the main thread");
    close(p.go[1]);
    cr_expect_eq(waitpid(p.pid, NULL, 0), p.pid);
    until_gone(p.keeper);
}

Test(keeper, goes_with_a_killed_process, .timeout = 60)
{
    struct process p;
    start(&p);
    cr_assert_not(is_gone(p.keeper));
    kill(p.pid, SIGKILL);
    cr_expect_eq(waitpid(p.pid, NULL, 0), p.pid);
    until_gone(p.keeper);
}
