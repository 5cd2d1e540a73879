#include "common/util/state_dir.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
