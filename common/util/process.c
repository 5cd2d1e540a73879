/* process.c - standard files that are open, enough descriptors, and an end with the parent. */
#include "common/util/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void hd_open_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", O_RDWR); /* the lowest number that is free: this one */
}

size_t hd_raise_file_limit(size_t most)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 0;
    rlim_t want = r.rlim_max < most ? r.rlim_max : (rlim_t)most;
    struct rlimit more = {.rlim_cur = want, .rlim_max = r.rlim_max};
    if (r.rlim_cur < want && setrlimit(RLIMIT_NOFILE, &more) == 0)
        r = more;
    return r.rlim_cur < SIZE_MAX ? (size_t)r.rlim_cur : SIZE_MAX;
}

int hd_die_with_parent(pid_t parent, struct hd_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return hd_fail(err, HD_E_IO, "--die-with-parent: %s", strerror(errno));
    /* The signal comes when the parent ends from now on; it may have ended just before. */
    if (getppid() != parent)
        return hd_fail(err, HD_E_STATE, "--die-with-parent: the parent has ended");
    return 0;
}
