/* sgemm_rate - what OpenBLAS' sgemm reaches on matrices of a model's layer, in GFLOP/s.
 *
 *   sgemm_rate MODEL THREADS ROWS
 *
 * One turn multiplies ROWS rows with a matrix of each shape in a layer, one after the other (f32,
 * other values than the model's); printed is the median of the turns. For prefill.py. */
#include "common/model/model.h"
#include "common/util/clock.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

/* OpenBLAS' own call; cblas.h of other vendors lacks it. */
void openblas_set_num_threads(int threads);

#define TURNS    9
#define MATRICES 7

struct matrix {
    int outputs, inputs;
    float *w, *x, *y; /* [outputs][inputs], [rows][inputs], [rows][outputs] */
};

static float *floats(size_t n)
{
    float *f = malloc(n * sizeof *f);
    if (!f) {
        fputs("sgemm_rate: out of memory\n", stderr);
        exit(1);
    }
    for (size_t i = 0; i < n; i++)
        f[i] = (float)((i * 2654435761u) % 2001) / 1000.0f - 1.0f;
    return f;
}

static void make(struct matrix m[MATRICES], const struct hd_model_shape *s, int rows)
{
    int dim = (int)s->dim, q = (int)(s->n_heads * s->head_dim),
        kv = (int)(s->n_kv_heads * s->head_dim);
    int ffn = (int)s->ffn_dim;
    const int shapes[MATRICES][2] = {{q, dim},   {kv, dim},  {kv, dim}, {dim, q},
                                     {ffn, dim}, {ffn, dim}, {dim, ffn}};
    for (size_t i = 0; i < MATRICES; i++) {
        m[i].outputs = shapes[i][0];
        m[i].inputs = shapes[i][1];
        m[i].w = floats((size_t)m[i].outputs * (size_t)m[i].inputs);
        m[i].x = floats((size_t)rows * (size_t)m[i].inputs);
        m[i].y = floats((size_t)rows * (size_t)m[i].outputs);
    }
}

/* Multiplies with all of them once; GFLOP/s. */
static double turn(const struct matrix m[MATRICES], int rows)
{
    double flops = 0;
    uint64_t t0 = hd_now_us();
    for (size_t i = 0; i < MATRICES; i++) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, m[i].outputs, m[i].inputs, 1.0f,
                    m[i].x, m[i].inputs, m[i].w, m[i].inputs, 0.0f, m[i].y, m[i].outputs);
        flops += 2.0 * rows * m[i].outputs * m[i].inputs;
    }
    uint64_t us = hd_now_us() - t0;
    return flops / (double)(us ? us : 1) / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    struct hd_error err = {0};
    struct hd_model *model;
    struct matrix m[MATRICES];
    double rate[TURNS];
    int threads = argc == 4 ? atoi(argv[2]) : 0, rows = argc == 4 ? atoi(argv[3]) : 0;
    if (threads < 1 || rows < 1) {
        fputs("usage: sgemm_rate MODEL THREADS ROWS\n", stderr);
        return 2;
    }
    if (hd_model_open(&model, argv[1], &err) < 0) {
        fprintf(stderr, "sgemm_rate: %s\n", err.text);
        return 1;
    }
    make(m, &model->shape, rows);
    hd_model_close(model);
    openblas_set_num_threads(threads);
    turn(m, rows); /* its threads start */
    for (size_t i = 0; i < TURNS; i++)
        rate[i] = turn(m, rows);
    qsort(rate, TURNS, sizeof *rate, by_value);
    printf("%.1f\n", rate[TURNS / 2]);
    for (size_t i = 0; i < MATRICES; i++) {
        free(m[i].w);
        free(m[i].x);
        free(m[i].y);
    }
    return 0;
}
