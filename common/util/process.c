#include "common/util/process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int hd_die_with_parent(pid_t parent, struct hd_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return hd_fail(err, HD_E_IO, "--die-with-parent: %s", strerror(errno));
    /* The signal comes when the parent ends from now on; it may have ended just before. */
    if (getppid() != parent)
        return hd_fail(err, HD_E_STATE, "--die-with-parent: the parent has ended");
    return 0;
}
