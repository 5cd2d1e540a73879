/* cgroup.h - the lowest limit of the control groups that this process is in (version 2; Linux,
 * Documentation/admin-guide/cgroup-v2.rst). */
#ifndef HD_UTIL_CGROUP_H
#define HD_UTIL_CGROUP_H

#include <stdint.h>

#define HD_CGROUP_ROOT "/sys/fs/cgroup"
#define HD_CGROUP_SELF "/proc/self/cgroup"

struct hd_cgroup_limit {
    const char *root;                   /* of the tree */
    const char *self;                   /* names the group, as /proc/self/cgroup */
    const char *file;                   /* cpu.max, memory.max */
    uint64_t (*read)(const char *path); /* what the file says; 0: no limit, or no such file */
};
/* In the group and in those above it. 0: there is none. */
uint64_t hd_cgroup_lowest(const struct hd_cgroup_limit *l);

#endif
