/* tensor.h - a read-only matrix as it lies in a model file: a type, a shape, bytes.
 *
 * Row-major, [rows][cols]; each row is `row_bytes` long and starts on a block boundary of its
 * type. Types carry GGML's numbers, so that a GGUF file's value is used as it is. Block layouts:
 * ggml's block_q4_0 ... block_nvfp4 (ggml-common.h of llama.cpp). Little-endian hosts only. */
#ifndef HD_MATH_TENSOR_H
#define HD_MATH_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hd_dtype {
    HD_F32 = 0,
    HD_F16 = 1,
    HD_Q4_0 = 2,
    HD_Q4_1 = 3,
    HD_Q5_0 = 6,
    HD_Q5_1 = 7,
    HD_Q8_0 = 8,
    HD_Q2_K = 10,
    HD_Q3_K = 11,
    HD_Q4_K = 12,
    HD_Q5_K = 13,
    HD_Q6_K = 14,
    HD_IQ2_XXS = 16,
    HD_IQ2_XS = 17,
    HD_IQ3_XXS = 18,
    HD_IQ1_S = 19,
    HD_IQ4_NL = 20,
    HD_IQ3_S = 21,
    HD_IQ2_S = 22,
    HD_IQ4_XS = 23,
    HD_IQ1_M = 29,
    HD_BF16 = 30,
    HD_TQ1_0 = 34,
    HD_TQ2_0 = 35,
    HD_MXFP4 = 39,
    HD_NVFP4 = 40,
    HD_Q1_0 = 41,
    HD_F8_E4M3 =
        62, /* ours, no number of GGML's: 32 values of a folder's FP8 behind their f32 scale */
    HD_DTYPES = 64, /* more than any number above */
};

/* How values lie that are not rows of blocks: only who copies a piece (common/model/piece.h) reads
 * them, everybody else has rows. */
enum hd_layout {
    HD_LAYOUT_ROWS,
    HD_LAYOUT_COLUMNS, /* floats, column by column: (r, c) at data + c * row_bytes + r * step */
    HD_LAYOUT_APART,   /* MXFP4, as 16 bytes a block in data, pairs of neighbours, and its scale in
                        * `apart`, whose rows are `step` bytes apart */
    HD_LAYOUT_SPLIT,   /* equal parts of rows of floats in `split` */
    HD_LAYOUT_F8, /* a byte a value, row by row, and scales of rectangles of them in `apart`: of
                   * HD_F8_E4M3, or of HD_F32 where rows are not whole blocks of that */
};

/* A matrix that lies in several files, one behind the other by rows, or side by side. */
struct hd_split {
    size_t n;
    bool columns; /* each has 1/n of every row; else 1/n of the rows */
    const uint8_t *data[];
};

/* What is said of FP8 in safetensors besides its bytes. */
struct hd_f8_source {
    enum { HD_F8_SCALE_F32, HD_F8_SCALE_F16, HD_F8_SCALE_BF16, HD_F8_SCALE_E8M0 } scale_type;
    bool e5m2;         /* E5M2 instead of E4M3 (without infinities) */
    size_t rows, cols; /* values that share a scale; `apart` NULL: all are as they are */
    size_t row0;       /* the scales' number of this tensor's first row */
};

struct hd_tensor {
    enum hd_dtype type;
    size_t rows;         /* outputs (ne[1] of GGUF; 1 for a vector) */
    size_t cols;         /* inputs  (ne[0] of GGUF) */
    size_t row_bytes;    /* bytes from one row to the next */
    const uint8_t *data; /* borrowed from the mapped file */
    enum hd_layout layout;
    const uint8_t *apart;
    size_t step; /* of HD_LAYOUT_F8: bytes from one row of scales to the next */
    struct hd_f8_source f8;
    const struct hd_split *split;
};

/* True for the types listed above. */
bool hd_dtype_known(int type);
/* Those that GGUF files have: all but HD_F8_E4M3. */
bool hd_dtype_is_ggml(int type);
/* "Q4_1"; "?" for an unknown type. */
const char *hd_dtype_name(int type);
/* Values in a block: 1 for F32, F16 and BF16, 32 for Qx_0/1 and F8, 64 for NVFP4, 128 for Q1_0, 256
 * for K and most others. */
size_t hd_dtype_block(enum hd_dtype type);
/* Integers with a scale, which activations of 8 bits are multiplied by; else floats. */
bool hd_dtype_is_quantized(enum hd_dtype type);
/* Bytes of one block. */
size_t hd_dtype_block_bytes(enum hd_dtype type);
/* Bytes of a row of `cols` values. `cols` must be a multiple of the block. */
size_t hd_dtype_row_bytes(enum hd_dtype type, size_t cols);

/* out[n] = the n values from column `col0` of row `row`, as f32. `col0` and `n` must be multiples
 * of the type's block (n may end at the row's end). Formulas: ggml's dequantize_row_*. */
void hd_dequant(const struct hd_tensor *t, size_t row, size_t col0, size_t n, float *out);

/* Quantize `n` f32 values (a multiple of the block) to `out`; for F32, F16, BF16, Q8_0, Q4_0,
 * Q4_1. Rounding as ggml's quantize_row_*_ref. Used to synthesize models, never when serving.
 * Returns 0 or HD_E_UNSUPPORTED for the other types. */
int hd_quant(enum hd_dtype type, const float *in, size_t n, void *out);

/* Blocks [block, block + n) of a row of HD_LAYOUT_F8 as its type has them. One with a NaN in it is
 * all NaN. */
void hd_f8_blocks(const struct hd_tensor *t, size_t row, size_t block, size_t n, uint8_t *out);

/* Bytes [at, at + n) of a row of HD_LAYOUT_SPLIT or HD_LAYOUT_ROWS. */
void hd_tensor_row(const struct hd_tensor *t, size_t row, size_t at, size_t n, uint8_t *out);

/* IEEE conversions, round to nearest even. */
float hd_f16_to_f32(uint16_t h);
uint16_t hd_f32_to_f16(float f);
float hd_bf16_to_f32(uint16_t h);
uint16_t hd_f32_to_bf16(float f);

#endif
