/* kernels.h - the arithmetic of hydac: everything whose bits the four promises rest on.
 *
 * The rule of this folder: **a row's result is a function of that row alone**. Every output
 * element has one accumulation order, the same for 1 row and for 512, for every instruction set
 * (portable C, AVX2, AVX-512, AMX, NEON) and for any number of threads. Multiply-adds are fused
 * (one rounding) in every variant. Where a sum is spread over lanes it is over 16 virtual lanes
 * (element i goes to lane i % 16, in ascending order), folded 8+8, 4+4, 2+2, 1+1.
 *
 * Kernels know no layers, heads, sequences or sockets; they take a range of outputs so that the
 * caller can spread the work over threads. None allocates, none keeps state. */
#ifndef HD_MATH_KERNELS_H
#define HD_MATH_KERNELS_H

#include "common/math/tensor.h"
#include "common/util/error.h"

#define HD_GROUP 16 /* outputs that one packed group holds side by side: one 512-bit vector */

/* Which variant of the kernels runs. Chosen once from the CPU; tests choose each in turn. AMX is
 * AVX-512 with products of many rows in AMX' tiles; NEON means with the dot product instructions
 * (Armv8.2). */
enum hd_isa { HD_ISA_PORTABLE, HD_ISA_AVX2, HD_ISA_AVX512, HD_ISA_AMX, HD_ISA_NEON };
enum hd_isa hd_isa_best(void);
bool hd_isa_supported(enum hd_isa isa);
const char *hd_isa_name(enum hd_isa isa);

struct hd_kernels; /* the table of one variant, internal layout in kernels_impl.h */
/* NULL when this host cannot run the variant. */
const struct hd_kernels *hd_kernels_get(enum hd_isa isa);

/* ---- Weights -------------------------------------------------------------------------------
 * A matrix [outputs][inputs] packed for the kernels: 16 outputs interleaved, input by input, so
 * that a lane is an output and no horizontal sum is needed. Quantized types stay quantized (their
 * values are widened to f32 in registers or in a small L1 scratch: value = the same f32 that
 * hd_dequant gives). The last group is padded with zeros. */
struct hd_weights {
    enum hd_dtype type; /* of the source; the packed form may be wider (e.g. Q5_1 as 8-bit) */
    size_t outputs;     /* true number of outputs */
    size_t inputs;
    size_t groups;      /* ceil(outputs / HD_GROUP) */
    size_t group_bytes; /* bytes from one group to the next */
    uint8_t *data;      /* owned, 64-byte aligned */
};

/* Pack rows [row0, row0 + n_rows) and columns [col0, col0 + n_cols) of `t`. Columns must begin
 * and end on the type's block. `row_map` (may be NULL) permutes: packed output i is row
 * row_map[i] of the tensor (then row0 is ignored). Returns 0, HD_E_NOMEM, HD_E_RANGE or
 * HD_E_UNSUPPORTED; on failure *w is zeroed. */
struct hd_slice {
    size_t row0, n_rows;
    size_t col0, n_cols;
    const uint32_t *row_map; /* n_rows entries or NULL */
};
int hd_weights_init(struct hd_weights *w, const struct hd_tensor *t, const struct hd_slice *s);
void hd_weights_deinit(struct hd_weights *w);
/* Bytes that hd_weights_init would allocate. */
size_t hd_weights_bytes(const struct hd_tensor *t, const struct hd_slice *s);

/* y[r][o] = sum over i ascending of w[o][i] * x[r][i] (one fused multiply-add chain an output,
 * starting from 0), for the groups [g0, g1) and `rows` rows. x: [rows][x_stride], y:
 * [rows][y_stride]; element o of a row lies at y[r * y_stride + o - y_first] with y_first =
 * g0 * 16, i.e. `y` points at the first output of group g0. Only true outputs are written. */
struct hd_matmul_args {
    const struct hd_weights *w;
    size_t g0, g1;
    const float *x;
    size_t x_stride; /* floats */
    float *y;
    size_t y_stride; /* floats */
    size_t rows;
};
void hd_matmul(const struct hd_kernels *k, const struct hd_matmul_args *a);

/* ---- Element-wise --------------------------------------------------------------------------*/
/* out[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)), own exp. */
void hd_silu_mul(const struct hd_kernels *k, const float *gate, const float *up, float *out,
                 size_t n);
/* out[i] = gelu(gate[i]) * up[i], gelu(x) = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
 * (Hendrycks & Gimpel 2016). */
void hd_gelu_mul(const struct hd_kernels *k, const float *gate, const float *up, float *out,
                 size_t n);
/* out[i] = (u + 1) g / (1 + exp(-alpha g)), g = gate[i] up to `limit`, u = up[i] within +-limit:
 * the clamped SwiGLU of gpt-oss. */
struct hd_clamp {
    float alpha, limit;
};
void hd_clamped_mul(const struct hd_kernels *k, const float *gate, const float *up,
                    struct hd_clamp c, float *out, size_t n);
/* x[i] = cap * tanh(x[i] / cap), own exp; cap > 0. */
void hd_soft_cap(const struct hd_kernels *k, float *x, float cap, size_t n);
/* Root-mean-square norm (Zhang & Sennrich 2019, eq. 4): out = x / sqrt(mean(x^2) + eps) * weight.
 * n a multiple of 1; 16 virtual lanes for the sum. */
void hd_rms_norm(const struct hd_kernels *k, const float *x, const float *weight, float eps,
                 float *out, size_t n);
/* Sum of squares over 16 virtual lanes. */
float hd_sum_squares(const struct hd_kernels *k, const float *x, size_t n);
/* log(sum(exp(x[i]))) over n values: maximum first, then 16 virtual lanes. */
float hd_log_sum_exp(const struct hd_kernels *k, const float *x, size_t n);
/* Own exp (Cody-Waite + polynomial, relative error <= 2e-7; exp(-inf) = 0, saturates to inf). */
float hd_exp(const struct hd_kernels *k, float x);

/* ---- RoPE ----------------------------------------------------------------------------------
 * Rotates in place the pairs (2i, 2i+1) ("interleaved", Meta and GGUF order) of a head vector
 * v[head_dim] by the angles whose cosines and sines are given: cs[head_dim/2][2] = {cos, sin}.
 * (Su et al. 2021, eq. 34.) Models in rotate-half order are permuted to this one when packed. */
void hd_rope(const struct hd_kernels *k, float *v, size_t head_dim, const float *cs);

/* ---- Attention -----------------------------------------------------------------------------
 * Query rows at consecutive positions of one sequence, the n_rep query heads that share one KV
 * head: row r sees the positions 0 .. n_pos + r - 1. A block of K and V is read once for several
 * rows; a row's bits are those of a call for it alone. Online softmax over blocks of HD_ATTN_BLOCK
 * positions from position 0 (Milakov & Gimelshein 2018, alg. 3; FlashAttention), anew in each
 * segment of HD_ATTN_SEGMENT positions, whose sums are folded in their order; K and V in f16 or
 * f32, head_dim up to 8,192. q: [rows][n_rep][head_dim] f32 (RoPE applied), out: likewise. */
#define HD_ATTN_BLOCK   64
#define HD_ATTN_SEGMENT 256 /* positions: a multiple of HD_ATTN_BLOCK */
enum hd_kv_type { HD_KV_F16, HD_KV_F32 };
struct hd_attention_args {
    const float *q;
    size_t rows, n_rep, head_dim;
    size_t q_stride, out_stride; /* floats from one row to the next */
    float scale;                 /* of a score, as a rule 1 / sqrt(head_dim) */
    float cap;                   /* a scaled score is capped (hd_soft_cap); 0: as it is */
    size_t window;               /* a row sees the last so many of its positions; 0: all */
    const float *sinks; /* [n_rep]: a score more in each query head's softmax, with no value; NULL:
                         * none */
    enum hd_kv_type kv_type;
    /* K and V of positions [b * HD_ATTN_BLOCK, ...) lie at k_blocks[b], v_blocks[b]:
     * [HD_ATTN_BLOCK][head_dim] elements of kv_type. */
    const void *const *k_blocks;
    const void *const *v_blocks;
    size_t n_pos; /* of the first row */
    float *out;
};
void hd_attention(const struct hd_kernels *k, const struct hd_attention_args *a);
/* The same of one row (rows = 1), by several threads: each segment that it sees, from
 * hd_attention_first to hd_attention_end, gives a part, [n_rep][hd_attention_part_floats]; folded
 * in their order they are a->out, bit for bit. */
static inline size_t hd_attention_first(const struct hd_attention_args *a)
{
    return a->window > 0 && a->n_pos > a->window ? (a->n_pos - a->window) / HD_ATTN_SEGMENT : 0;
}
static inline size_t hd_attention_end(const struct hd_attention_args *a)
{
    return (a->n_pos + HD_ATTN_SEGMENT - 1) / HD_ATTN_SEGMENT;
}
static inline size_t hd_attention_part_floats(size_t head_dim) /* values, maximum, sum */
{
    return (head_dim + 2 + 15) / 16 * 16;
}
void hd_attention_part(const struct hd_kernels *k, const struct hd_attention_args *a,
                       size_t segment, float *part);
/* parts: [n][n_rep][hd_attention_part_floats]. */
void hd_attention_fold(const struct hd_kernels *k, const struct hd_attention_args *a, size_t n,
                       float *parts);
/* f32 -> K/V storage type, n elements, round to nearest even. */
void hd_kv_store(const struct hd_kernels *k, enum hd_kv_type type, const float *in, void *out,
                 size_t n);

/* ---- Fixed point ---------------------------------------------------------------------------
 * Partial sums travel as integers so that their order cannot matter: fixed = round(x * 2^shift),
 * to nearest even, in 64 bits; a sum of units is a sum of integers. |shift| <= 1022. */
/* acc[i] += round(x[i] * 2^shift). Returns 0, or HD_E_NUMERIC when an x is not finite or
 * |x * 2^shift| >= 2^62 / 4096 (acc is then undefined): never wraps for up to 4096 units. */
int hd_fixed_add(const struct hd_kernels *k, int64_t *acc, const float *x, int shift, size_t n);
/* True when all n values fit 32 bits; then out32[i] = acc[i]. On false out32 is undefined. */
bool hd_fixed_narrow(const struct hd_kernels *k, const int64_t *acc, int32_t *out32, size_t n);
/* acc[i] += in32[i] */
void hd_fixed_sum32(const struct hd_kernels *k, int64_t *acc, const int32_t *in32, size_t n);
/* residual[i] += acc[i] * 2^-shift: product and sum in double, then one rounding to f32. */
void hd_fixed_apply(const struct hd_kernels *k, float *residual, const int64_t *acc, int shift,
                    size_t n);

#endif
