/* reference_impl.h - shared by reference.c (half-steps, answers), reference_products.c,
 * reference_attention.c and reference_memory.c (what is kept). */
#ifndef HD_TESTS_DEVICE_REFERENCE_IMPL_H
#define HD_TESTS_DEVICE_REFERENCE_IMPL_H

#include "tests/device/reference.h"

struct piece {
    uint8_t *bytes; /* of the piece; NULL: it is not there */
    size_t n;
    struct hd_cuts cuts; /* of these bytes */
};

struct weights {
    struct hd_device_weights base;
    struct piece *piece; /* by piece.h's numbers */
};

/* K and V of positions one behind the other, so that a block of 64 lies in one run. */
struct hd_device_lane {
    uint8_t *k, *v;     /* [positions - first][row] */
    uint64_t *digest;   /* [positions - first] */
    uint32_t first;     /* rows before it are the parent's */
    uint32_t positions; /* reserved, with those */
};

struct share {
    uint32_t parent, positions;
};

struct kv {
    struct hd_device_kv base;
    size_t row;                   /* bytes */
    struct hd_device_lane **lane; /* [sequences][layers][heads]: NULL or reserved */
    struct share *shares;         /* [sequences] */
};

/* The functions of struct hd_device_ops about memory. */
int reference_weights_new(struct hd_device *d, struct hd_device_weights **out);
void reference_weights_free(struct hd_device_weights *w);
int reference_load(struct hd_device_weights *w, struct hd_piece_at at, const uint8_t *bytes);
void reference_release(struct hd_device_weights *w, struct hd_piece_at at);
uint64_t reference_piece_bytes(const struct hd_device_weights *w, struct hd_piece_at at);
size_t reference_walk(const struct hd_device_weights *w, struct hd_piece_at at,
                      struct hd_piece_walk *walk);
int reference_kv_new(struct hd_device *d, struct hd_device_kv **out);
void reference_kv_free(struct hd_device_kv *kv);
int reference_reserve(struct hd_device_kv *kv, struct hd_kv_at at, uint32_t positions,
                      uint64_t *bytes);
void reference_share(struct hd_device_kv *kv, uint32_t sequence, uint32_t parent, uint32_t shared);
/* The lane that has the row of a position: that of the sequence or of one that it shares with. */
const struct hd_device_lane *reference_lane_of(const struct hd_device_kv *kv, struct hd_kv_at at,
                                               uint32_t position);
struct hd_device_lane *reference_lane(const struct hd_device_kv *kv, struct hd_kv_at at);
struct hd_device_lane *reference_detach(struct hd_device_kv *kv, struct hd_kv_at at);
void reference_discard(struct hd_device_kv *kv, struct hd_device_lane *lane);
size_t reference_row_bytes(const struct hd_device_kv *kv);
void reference_read(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t position, void *k,
                    void *v);
void reference_digests(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t from,
                       uint32_t end, uint32_t *out);
uint32_t reference_bad_row(const struct hd_device_kv *kv, const struct hd_device_lane *lane,
                           uint32_t from, uint32_t end);

const struct piece *reference_piece(const struct hd_device_weights *w, struct hd_piece_at at);
/* Of a row that was just written. */
void reference_seal(struct hd_device_lane *lane, uint32_t position, size_t row);

/* What one half-step works with. */
struct half {
    struct hd_device *d;
    const struct hd_half_task *task;
    const struct hd_model_shape *shape;
    size_t row_bytes;
    bool q8;
    int64_t *sum;              /* [rows][dim] */
    uint8_t *is_bad, *is_wide; /* [rows] */
    uint64_t flops;
    bool failed; /* out of memory */
};

/* Where a row is to be stored. */
struct place {
    struct hd_device_kv *kv;
    struct hd_kv_at at;
    uint32_t position;
    struct hd_row_tail tail;
};

/* reference_products.c. What is made in a room, and is NULL where there is none, is the caller's to
 * free. */
const struct hd_kernels *reference_portable(void);
/* 64-byte aligned; NULL also sets h->failed. */
void *reference_room(struct half *h, size_t bytes);
/* NULL: the piece has no such tensor. */
const struct hd_cut *reference_cut_of(const struct piece *p, enum hd_slot_id slot);
size_t reference_outputs_of(const struct hd_cut *c);
/* y[outputs] = the cut's matrix times x, which reference_input has made. */
void reference_multiply(struct half *h, const struct hd_cut *c, const void *x, float *y);
void *reference_input(struct half *h, const void *x, size_t i);
/* Adds the matrix times x, and times weight, to the sum of a row. */
void reference_add(struct half *h, const struct hd_cut *c, size_t row, const float *x,
                   float weight);
/* Value i of a vector, in the order of outputs. */
float reference_value(const struct half *h, const struct hd_cut *c, size_t i);
/* y[n] += the slot's vector, if there is one. */
void reference_add_vector(const struct half *h, const struct piece *p, enum hd_slot_id slot,
                          float *y);

/* reference_attention.c */
struct hd_row_tail reference_tail_of(const struct half *h, const void *x, size_t i);
/* K and V of an input. */
void reference_store(struct half *h, const struct piece *p, const void *x, struct place to);
/* The task's unit number `slot`, for all its rows. */
void reference_attention_unit(struct half *h, size_t slot);

#endif
