/* seal.h - digests of rows in memory. 32 bits of XXH3: a flip goes unseen once in four billion, and
 * a row of K and V of 256 bytes pays 2 % of memory for it. */
#ifndef HD_WORKER_SEAL_H
#define HD_WORKER_SEAL_H

#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

static inline uint32_t hd_seal(const void *row, size_t bytes)
{
    return (uint32_t)XXH3_64bits(row, bytes);
}

/* Of two rows of the same length. */
static inline uint32_t hd_seal_pair(const void *a, const void *b, size_t bytes)
{
    return (uint32_t)XXH3_64bits_withSeed(b, bytes, XXH3_64bits(a, bytes));
}

#endif
