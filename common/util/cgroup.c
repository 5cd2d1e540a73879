/* cgroup.c - walks from our own group up to the root and keeps the smallest value. */
#include "common/util/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The group of this process: what is behind "0::", "" for the root. */
static bool read_group(const char *self, char *path, size_t size)
{
    char line[PATH_MAX];
    bool found = false;
    FILE *f = fopen(self, "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        found = strncmp(line, "0::/", 4) == 0 && strlen(line + 3) < size;
        if (found)
            strcpy(path, line[4] ? line + 3 : "");
    }
    if (f)
        fclose(f);
    return found;
}

uint64_t hd_cgroup_lowest(const struct hd_cgroup_limit *l)
{
    char group[PATH_MAX];
    uint64_t lowest = 0;
    if (!read_group(l->self, group, sizeof group))
        return 0;
    for (char *end = group + strlen(group); end; end = end > group ? strrchr(group, '/') : NULL) {
        char path[2 * PATH_MAX + 64];
        *end = '\0';
        snprintf(path, sizeof path, "%s%s/%s", l->root, group, l->file);
        uint64_t n = l->read(path);
        if (n > 0 && (lowest == 0 || n < lowest))
            lowest = n;
    }
    return lowest;
}
