/* memory.c - the machine's memory, or what the control groups leave of it. */
#include "common/util/memory.h"

#include "common/util/cgroup.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* Bytes, or "max". */
static uint64_t read_limit(const char *path)
{
    uint64_t bytes = 0;
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%" SCNu64, &bytes) != 1)
        bytes = 0;
    if (f)
        fclose(f);
    return bytes;
}

uint64_t hd_memory_of_group(const char *root, const char *self)
{
    struct hd_cgroup_limit l = {root, self, "memory.max", read_limit};
    return hd_cgroup_lowest(&l);
}

uint64_t hd_memory(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t limit = hd_memory_of_group(HD_CGROUP_ROOT, HD_CGROUP_SELF);
    return limit > 0 && limit < all ? limit : all;
}
