/* dequant.h - what the gguf package makes of seeded blocks: by tests/fixtures/dequant.py. */
#ifndef HD_TESTS_DEQUANT_H
#define HD_TESTS_DEQUANT_H

#include "common/math/tensor.h"

#define DEQUANT_BLOCKS 64
#define DEQUANT_SEED   17

static const struct {
    enum hd_dtype type;
    int half[2]; /* -1: none */
    uint64_t digest;
} dequant_values[] = {
    {HD_Q4_0, {1, -1}, 0x8a6371214ec0eced},    {HD_Q4_1, {1, 3}, 0xfdf606064bd56d48},
    {HD_Q5_0, {1, -1}, 0x13c72a50a184a20b},    {HD_Q5_1, {1, 3}, 0x927d1916c01df9f3},
    {HD_Q8_0, {1, -1}, 0x34e0b7022202d743},    {HD_Q2_K, {81, 83}, 0x31b610f71071e35e},
    {HD_Q3_K, {109, -1}, 0x64c16827204717be},  {HD_Q4_K, {1, 3}, 0xa3a3529e299b455f},
    {HD_Q5_K, {1, 3}, 0x1b5c726b9d2663c2},     {HD_Q6_K, {209, -1}, 0x0c6fea9611c64204},
    {HD_IQ2_XXS, {1, -1}, 0xdbe1b7129793e745}, {HD_IQ2_XS, {1, -1}, 0x5fa91a505b67a569},
    {HD_IQ3_XXS, {1, -1}, 0x4f7c0c3317ffdd0a}, {HD_IQ1_S, {1, -1}, 0xf8e9efe5c2925737},
    {HD_IQ4_NL, {1, -1}, 0x707405126d73a40b},  {HD_IQ3_S, {1, -1}, 0x2769182ffff08f73},
    {HD_IQ2_S, {1, -1}, 0x9c637284de12859b},   {HD_IQ4_XS, {1, -1}, 0x3d5370973046d1e7},
    {HD_IQ1_M, {55, -1}, 0xe3b645eead4802f5},  {HD_TQ1_0, {53, -1}, 0x2aab2f04e69fc6d8},
    {HD_TQ2_0, {65, -1}, 0xc66d1d8e67b43774},  {HD_MXFP4, {-1, -1}, 0x64f2e9c8d4d1d824},
    {HD_NVFP4, {-1, -1}, 0xb1ccbfdd8fde47b6},  {HD_Q1_0, {1, -1}, 0x5a565ea290a67ea5},
};

#endif
