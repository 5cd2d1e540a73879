/* program.h - the kernels of kernels/, compiled for one device, and launching them.
 *
 * Products are compiled for each form of weights (common/math/pack.h) that a model has. What the
 * driver makes of a source is kept in the state folder, opencl/KEY, the key being a digest of
 * device, driver, options and source; a file that is damaged, or that the driver does not take any
 * more, is made anew. */
#ifndef HD_WORKER_OPENCL_PROGRAM_H
#define HD_WORKER_OPENCL_PROGRAM_H

#include "common/math/pack.h"
#include "worker/opencl/memory.h"

#define HD_CL_KERNELS(X)                                                                           \
    X(gather_vectors)                                                                              \
    X(finish_rows)                                                                                 \
    X(seal_rows)                                                                                   \
    X(attention)                                                                                   \
    X(prepare_rows)                                                                                \
    X(activate)                                                                                    \
    X(gather_rows)                                                                                 \
    X(add_terms)                                                                                   \
    X(add_units)                                                                                   \
    X(compact)                                                                                     \
    X(add_output_bias)                                                                             \
    X(best_logits)                                                                                 \
    X(single_values)                                                                               \
    X(store_values)                                                                                \
    X(fixed_values)                                                                                \
    X(quantize_values)

/* Of one form; the last only with tensor cores, the ones before it only of quants. */
enum hd_cl_product {
    HD_CL_PROJECT_F32,
    HD_CL_REDUCE_F32,
    HD_CL_PROJECT_FEW,
    HD_CL_REDUCE_FEW,
    HD_CL_PROJECT_ONE,
    HD_CL_REDUCE_ONE,
    HD_CL_PROJECT_MMA,
    HD_CL_PRODUCTS,
};

/* A kernel, and the arguments that it has: what is the same again is not set again. */
#define HD_CL_ARGUMENTS 64
struct hd_cl_kernel {
    cl_kernel kernel;
    uint64_t released; /* hd_cl.released when they were set: a buffer may be another since */
    uint64_t value[HD_CL_ARGUMENTS];
    bool is_set[HD_CL_ARGUMENTS];
};

struct hd_cl_programs {
    struct hd_cl *cl;
    cl_program common, products[HD_PACK_COUNT]; /* NULL: not compiled */
#define X(name) struct hd_cl_kernel name;
    HD_CL_KERNELS(X)
#undef X
    struct hd_cl_kernel product[HD_PACK_COUNT][HD_CL_PRODUCTS];
};

/* Compiles what does not depend on weights. 0, HD_E_NOMEM, HD_E_DEVICE (the driver's compiler says
 * no; its first words are in err). */
int hd_cl_programs_init(struct hd_cl_programs *p, struct hd_cl *cl, struct hd_error *err);
void hd_cl_programs_deinit(struct hd_cl_programs *p);
/* Compiles the products of a form, unless they are there. */
int hd_cl_programs_add(struct hd_cl_programs *p, enum hd_pack_id form, struct hd_error *err);

/* ---- Launches: arguments one after the other, then go. The first error stays. ----*/

struct hd_cl_launch {
    struct hd_cl *cl;
    struct hd_cl_kernel *k;
    cl_uint n;
    cl_int rc;
};
/* value: of at most 8 bytes; NULL: so many bytes of local memory. */
void hd_cl_put(struct hd_cl_launch *l, size_t size, const void *value);
static inline void hd_cl_put_u32(struct hd_cl_launch *l, size_t v)
{
    cl_uint u = (cl_uint)v;
    hd_cl_put(l, sizeof u, &u);
}
static inline void hd_cl_put_u64(struct hd_cl_launch *l, uint64_t v)
{
    hd_cl_put(l, sizeof v, &v);
}
static inline void hd_cl_put_f32(struct hd_cl_launch *l, float v)
{
    hd_cl_put(l, sizeof v, &v);
}
static inline void hd_cl_put_buffer(struct hd_cl_launch *l, cl_mem m)
{
    hd_cl_put(l, sizeof m, &m);
}
static inline void hd_cl_put_local(struct hd_cl_launch *l, size_t bytes)
{
    hd_cl_put(l, bytes, NULL);
}
void hd_cl_put_slabs(struct hd_cl_launch *l, const cl_mem slabs[HD_CL_SLABS]);
/* Work-groups of `items` work-items (in the first dimension), so many in each dimension. CL_SUCCESS
 * or the driver's code. */
cl_int hd_cl_go(const struct hd_cl_launch *l, size_t items, size_t x, size_t y, size_t z);

#endif
