#include "common/util/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Linux, Documentation/admin-guide/cgroup-v2.rst: "QUOTA PERIOD", or "max PERIOD". */
static unsigned read_limit(const char *path)
{
    unsigned long quota, period;
    FILE *f = fopen(path, "re");
    int n = f ? fscanf(f, "%lu %lu", &quota, &period) : 0;
    if (f)
        fclose(f);
    if (n != 2 || quota == 0 || period == 0 || quota > UINT_MAX / 2 * period)
        return 0;
    return (unsigned)((quota + period - 1) / period);
}

/* The group of this process: what is behind "0::", "" for the root. */
static int read_group(const char *self, char *path, size_t size)
{
    char line[PATH_MAX];
    int found = 0;
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

unsigned hd_cpus_of_group(const char *root, const char *self)
{
    char group[PATH_MAX];
    unsigned lowest = 0;
    if (!read_group(self, group, sizeof group))
        return 0;
    for (char *end = group + strlen(group); end; end = end > group ? strrchr(group, '/') : NULL) {
        char path[2 * PATH_MAX];
        *end = '\0';
        snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
        unsigned n = read_limit(path);
        if (n > 0 && (lowest == 0 || n < lowest))
            lowest = n;
    }
    return lowest;
}

unsigned hd_cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    unsigned may = n > 1 ? (unsigned)n : 1;
    unsigned limit = hd_cpus_of_group("/sys/fs/cgroup", "/proc/self/cgroup");
    return limit > 0 && limit < may ? limit : may;
}
