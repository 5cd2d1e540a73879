/* bench_kernels - what the matrix products reach on this host, beside what it could.
 *
 * For one row the limit is memory: GB/s of packed weights, beside a plain read of as many bytes.
 * For many rows it is arithmetic: GFLOP/s, beside OpenBLAS' sgemm on f32 weights. Each figure is
 * the best of several runs; weights are larger than the caches by cycling over copies.
 *
 *   bench_kernels [threads]     (default: 1 and 2) */
#include "common/math/kernels.h"
#include "common/math/team.h"
#include "common/util/clock.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* OpenBLAS' own call; cblas.h of other vendors lacks it. */
void openblas_set_num_threads(int threads);

#define SPAN_BYTES ((size_t)256 << 20) /* weights read before one is read again */
#define RUN_US     150000              /* a figure takes about so long */
#define RUNS       3                   /* and is the best of so many */
#define GROUPS     8                   /* of one index of the team's loop */
#define ROWS_MAX   256

static const enum hd_dtype types[] = {HD_F32,  HD_F16,  HD_BF16, HD_Q8_0, HD_Q6_K,
                                      HD_Q5_K, HD_Q5_1, HD_Q4_K, HD_Q4_1, HD_Q4_0};

struct bench {
    const struct hd_kernels *kernels;
    struct hd_team *team;
    struct hd_weights *copies; /* [n_copies] */
    size_t n_copies, next, rows;
    const float *x; /* [ROWS_MAX][inputs] */
    float *y;       /* [ROWS_MAX][outputs] */
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

/* Seconds that one call takes, the best of RUNS averages. */
static double seconds_of(void (*call)(void *), void *arg)
{
    double best = 1e9;
    call(arg);
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = hd_now_us(), now;
        size_t calls = 0;
        do {
            call(arg);
            calls++;
            now = hd_now_us();
        } while (now - start < RUN_US);
        double mean = (double)(now - start) * 1e-6 / (double)calls;
        best = mean < best ? mean : best;
    }
    return best;
}

static void some_groups(void *arg, size_t index, unsigned thread)
{
    struct bench *b = arg;
    const struct hd_weights *w = &b->copies[b->next];
    size_t g0 = index * GROUPS, g1 = g0 + GROUPS < w->groups ? g0 + GROUPS : w->groups;
    (void)thread;
    hd_matmul(b->kernels, &(struct hd_matmul_args){
                              .w = w,
                              .g0 = g0,
                              .g1 = g1,
                              .x = b->x,
                              .x_stride = w->inputs,
                              .y = b->y + g0 * HD_GROUP,
                              .y_stride = w->outputs,
                              .rows = b->rows,
                          });
}

static void one_product(void *arg)
{
    struct bench *b = arg;
    hd_team_run(b->team, (b->copies[0].groups + GROUPS - 1) / GROUPS, some_groups, b);
    b->next = (b->next + 1) % b->n_copies;
}

/* Random bytes are no worse than real weights here, as long as the scales are no NaNs. */
static struct hd_tensor tensor_of(enum hd_dtype type, size_t outputs, size_t inputs)
{
    size_t row_bytes = hd_dtype_row_bytes(type, inputs), bytes = row_bytes * outputs;
    uint8_t *data = must(malloc(bytes));
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((i * 2654435761u) >> 13) & 0x3b; /* every f16 in it is below 1 */
    return (struct hd_tensor){type, outputs, inputs, row_bytes, data};
}

static void copies_init(struct bench *b, enum hd_dtype type, size_t outputs, size_t inputs)
{
    struct hd_tensor t = tensor_of(type, outputs, inputs);
    struct hd_slice all = {.n_rows = outputs, .n_cols = inputs};
    b->n_copies = SPAN_BYTES / hd_weights_bytes(&t, &all) + 1;
    b->copies = must(calloc(b->n_copies, sizeof *b->copies));
    b->next = 0;
    for (size_t i = 0; i < b->n_copies; i++)
        must(hd_weights_init(&b->copies[i], &t, &all) == 0 ? b->copies : NULL);
    free((void *)t.data);
}

static void copies_deinit(struct bench *b)
{
    for (size_t i = 0; i < b->n_copies; i++)
        hd_weights_deinit(&b->copies[i]);
    free(b->copies);
}

static void type_line(struct bench *b, enum hd_dtype type, size_t outputs, size_t inputs)
{
    static const size_t rows[] = {1, 4, 64, 256};
    copies_init(b, type, outputs, inputs);
    double bytes = (double)(b->copies[0].groups * b->copies[0].group_bytes);
    printf("  %-5s", hd_dtype_name((int)type));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        b->rows = rows[i];
        double s = seconds_of(one_product, b);
        if (rows[i] == 1)
            printf(" %8.1f us %6.1f GB/s", s * 1e6, bytes / s * 1e-9);
        double flop = 2.0 * (double)(outputs * inputs * rows[i]);
        printf(" %8.1f", flop / s * 1e-9);
    }
    printf("\n");
    fflush(stdout);
    copies_deinit(b);
}

struct sgemm {
    size_t outputs, inputs, rows;
    const float *x, *w;
    float *y;
};

static void one_sgemm(void *arg)
{
    struct sgemm *s = arg;
    int rows = (int)s->rows, outputs = (int)s->outputs, inputs = (int)s->inputs;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, outputs, inputs, 1.0f, s->x, inputs,
                s->w, inputs, 0.0f, s->y, outputs);
}

static void sgemm_line(const struct bench *b, size_t outputs, size_t inputs)
{
    static const size_t rows[] = {4, 64, 256};
    float *w = floats(outputs * inputs);
    struct sgemm s = {outputs, inputs, 1, b->x, w, b->y};
    openblas_set_num_threads((int)hd_team_threads(b->team));
    printf("  sgemm %26s", "");
    for (size_t i = 0; i <= 3; i++) {
        s.rows = i == 0 ? 1 : rows[i - 1];
        double t = seconds_of(one_sgemm, &s);
        printf(" %8.1f", 2.0 * (double)(outputs * inputs * s.rows) / t * 1e-9);
    }
    printf("\n");
    free(w);
}

/* Reads SPAN_BYTES with as many threads: what memory gives. */
struct probe {
    struct hd_team *team;
    const uint64_t *data;
    uint64_t sums[64];
};

#define PROBE_PARTS 64

static void probe_part(void *arg, size_t index, unsigned thread)
{
    struct probe *p = arg;
    size_t n = SPAN_BYTES / sizeof *p->data / PROBE_PARTS;
    const uint64_t *d = p->data + index * n;
    uint64_t sum[8] = {0};
    (void)thread;
    for (size_t i = 0; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++)
            sum[j] += d[i + j];
    for (size_t j = 1; j < 8; j++)
        sum[0] += sum[j];
    p->sums[index] = sum[0];
}

static void one_probe(void *arg)
{
    struct probe *p = arg;
    hd_team_run(p->team, PROBE_PARTS, probe_part, p);
}

static void probe_line(struct hd_team *team)
{
    uint64_t *data = must(malloc(SPAN_BYTES));
    memset(data, 1, SPAN_BYTES);
    struct probe p = {.team = team, .data = data};
    double s = seconds_of(one_probe, &p);
    printf("memory read probe: %.1f GB/s\n", (double)SPAN_BYTES / s * 1e-9);
    free(data);
}

static void shape_table(struct bench *b, size_t outputs, size_t inputs)
{
    printf("%zu outputs x %zu inputs%22s GFLOP/s of 1, 4, 64, 256 rows\n", outputs, inputs, "");
    b->x = floats(ROWS_MAX * inputs);
    b->y = floats(ROWS_MAX * outputs);
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        type_line(b, types[t], outputs, inputs);
    sgemm_line(b, outputs, inputs);
    free((void *)b->x);
    free(b->y);
}

static int tables(enum hd_isa isa, unsigned threads)
{
    struct bench b = {.kernels = hd_kernels_get(isa)};
    struct hd_team_options o = {.threads = threads, .spin_us = 200, .name = "bench"};
    if (!b.kernels || hd_team_new(&b.team, &o) < 0)
        return 1;
    printf("== %s, %u thread%s\n", hd_isa_name(isa), threads, threads == 1 ? "" : "s");
    probe_line(b.team);
    shape_table(&b, 2048, 2048);
    shape_table(&b, 2048, 8192);
    hd_team_free(b.team);
    return 0;
}

int main(int argc, char **argv)
{
    enum hd_isa best = hd_isa_best();
    if (argc > 1)
        return tables(best, (unsigned)strtoul(argv[1], NULL, 10));
    return tables(best, 1) || tables(best, 2);
}
