/* compute_impl.h - scratch and helpers shared by the half-steps' files only.
 *
 * Scratch is laid out by slot: the units of a half-step are numbered 0, 1, ... in ascending order
 * and slot s has a plane of its own, [max_rows][width]. */
#ifndef HD_WORKER_CPU_COMPUTE_IMPL_H
#define HD_WORKER_CPU_COMPUTE_IMPL_H

#include "worker/answer.h"
#include "worker/cpu/compute.h"
#include "worker/picks.h"
#include "common/math/product.h"

#define ROW_TILE 64 /* rows of a work item: its inputs and outputs stay in the L2 cache */
#define TILE_GROUPS                                                                                \
    4 /* output groups, HD_GROUP outputs each, of an item with a whole tile of rows */
#define MAX_GROUPS                                                                                 \
    32 /* ... of an item with few: the longer a piece of memory, the faster it is read */
#define LOGITS_TILE 16 /* rows of a work item on a whole vocab block */

/* The rows of a step that a unit computes, in their order. */
struct hd_share {
    size_t n;
    const uint32_t *row; /* [n], ascending; NULL: all, and as they come */
    const float *weight; /* [n]: what a row's output is multiplied with; NULL: nothing */
};

/* What the last product of a unit reads. */
struct unit_input {
    const struct hd_weights *w; /* [dim][inputs] */
    struct hd_operand rows;
    struct hd_share of; /* which rows of the step these are */
};

/* A row of a head whose attention is computed by segments (attend.c). */
struct hd_part_row {
    size_t at;       /* its first part */
    size_t first, n; /* segments */
    unsigned left;   /* of them, to be computed */
};
struct hd_parts {
    struct hd_part_row *row; /* of the half-step in hand, [slots][rows] */
    float *part;             /* [room][n_rep][hd_attention_part_floats] */
    size_t room;
};

struct hd_compute {
    const struct hd_model *model;
    const struct hd_kernels *kernels;
    struct hd_team *team;
    struct hd_units units;
    enum hd_kv_type kv_type;
    enum hd_wire wire;
    struct hd_rope_table rope;
    size_t n_rep; /* query heads of a KV head */
    size_t threads;
    size_t max_rows;
    size_t row_bytes;   /* of the inputs */
    size_t sum_bytes;   /* of sums that are not wide */
    bool q8;            /* inputs are Q8 rows, and products of quantized weights are in integers */
    uint8_t *inputs;    /* q8: [max_rows][hd_q8_prepared_bytes(dim)], those of the step in hand */
    float *q;           /* [heads][max_rows][n_rep * head_dim] */
    float *k, *v;       /* [heads][max_rows][head_dim] */
    float *attended;    /* [heads][max_rows][n_rep * head_dim] */
    size_t hidden_rows; /* rows of blocks in a half-step, at most */
    float *hidden;      /* [hidden_rows][ffn_width] */
    uint8_t *attended_q8;  /* q8: attended, each row prepared for products */
    uint8_t *hidden_q8;    /* q8: hidden likewise */
    int64_t *sum;          /* [max_rows][dim] */
    int32_t *narrow;       /* [max_rows][dim], before it becomes compact; NULL: it does not */
    uint8_t *is_bad;       /* [max_rows] */
    uint8_t *is_wide;      /* [max_rows] */
    uint32_t *bad, *wide;  /* [max_rows]: row numbers */
    struct hd_picks picks; /* empty without experts, of which ... */
    uint8_t *picked;       /* ... these are the rows' inputs, side by side as products take them */
    struct hd_parts parts;
    struct ffn_unit *blocks; /* [ffn_blocks]: of the half-step in hand */
    size_t *offset;          /* [max_rows]: where a row of logits begins in the payload */
    struct unit_input *unit; /* [units of a half-step]: of the sum in hand */
    float *thread_scratch;   /* [threads][scratch_floats] */
    size_t scratch_floats;
};

/* The values of a vector that is packed as a matrix of one column. */
static inline const float *hd_vector_of(const struct hd_weights *w)
{
    return (const float *)(const void *)w->data;
}

static inline void hd_add_vector(float *v, const float *with, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] += with[i];
}

/* The halves, one in each file; as hd_compute_half. */
int hd_compute_attention(struct hd_compute *c, const struct hd_half_task *work,
                         struct hd_half_output *out, struct hd_error *err);
int hd_compute_ffn(struct hd_compute *c, const struct hd_half_task *work,
                   struct hd_half_output *out, struct hd_error *err);
int hd_compute_logits(struct hd_compute *c, const struct hd_half_task *work,
                      struct hd_half_output *out, struct hd_error *err);

/* A block that some row of the FFN half in hand wants. */
struct ffn_unit {
    const struct hd_ffn_weights *w;
    struct hd_share of;
    size_t input;  /* its first row of the inputs */
    size_t hidden; /* its first row of hidden */
};
/* picks.c: the inputs of rows by expert; without experts those of the step. Bytes of a row as
 * products take it. */
size_t hd_operand_bytes(const struct hd_compute *c);
bool hd_picked_init(struct hd_compute *c);
void hd_picked_deinit(struct hd_compute *c);
struct hd_operand hd_picked_take(struct hd_compute *c, const struct hd_rows *rows);
/* Which rows an expert computes, and where the first of them is in the inputs. */
struct hd_share hd_picked_of(const struct hd_compute *c, const struct hd_rows *rows,
                             uint32_t expert, size_t *input);

/* attend.c */
bool hd_parts_init(struct hd_compute *c);
void hd_parts_deinit(struct hd_compute *c);

/* How a product over some units is cut into work items: index = (unit * parts + part) * tiles +
 * tile. A part is up to `per` output groups, a tile up to `tile_rows` rows. */
struct split {
    size_t units, parts, tiles, per, tile_rows, rows;
};
struct split hd_split(const struct hd_compute *c, size_t units, size_t groups, size_t rows);
struct split_item {
    size_t unit;
    size_t stride; /* of its outputs in scratch: `per` groups */
    struct hd_range at;
};
struct split_item hd_split_item(const struct split *s, size_t index);
static inline size_t hd_split_items(const struct split *s)
{
    return s->units * s->parts * s->tiles;
}

static inline float *hd_scratch(const struct hd_compute *c, unsigned thread)
{
    return c->thread_scratch + thread * c->scratch_floats;
}

/* Products with these weights are made in integers. */
static inline bool hd_takes_q8(const struct hd_compute *c, const struct hd_weights *w)
{
    return c->q8 && hd_weights_are_quantized(w);
}

/* The step's inputs, ready for products. */
struct hd_operand hd_inputs(struct hd_compute *c, const struct hd_rows *rows);

/* The second half of both halves: sums the units' products W [dim][inputs] * in over the units.
 * in(r, slot) gives a unit's inputs. Then fills `out`. */
struct reduction {
    struct hd_compute *c;
    const struct hd_half_task *work;
    size_t units;
    struct unit_input (*in)(const struct reduction *r, size_t slot);
    struct split split;
    struct hd_shared *answer; /* [rows][sum_bytes] */
};
int hd_reduce(struct reduction *r, struct hd_half_output *out, struct hd_error *err);

/* Multiply-adds x 2 of W [outputs][inputs] times so many rows. */
uint64_t hd_product_flops(const struct hd_weights *w, size_t rows);

#endif
