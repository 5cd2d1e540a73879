/* self_test.c - self_test SEED: the answer that every worker must give, for workers of Python. */
#include "common/math/self_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct hd_self_test t;
    if (argc != 2)
        return 2;
    uint64_t seed = strtoull(argv[1], NULL, 10);
    if (hd_kernels_self_test(hd_kernels_get(hd_isa_best()), seed, NULL, &t) < 0)
        return 1;
    printf("%" PRIu64 "\n", t.digest);
    return 0;
}
