/* cpus.h - how many CPUs this process may keep busy. */
#ifndef HD_UTIL_CPUS_H
#define HD_UTIL_CPUS_H

/* At least 1: the CPUs of its affinity mask (taskset, CPUAffinity=, a cpuset), or fewer where a
 * control group limits its time (CPUQuota=, docker run --cpus), a part of one rounded up. */
unsigned hd_cpus(void);

/* The limit alone, of version 2 of control groups: the lowest of cpu.max in the group that `self`
 * (as /proc/self/cgroup) names and in those above it, in the tree at `root`. 0: none. */
unsigned hd_cpus_of_group(const char *root, const char *self);

#endif
