/* bench_kernels - what the matrix products reach on this host, beside what it could.
 *
 * For one row the limit is memory: GB/s of packed weights, beside a plain read of memory. For many
 * rows it is arithmetic: GFLOP/s, beside OpenBLAS' sgemm on f32 weights. What is compared takes
 * turns, and each figure is the median of the turns, so that a busy moment of the host spoils
 * neither. Weights are larger than the caches by cycling over copies.
 *
 *   bench_kernels [THREADS [VARIANT]]     (default: 1 and 2; the best of this CPU) */
#include "common/math/kernels.h"
#include "common/math/q8.h"
#include "common/math/read_probe.h"
#include "common/math/team.h"
#include "common/util/clock.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* OpenBLAS' own call; cblas.h of other vendors lacks it. */
void openblas_set_num_threads(int threads);

#define SPAN_BYTES HD_READ_PROBE_BYTES /* weights read before one is read again */
#define TURNS      7
#define TURN_US    20000 /* a turn takes at least so long */
#define GROUPS     8     /* of one index of the team's loop */
#define ROWS_MAX   256

static const enum hd_dtype types[] = {HD_F32,  HD_F16,  HD_BF16, HD_Q8_0, HD_Q6_K, HD_Q5_K,
                                      HD_Q5_1, HD_Q5_0, HD_Q4_K, HD_Q4_1, HD_Q4_0};

/* One shape, one type, one number of threads. */
struct bench {
    const struct hd_kernels *kernels;
    struct hd_team *team;
    size_t outputs, inputs, rows;
    struct hd_weights *copies; /* [n_copies] */
    size_t n_copies, next;
    const float *x; /* [ROWS_MAX][inputs] */
    const float *w; /* [outputs][inputs], for sgemm */
    float *y;       /* [ROWS_MAX][outputs] */
    void *q8;       /* [ROWS_MAX] prepared */
    struct hd_read_probe probe;
    double packed_mb_s; /* of the file's bytes */
};

static void *must(void *p)
{
    if (!p) {
        fputs("bench_kernels: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static float *floats(size_t n)
{
    float *f = must(malloc(n * sizeof *f));
    for (size_t i = 0; i < n; i++)
        f[i] = (float)((i * 2654435761u) % 2001) / 1000.0f - 1.0f;
    return f;
}

/* Random bytes are no worse than real weights here, as long as the scales are no NaNs, and floats
 * neither tiny nor huge: many CPUs take hundreds of cycles for a product that is subnormal. */
static struct hd_tensor tensor_of(enum hd_dtype type, size_t outputs, size_t inputs)
{
    size_t row_bytes = hd_dtype_row_bytes(type, inputs), bytes = row_bytes * outputs;
    uint8_t *data = must(malloc(bytes));
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((i * 2654435761u) >> 13) & 0x3b; /* every f16 in it is below 1 */
    size_t width = hd_dtype_block_bytes(type);
    for (size_t end = width; (type == HD_F32 || type == HD_BF16) && end <= bytes; end += width)
        data[end - 1] = 0x3c; /* about 2^-7 */
    return (struct hd_tensor){type, outputs, inputs, row_bytes, data};
}

static void copies_init(struct bench *b, enum hd_dtype type)
{
    struct hd_tensor t = tensor_of(type, b->outputs, b->inputs);
    struct hd_slice all = {.n_rows = b->outputs, .n_cols = b->inputs};
    b->n_copies = SPAN_BYTES / hd_weights_bytes(&t, &all) + 1;
    b->copies = must(calloc(b->n_copies, sizeof *b->copies));
    b->next = 0;
    uint64_t start = hd_now_us();
    for (size_t i = 0; i < b->n_copies; i++)
        must(hd_weights_init(&b->copies[i], &t, &all) == 0 ? b->copies : NULL);
    b->packed_mb_s = (double)(b->n_copies * t.rows * t.row_bytes) / (double)(hd_now_us() - start);
    free((void *)t.data);
}

static void copies_deinit(struct bench *b)
{
    for (size_t i = 0; i < b->n_copies; i++)
        hd_weights_deinit(&b->copies[i]);
    free(b->copies);
}

/* ---- Turns ----*/

typedef void call_fn(struct bench *b);

struct contender {
    call_fn *call;
    double seconds[TURNS]; /* of a call */
};

static double turn(call_fn *call, struct bench *b)
{
    uint64_t start = hd_now_us(), now;
    size_t calls = 0;
    do {
        call(b);
        calls++;
        now = hd_now_us();
    } while (now - start < TURN_US);
    return (double)(now - start) * 1e-6 / (double)calls;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The contenders of the array take turns; seconds[0] becomes the median. One without a call is
 * left out. */
static void compete(struct contender *c, size_t n, struct bench *b)
{
    for (size_t i = 0; i < n; i++)
        if (c[i].call)
            c[i].call(b); /* warm */
    for (size_t t = 0; t < TURNS; t++)
        for (size_t i = 0; i < n; i++)
            if (c[i].call)
                c[i].seconds[t] = turn(c[i].call, b);
    for (size_t i = 0; i < n; i++) {
        qsort(c[i].seconds, TURNS, sizeof(double), by_value);
        c[i].seconds[0] = c[i].seconds[TURNS / 2];
    }
}

/* ---- Contenders ----*/

static size_t last_group(const struct hd_weights *w, size_t index)
{
    return (index + 1) * GROUPS < w->groups ? (index + 1) * GROUPS : w->groups;
}

static void float_groups(void *arg, size_t index, unsigned thread)
{
    struct bench *b = arg;
    const struct hd_weights *w = &b->copies[b->next];
    (void)thread;
    hd_matmul(b->kernels, &(struct hd_matmul_args){
                              .w = w,
                              .g0 = index * GROUPS,
                              .g1 = last_group(w, index),
                              .x = b->x,
                              .x_stride = b->inputs,
                              .y = b->y + index * GROUPS * HD_GROUP,
                              .y_stride = b->outputs,
                              .rows = b->rows,
                          });
}

static void integer_groups(void *arg, size_t index, unsigned thread)
{
    struct bench *b = arg;
    const struct hd_weights *w = &b->copies[b->next];
    (void)thread;
    hd_matmul_q8(b->kernels, &(struct hd_matmul_q8_args){
                                 .w = w,
                                 .g0 = index * GROUPS,
                                 .g1 = last_group(w, index),
                                 .x = b->q8,
                                 .x_stride = hd_q8_prepared_bytes(b->inputs),
                                 .y = b->y + index * GROUPS * HD_GROUP,
                                 .y_stride = b->outputs,
                                 .rows = b->rows,
                             });
}

static void product(struct bench *b, void (*groups)(void *, size_t, unsigned))
{
    hd_team_run(b->team, (b->copies[0].groups + GROUPS - 1) / GROUPS, groups, b);
    b->next = (b->next + 1) % b->n_copies;
}

static void float_product(struct bench *b)
{
    product(b, float_groups);
}

static void integer_product(struct bench *b)
{
    product(b, integer_groups);
}

static void sgemm(struct bench *b)
{
    int rows = (int)b->rows, outputs = (int)b->outputs, inputs = (int)b->inputs;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, outputs, inputs, 1.0f, b->x, inputs,
                b->w, inputs, 0.0f, b->y, outputs);
}

static void probe(struct bench *b)
{
    hd_read_probe_pass(&b->probe, b->team);
}

/* ---- Tables ----*/

static void one_row(struct bench *b, call_fn *integer)
{
    struct contender c[] = {{probe, {0}}, {float_product, {0}}, {integer, {0}}};
    double bytes = (double)(b->copies[0].groups * b->copies[0].group_bytes) * 1e-9;
    b->rows = 1;
    compete(c, 3, b);
    double limit = (double)HD_READ_PROBE_BYTES * 1e-9 / c[0].seconds[0],
           f32 = bytes / c[1].seconds[0];
    printf(" | %5.1f | %5.1f %3.0f%%", limit, f32, 100.0 * f32 / limit);
    if (integer)
        printf(" | %7.1f us %5.1f %3.0f%%", c[2].seconds[0] * 1e6, bytes / c[2].seconds[0],
               100.0 * bytes / c[2].seconds[0] / limit);
    else
        printf(" | %21s", "");
}

static void some_rows(struct bench *b, call_fn *integer, size_t rows)
{
    struct contender c[] = {{sgemm, {0}}, {float_product, {0}}, {integer, {0}}};
    double flop = 2.0 * (double)(b->outputs * b->inputs * rows) * 1e-9;
    b->rows = rows;
    compete(c, 3, b);
    printf(" | %5.1f %5.1f", flop / c[0].seconds[0], flop / c[1].seconds[0]);
    if (integer)
        printf(" %5.1f x%4.1f", flop / c[2].seconds[0], c[0].seconds[0] / c[2].seconds[0]);
    else
        printf(" %11s", "");
}

static void type_line(struct bench *b, enum hd_dtype type)
{
    static const size_t rows[] = {4, 64, 256};
    copies_init(b, type);
    call_fn *integer = hd_weights_are_quantized(&b->copies[0]) ? integer_product : NULL;
    printf("  %-4s %5.0f", hd_dtype_name((int)type), b->packed_mb_s);
    one_row(b, integer);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        some_rows(b, integer, rows[i]);
    printf("\n");
    fflush(stdout);
    copies_deinit(b);
}

static void shape_table(struct bench *b, size_t outputs, size_t inputs)
{
    size_t stride = hd_q8_prepared_bytes(inputs);
    b->outputs = outputs;
    b->inputs = inputs;
    b->x = floats(ROWS_MAX * inputs);
    b->w = floats(outputs * inputs);
    b->y = floats(ROWS_MAX * outputs);
    b->q8 = must(aligned_alloc(64, ROWS_MAX * stride));
    for (size_t r = 0; r < ROWS_MAX; r++)
        hd_q8_quantize(b->kernels, b->x + r * inputs, inputs, (uint8_t *)b->q8 + r * stride);
    printf("%zu outputs x %zu inputs; sgemm | f32 | q8 times sgemm, in GFLOP/s\n", outputs, inputs);
    printf("  type  pack | read  | 1 row: f32 |         1 row: q8     |         4 rows          |"
           "        64 rows          |       256 rows\n"
           "        MB/s | GB/s  | GB/s       |               GB/s    | sgemm   f32    q8       |"
           " sgemm   f32    q8       | sgemm   f32    q8\n");
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        type_line(b, types[t]);
    free((void *)b->x);
    free((void *)b->w);
    free(b->y);
    free(b->q8);
}

static int tables(enum hd_isa isa, unsigned threads)
{
    struct bench b = {.kernels = hd_kernels_get(isa)};
    struct hd_team_options o = {.threads = threads, .spin_us = 200, .name = "bench"};
    if (!b.kernels || hd_team_new(&b.team, &o) < 0) {
        fprintf(stderr, "bench_kernels: no %s or no threads on this host\n", hd_isa_name(isa));
        return 1;
    }
    printf("== %s, %u thread%s\n", hd_isa_name(isa), threads, threads == 1 ? "" : "s");
    openblas_set_num_threads((int)threads);
    must(hd_read_probe_init(&b.probe) == 0 ? b.probe.memory : NULL);
    shape_table(&b, 2048, 2048);
    shape_table(&b, 2048, 8192);
    hd_read_probe_deinit(&b.probe);
    hd_team_free(b.team);
    return 0;
}

/* The variant of that name; HD_ISA_NEON + 1 if there is none. */
static enum hd_isa isa_of(const char *name)
{
    int isa = HD_ISA_PORTABLE;
    while (isa <= HD_ISA_NEON && strcmp(name, hd_isa_name((enum hd_isa)isa)) != 0)
        isa++;
    return (enum hd_isa)isa;
}

int main(int argc, char **argv)
{
    enum hd_isa isa = argc > 2 ? isa_of(argv[2]) : hd_isa_best();
    unsigned long threads = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    if (threads < 1 || threads > 64 || isa > HD_ISA_NEON) {
        fputs("usage: bench_kernels [THREADS [portable|avx2|avx512|amx|neon]]\n", stderr);
        return 2;
    }
    return tables(isa, (unsigned)threads) || (argc == 1 && tables(isa, 2));
}
