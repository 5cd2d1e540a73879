/* impl.h - shared by the files of this folder: the device, its stores, and a half-step's parts. */
#ifndef HD_WORKER_OPENCL_IMPL_H
#define HD_WORKER_OPENCL_IMPL_H

#include "common/math/q8.h"
#include "worker/cpu/rope.h"
#include "worker/device.h"
#include "worker/opencl/program.h"
#include "worker/picks.h"

/* ---- Weights ----*/

struct hd_cl_part {
    enum hd_pack_id form;
    uint32_t groups, group_bytes, outputs, inputs;
    uint64_t at; /* address; HD_CL_NOWHERE: the model has none */
};
#define HD_CL_NOWHERE UINT64_MAX

struct hd_cl_piece {
    uint64_t address, bytes; /* bytes 0: it is not there */
    struct hd_cl_part part[HD_PIECE_MAX_CUTS + 1];
    enum hd_slot_id slot[HD_PIECE_MAX_CUTS + 1];
    unsigned n;
};

struct hd_cl_weights {
    struct hd_device_weights base;
    struct hd_cl_heap heap;
    struct hd_cl_piece *piece;    /* by piece.h's numbers */
    size_t first[HD_UNIT_KINDS];  /* piece.h's number of the first of a kind ... */
    size_t layers[HD_UNIT_KINDS]; /* ... and how many a unit has */
};

static inline const cl_mem *hd_cl_slabs_of(const struct hd_device_weights *w)
{
    return ((const struct hd_cl_weights *)(const void *)w)->heap.slabs.slab;
}
int hd_cl_weights_new(struct hd_device *d, struct hd_device_weights **out);
void hd_cl_weights_free(struct hd_device_weights *w);
int hd_cl_load(struct hd_device_weights *w, struct hd_piece_at at, const uint8_t *bytes);
void hd_cl_release_piece(struct hd_device_weights *w, struct hd_piece_at at);
uint64_t hd_cl_piece_bytes(const struct hd_device_weights *w, struct hd_piece_at at);
size_t hd_cl_walk(const struct hd_device_weights *w, struct hd_piece_at at,
                  struct hd_piece_walk *walk);
/* Of a piece that is there; `at` of a part is NOWHERE where the model has no such slot. */
struct hd_cl_part hd_cl_part_of(const struct hd_device_weights *w, struct hd_piece_at at,
                                enum hd_slot_id slot);

/* ---- K/V ----*/

struct hd_device_lane {
    uint32_t *block; /* [blocks], room for `cap` */
    uint32_t first;  /* blocks before it are the parent's */
    uint32_t blocks, cap;
};

struct hd_cl_kv {
    struct hd_device_kv base;
    size_t row_bytes;
    struct hd_cl_pool pool;
    struct hd_device_lane **lane; /* [sequences][layers][heads]: NULL or reserved */
    struct hd_cl_share {
        uint32_t parent, blocks; /* blocks 0: all are its own */
    } * shares;                  /* [sequences] */
};

static inline struct hd_cl_kv *hd_cl_kv(const struct hd_device_kv *kv)
{
    return (struct hd_cl_kv *)(void *)(uintptr_t)kv;
}
int hd_cl_kv_new(struct hd_device *d, struct hd_device_kv **out);
void hd_cl_kv_free(struct hd_device_kv *kv);
int hd_cl_kv_reserve(struct hd_device_kv *kv, struct hd_kv_at at, uint32_t positions,
                     uint64_t *bytes);
void hd_cl_kv_share(struct hd_device_kv *kv, uint32_t sequence, uint32_t parent, uint32_t shared);
/* A lane that is reserved, its list complete with the blocks of the sequences that it shares with.
 */
const struct hd_device_lane *hd_cl_kv_whole(const struct hd_device_kv *kv, struct hd_kv_at at);
struct hd_device_lane *hd_cl_kv_lane(const struct hd_device_kv *kv, struct hd_kv_at at);
struct hd_device_lane *hd_cl_kv_detach(struct hd_device_kv *kv, struct hd_kv_at at);
void hd_cl_kv_discard(struct hd_device_kv *kv, struct hd_device_lane *lane);
size_t hd_cl_kv_row_bytes(const struct hd_device_kv *kv);
void hd_cl_kv_read(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t position, void *k,
                   void *v);
uint32_t hd_cl_kv_bad_row(const struct hd_device_kv *kv, const struct hd_device_lane *lane,
                          uint32_t from, uint32_t end);
void hd_cl_kv_digests(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t from,
                      uint32_t end, uint32_t *out);

/* ---- The device ----*/

/* As kernels/common.cl has them. */
struct hd_cl_matrix {
    uint64_t at;
    uint32_t y_stride, unused, groups, group_bytes, outputs, inputs, x, d, y, rows;
};
struct hd_cl_place {
    uint32_t block, position, list, store, set;
    float scale, q_scale, k_scale;
};
struct hd_cl_head {
    uint64_t q_bias, k_bias, v_bias, q_norm, k_norm, q_whole, k_whole, sinks;
};
/* Floats of a head's vectors, side by side. */
static inline size_t hd_cl_vectors(size_t n_rep, size_t head_dim)
{
    return (2 * n_rep + 5) * head_dim + n_rep;
}
struct hd_cl_block {
    uint64_t gate, up;
    uint32_t width, q8, first, rows; /* q8: down takes quants */
};
struct hd_cl_term {
    uint32_t at;
    float weight;
};

#define HD_CL_ROWS       64 /* rows that a work-group may read: what rows are rounded up to */
#define HD_CL_LIST_ITEMS 16 /* of a list of rows, in one launch */
#define HD_CL_IS_FIRST   1  /* `order` of several launches of one sum: kernels/common.cl */
#define HD_CL_IS_LAST    2

/* Sizes of a conversation. Rows of planes lie `stride` apart, those of units one behind another. */
struct hd_cl_shape {
    size_t dim, head_dim, n_rep, width; /* width: n_rep * head_dim */
    size_t heads, ffn_blocks, ffn_width, vocab_blocks, vocab_width;
    size_t row_bytes, sum_bytes; /* as they travel */
    size_t stride;               /* max_rows, rounded up */
    size_t input_rows;           /* room for prepared inputs */
    size_t hidden_rows;          /* of all FFN blocks */
    size_t picked_rows;          /* of experts' inputs; 0: the model has none */
    size_t given_rows;           /* of what units give, at a time, before it is added up */
    size_t logit_rows;           /* of one launch */
    size_t heads_at_once;        /* query heads of a work-group */
    size_t keys_bytes;           /* of a block's K in local memory; 0: it is read where it lies */
    bool q8, f16;
};

/* A block that rows of an FFN half want. */
struct hd_cl_wanted {
    struct hd_piece_at at;
    uint32_t input;       /* its first row of the inputs */
    uint32_t first, rows; /* its rows of hidden */
    const uint32_t *row;  /* with experts: which rows of the step they are ... */
    const float *weight;  /* ... and what each is multiplied with */
};

struct hd_opencl {
    struct hd_device base;
    struct hd_cl *cl;
    struct hd_cl_programs programs;
    struct hd_cl_shape s;
    struct hd_rope_table rope;
    uint32_t angles;  /* positions on the device */
    cl_mem angles_at; /* [room for rope.cap][sets][head_dim] */
    uint32_t angles_cap;
    struct hd_cl_pinned in; /* what a launch reads, built here ... */
    cl_mem in_at;           /* ... and copied there */
    size_t in_used;
    struct hd_cl_pinned out;    /* what it gave */
    cl_mem x_q, x_d;            /* prepared inputs: quants [rows][dim], scales [dim / 32][rows] */
    cl_mem y;                   /* floats between products */
    cl_mem vectors;             /* biases and norms of heads */
    cl_mem y_q, y_d;            /* what the last product reads, quantized */
    cl_mem found;               /* what rows want of logits: kernels/logits.cl */
    cl_mem sum;                 /* int64 [rows][dim] */
    cl_mem result;              /* flags, then what travels */
    cl_mem bad, wide, travels;  /* parts of it */
    cl_mem narrow;              /* int32 [rows][dim]: `travels`, or with compact sums beside it */
    size_t travels_at;          /* bytes: in `result` */
    struct hd_cl_part *part[2]; /* [most matrices of a launch]: while it is planned */
    struct hd_cl_matrix *matrix[2];
    struct hd_cl_wanted *wanted; /* [ffn_blocks]: of the FFN half in hand */
    struct hd_picks picks;       /* and the following: empty without experts */
    uint32_t *input_of;          /* [experts]: where the rows of each begin in ... */
    cl_mem picked, picked_d;     /* ... the inputs [picked_rows][dim], scales as in x_d */
    cl_mem given;                /* floats [given_rows][dim] */
    struct hd_cl_round *rounds;  /* [most_rounds] */
    size_t most_rounds;
    uint32_t *lists; /* [2][max_rows]: of the last answer */
    size_t *offsets; /* [max_rows]: of logits */
    uint8_t *is_bad; /* [2][max_rows] */
};

static inline struct hd_opencl *hd_opencl(struct hd_device *d)
{
    return (struct hd_opencl *)(void *)d;
}

/* scratch.c: buffers of a conversation; what a launch reads. */
int hd_cl_scratch_new(struct hd_opencl *o, struct hd_error *err);
void hd_cl_scratch_free(struct hd_opencl *o);
/* Of what units give: as many as there is room for, at least `least`, at most `most`. */
size_t hd_cl_given_rows(const struct hd_cl_shape *s, size_t least, size_t most);
/* Room for so many bytes of inputs, which begin anew. */
int hd_cl_in_begin(struct hd_opencl *o, size_t bytes, struct hd_error *err);
/* The next `bytes` of them, 64-byte aligned: where on the device, *at there. */
void *hd_cl_in_add(struct hd_opencl *o, size_t bytes, uint32_t *at);
/* Copies them. CL_SUCCESS or the driver's code. */
cl_int hd_cl_in_send(struct hd_opencl *o);
/* Angles of positions 0 .. positions-1 on the device. */
int hd_cl_angles(struct hd_opencl *o, uint32_t positions, struct hd_error *err);

/* products.c */
struct hd_cl_operand {
    cl_mem x, d;     /* quants and scales; d NULL: floats */
    size_t x_stride; /* words or floats of a row */
    size_t d_stride;
};
struct hd_cl_jobs {
    const struct hd_cl_part *part; /* [n] */
    struct hd_cl_matrix *matrix;   /* [n], without what part says */
    size_t n, rows;                /* rows: the most of one */
    bool is_sum;                   /* for hd_cl_reduce, which says where outputs lie */
};
/* Bytes of inputs that so many matrices take. */
size_t hd_cl_jobs_bytes(size_t n);
/* The sums of a half-step's rows, and the flags of rows, as kernels that add to them take them. */
void hd_cl_put_sums(struct hd_cl_launch *l, const struct hd_opencl *o);
/* Where each form's matrices are, in the inputs. */
struct hd_cl_plan {
    struct hd_cl_forms {
        uint32_t at, n, most_groups;
    } form[HD_PACK_COUNT];
    size_t rows;
};
void hd_cl_plan(struct hd_opencl *o, const struct hd_cl_jobs *jobs, struct hd_cl_plan *plan);
cl_int hd_cl_project(struct hd_opencl *o, const struct hd_cl_plan *plan, const cl_mem *slabs,
                     const struct hd_cl_operand *x, cl_mem y);
/* The sum over units, of those that take quants and of those that take floats. */
struct hd_cl_sum {
    const struct hd_cl_plan *q8, *f32;
    struct hd_cl_operand x_q8, x_f32;
    uint32_t shifts; /* where in the inputs */
    size_t rows;
};
cl_int hd_cl_reduce(struct hd_opencl *o, const struct hd_cl_sum *s, const cl_mem *slabs);
static inline bool hd_cl_takes_q8(const struct hd_opencl *o, const struct hd_cl_part *p)
{
    return o->s.q8 && hd_pack_of(p->form).is_float == HD_PACK_QUANT;
}
/* The step's rows, as they travel, become inputs: floats as they are, a few Q8 rows as products
 * take them, more of them as they are, for the device to prepare. */
struct hd_cl_input {
    size_t rows;
    uint32_t at;   /* of floats or Q8 rows; of prepared ones the quants ... */
    uint32_t d_at; /* ... and the scales, [dim / 32][HD_CL_FEW] */
    bool ready;    /* prepared */
    uint32_t x, d; /* where matrices find the first row */
};
/* From a row to the next: words of quants, or floats, behind which there may be something. */
static inline size_t hd_cl_input_stride(const struct hd_opencl *o)
{
    return o->s.q8 ? o->s.dim / 4 : o->s.row_bytes / sizeof(float);
}
#define HD_CL_FEW 8 /* rows that the host prepares: a launch takes longer */
size_t hd_cl_input_bytes(const struct hd_opencl *o, size_t rows);
void hd_cl_add_input(struct hd_opencl *o, const void *x, size_t rows, struct hd_cl_input *in);
/* Behind hd_cl_in_send: prepares what is not, and says what products read. */
struct hd_cl_operand hd_cl_inputs(struct hd_opencl *o, const struct hd_cl_input *in, cl_int *rc);

/* ffn.c: an FFN half in the making. */
struct hd_cl_ffn {
    struct hd_opencl *o;
    const struct hd_half_task *task;
    size_t n;                /* of o->wanted */
    size_t up_at;            /* floats of y */
    size_t x, x_stride;      /* where matrices find row 0 of the inputs, and the next gathered */
    uint32_t d;              /* likewise its scales */
    uint32_t shifts, blocks; /* where in what a launch reads */
    struct hd_cl_plan project;
    uint64_t flops;
    size_t picked, terms, rounds; /* experts: rows that are gathered; terms of all sums; rounds */
    uint32_t rows_at;             /* which rows are gathered */
};
/* The last product of blocks [from, end) of o->wanted; in `given` they lie one behind the other. */
struct hd_cl_down {
    struct hd_cl_plan q8, f32;
};
void hd_cl_plan_down(struct hd_cl_ffn *f, size_t from, size_t end, struct hd_cl_down *down);
cl_int hd_cl_project_down(struct hd_cl_ffn *f, const struct hd_cl_down *down);

/* experts.c: sizes and memory of a conversation, then the parts of a half in their order. */
struct hd_cl_round {
    struct hd_cl_down down;
    uint32_t first_at, terms_at;
};
void hd_cl_experts_shape(const struct hd_opencl *o, struct hd_cl_shape *s);
int hd_cl_experts_init(struct hd_opencl *o);
void hd_cl_experts_deinit(struct hd_opencl *o);
void hd_cl_list_experts(struct hd_cl_ffn *f);
/* Bytes of what a launch reads beside the rest. */
size_t hd_cl_experts_bytes(const struct hd_cl_ffn *f);
void hd_cl_plan_experts(struct hd_cl_ffn *f);
struct hd_cl_operand hd_cl_gather(const struct hd_cl_ffn *f, const struct hd_cl_input *in,
                                  const struct hd_cl_operand *x, cl_int *rc);
cl_int hd_cl_add_experts(struct hd_cl_ffn *f);

/* sums.c: the answer of a half that is a sum. */
/* What nobody waits for is enqueued by `behind`, behind the copy of the answer; or NULL. */
int hd_cl_answer(struct hd_opencl *o, const struct hd_half_task *task, cl_int (*behind)(void *arg),
                 void *arg, struct hd_half_output *out, struct hd_error *err);

/* attention.c, ffn.c, logits.c */
int hd_cl_attention(struct hd_opencl *o, const struct hd_half_task *task,
                    struct hd_half_output *out, struct hd_error *err);
int hd_cl_ffn(struct hd_opencl *o, const struct hd_half_task *task, struct hd_half_output *out,
              struct hd_error *err);
int hd_cl_logits(struct hd_opencl *o, const struct hd_half_task *task, struct hd_half_output *out,
                 struct hd_error *err);
size_t hd_cl_found_bytes(const struct hd_cl_shape *s);
int hd_cl_rows(struct hd_opencl *o, const struct hd_device_stores *to,
               const struct hd_kv_work *list, size_t n);

/* prove.c: the kernels' table of common/math, each computed on the device, for the known answer.
 * Of one thread at a time. */
int hd_cl_prove(struct hd_opencl *o, uint64_t seed, struct hd_self_test *out);
/* Calls fn with that table. */
int hd_cl_with_kernels(struct hd_cl *cl, const struct hd_cl_programs *programs,
                       void (*fn)(void *arg, const struct hd_kernels *k), void *arg);
/* What differs from this CPU, by name: 0 or HD_E_CONFIG. */
int hd_cl_check_bits(struct hd_cl *cl, struct hd_error *err);

/* probe.c: the kind's `speed`. */
uint64_t hd_cl_speed(const struct hd_device_options *o);

#endif
