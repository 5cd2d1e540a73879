/* state_dir.c - systemd's folder, the user's, or the system's, in this order. */
#include "common/util/state_dir.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* `base` up to `stop`, and `tail` behind it; false when it is not an absolute path that fits. */
static bool join(char *path, size_t size, const char *base, const char *stop, const char *tail)
{
    if (!base || base[0] != '/')
        return false;
    int n = snprintf(path, size, "%.*s%s", (int)strcspn(base, stop), base, tail);
    return n > 0 && (size_t)n < size;
}

void hd_state_dir_default(char *path, size_t size)
{
    if (join(path, size, getenv("STATE_DIRECTORY"), ":", "") ||
        join(path, size, getenv("XDG_STATE_HOME"), "", "/hydac") ||
        join(path, size, getenv("HOME"), "", "/.local/state/hydac"))
        return;
    snprintf(path, size, "/var/lib/hydac");
}

int hd_state_dir_make(const char *path, struct hd_error *err)
{
    char *part = strdup(path);
    if (!part)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    for (char *slash = part + (*part != 0); (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(part, 0700); /* what went wrong shows at the last one */
        *slash = '/';
    }
    int rc = 0;
    if (mkdir(part, 0700) != 0 && errno != EEXIST)
        rc = hd_fail(err, HD_E_IO, "cannot make the state folder %s: %s", path, strerror(errno));
    else if (access(part, R_OK | W_OK | X_OK) != 0)
        rc = hd_fail(err, HD_E_IO, "cannot use the state folder %s: %s", path, strerror(errno));
    free(part);
    return rc;
}
