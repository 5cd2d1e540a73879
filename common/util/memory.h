/* memory.h - how much memory this process may use. */
#ifndef HD_UTIL_MEMORY_H
#define HD_UTIL_MEMORY_H

#include <stdint.h>

/* Bytes: the machine's physical memory, or less where a control group limits it (MemoryMax=, docker
 * run --memory, a pod's limit). */
uint64_t hd_memory(void);

/* The limit alone: the lowest of memory.max, as hd_cgroup_lowest. 0: none. */
uint64_t hd_memory_of_group(const char *root, const char *self);

#endif
