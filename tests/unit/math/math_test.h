/* math_test.h - what the tests of common/math share. */
#ifndef HD_TESTS_MATH_TEST_H
#define HD_TESTS_MATH_TEST_H

#include "random_input.h"

#include <criterion/criterion.h>

/* Bit for bit, so that -0 is not 0 and a NaN is itself. */
static inline bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

#endif
