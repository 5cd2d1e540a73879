/* rig.h - one worker's node on a small model, without threads of its own or a network. */
#ifndef HD_TESTS_WORKER_RIG_H
#define HD_TESTS_WORKER_RIG_H

#include "common/model/digests.h"
#include "common/net/conn.h"
#include "worker/cpu/cpu.h"
#include "worker/crew/whole.h"
#include "worker/share/hold.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#define RIG_ROWS      96
#define RIG_POSITIONS 256
#define RIG_SEQUENCES 4
#define RIG_SHIFT     21
#define RIG_USED      4 /* experts of a row, at most */

struct rig {
    char dir[64]; /* state, and the model when it was synthesized */
    struct hd_log log;
    struct hd_model *model;
    struct hd_units units;
    struct hd_team *team;
    const struct hd_kernels *kernels;
    struct hd_device *device;
    struct hd_node *node;
    uint8_t *encoded;                      /* [RIG_ROWS] Q8 rows of the last rig_step */
    uint32_t experts[RIG_ROWS * RIG_USED]; /* of the same */
    float weights[RIG_ROWS * RIG_USED];
};

struct rig_options {
    const char *model; /* a path, or NULL: synthesize ... */
    const char *shape; /* ... this one */
    enum hd_dtype type;
    enum hd_kv_type kv;
    enum hd_activations activations;
    enum hd_wire wire;
    unsigned threads;
    const struct hd_device_kind *device; /* NULL: the CPU */
    uint32_t positions;                  /* 0: RIG_POSITIONS */
};

/* A test that runs with rows of f32 and with Q8 rows: `*activations` says which. */
#define RIG_TEST(suite, name)                                                                      \
    ParameterizedTestParameters(suite, name)                                                       \
    {                                                                                              \
        return rig_activations();                                                                  \
    }                                                                                              \
    ParameterizedTest(enum hd_activations *activations, suite, name)
struct criterion_test_params rig_activations(void);

/* Of that model's file; hd_digests_free. */
struct hd_digests *rig_digests(const struct hd_model *model);

void rig_open(struct rig *r, const struct rig_options *o);
void rig_close(struct rig *r);
/* Path of the synthesized model, to open it again in another rig. */
void rig_model_path(const struct rig *r, char *path, size_t size);

/* Own the units u of every kind with u % of == part; nothing is needed of any sequence. */
void rig_own_part(struct rig *r, uint32_t part, uint32_t of);
/* Own exactly these heads (a mask), every FFN and vocab block; with what the sequences need. */
int rig_own_heads(struct rig *r, uint64_t heads, const struct hd_assignment *needs,
                  struct hd_kv_report *report);

/* Does what is to be done for held units. Returns the last outcome: HD_HOLD_IDLE or _READY. */
int rig_slices(struct rig *r);

/* What every worker receives: attention inputs of positions [first, end) of a sequence, in the
 * layers [0, layers); the same ones for every rig. Answered, then followed. */
struct rig_feed {
    uint32_t sequence, layers, first, end;
};
void rig_feed(struct rig *r, struct rig_feed feed);
/* Both hold this many positions of the lane, with the same bits. */
void rig_expect_same_lane(const struct rig *a, const struct rig *b, struct hd_kv_at at,
                          uint32_t positions);

/* [n][dim] values that depend on seed and index only. The caller frees. */
float *rig_random(size_t n, size_t dim, uint64_t seed);
/* The same rows as the rig's steps have them: f32, or Q8. The caller frees. */
uint8_t *rig_encode(const struct rig *r, const float *x, size_t n);
/* x: [n][dim] becomes what the encoded rows stand for; encoding it gives the same bytes again. */
void rig_round(const struct rig *r, float *x, size_t n);

/* Rows of one or more sequences for a half-step. */
struct rig_rows {
    size_t n;
    uint32_t sequences[RIG_ROWS], positions[RIG_ROWS], want[RIG_ROWS];
    float temperatures[RIG_ROWS];
    int32_t shifts[RIG_ROWS];
    const float *x; /* [n][dim] */
};
/* n rows of one sequence from a position on. */
void rig_rows_of(struct rig_rows *rows, uint32_t sequence, uint32_t position, size_t n,
                 const float *x);
/* The rows are encoded as the rig's steps have them: valid till the next call. Which experts a row
 * takes is a function of its sequence and position. */
struct hd_half_step rig_step(struct rig *r, const struct rig_rows *rows, enum hd_unit_kind units,
                             uint32_t layer);

/* Does an attention or FFN half (logging the inputs of attention) and writes its sums [n][dim]
 * as 64-bit integers. */
void rig_sums(struct rig *r, enum hd_unit_kind units, uint32_t layer, const struct rig_rows *rows,
              int64_t *sums);
/* The same sums out of an answer. */
void rig_decode(const struct hd_half_output *out, size_t rows, size_t dim, int64_t *sums);

#endif
