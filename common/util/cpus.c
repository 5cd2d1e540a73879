/* cpus.c - the process's affinity, cut to what the control groups' quota amounts to. */
#include "common/util/cpus.h"

#include "common/util/cgroup.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>

/* "QUOTA PERIOD", or "max PERIOD". */
static uint64_t read_limit(const char *path)
{
    unsigned long quota, period;
    FILE *f = fopen(path, "re");
    int n = f ? fscanf(f, "%lu %lu", &quota, &period) : 0;
    if (f)
        fclose(f);
    if (n != 2 || quota == 0 || period == 0 || quota > UINT_MAX / 2 * period)
        return 0;
    return (quota + period - 1) / period;
}

unsigned hd_cpus_of_group(const char *root, const char *self)
{
    struct hd_cgroup_limit l = {root, self, "cpu.max", read_limit};
    return (unsigned)hd_cgroup_lowest(&l);
}

unsigned hd_cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    unsigned may = n > 1 ? (unsigned)n : 1;
    unsigned limit = hd_cpus_of_group(HD_CGROUP_ROOT, HD_CGROUP_SELF);
    return limit > 0 && limit < may ? limit : may;
}
