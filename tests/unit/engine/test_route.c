/* test_route.c - which experts a row takes: between equal ones as the reference does, and with
 * weights that are the softmax of all or of the best. */
#include "leader/engine/route.h"

#include "common/model/arch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { DIM = 16, EXPERTS = 6, LAYERS = 2, USED = 3 };

/* ---- Equal numbers ----*/

/* Numbers ((i a + b) (i + 3) mod m) / 8 of n, and what torch 2.15's topk took of them on a CPU:
 *
 *     i = sorted(torch.topk(torch.tensor(numbers), k).indices.tolist())
 *     for x in i: digest = (digest * 31 + x + 1) % 2**32 */
static const struct {
    uint32_t n, k, a, b, m, digest;
} ties[] = {
    {4, 2, 0, 0, 1, 97u},            /* 2 3 */
    {8, 2, 1, 0, 2, 193u},           /* 5 6 */
    {8, 3, 5, 1, 3, 3044u},          /* 2 4 5 */
    {10, 3, 0, 2, 1, 6984u},         /* 6 7 8 */
    {16, 4, 3, 1, 2, 36810u},        /* 0 6 8 12 */
    {32, 4, 7, 5, 4, 402250u},       /* 12 14 16 24 */
    {60, 6, 5, 1, 5, 364703572u},    /* 11 21 26 31 36 41 */
    {64, 8, 11, 2, 3, 816959279u},   /* 16 19 22 25 40 46 49 52 */
    {64, 1, 3, 7, 2, 1u},            /* 0 */
    {128, 2, 5, 3, 2, 34u},          /* 0 2 */
    {128, 8, 9, 4, 7, 282466235u},   /* 0 30 35 63 65 91 107 114 */
    {256, 4, 13, 1, 3, 64646u},      /* 1 4 7 10 */
    {512, 8, 7, 2, 2, 3607554180u},  /* 0 1 2 3 4 5 6 7 */
    {300, 64, 3, 1, 4, 2075692110u}, /* 86 88 90 92 94 96 98 102 ... */
};

static int ascending(const void *a, const void *b)
{
    return (int)((const struct hd_best *)a)->index - (int)((const struct hd_best *)b)->index;
}

Test(route, takes_of_equal_ones_those_that_the_reference_takes)
{
    for (size_t t = 0; t < sizeof ties / sizeof *ties; t++) {
        struct hd_best of[HD_MAX_EXPERTS];
        uint32_t digest = 0;
        for (uint32_t i = 0; i < ties[t].n; i++)
            of[i] =
                (struct hd_best){(float)((i * ties[t].a + ties[t].b) * (i + 3) % ties[t].m) / 8, i};
        hd_best_first(of, ties[t].n, ties[t].k);
        for (uint32_t i = 1; i < ties[t].k; i++)
            cr_assert_geq(of[i - 1].value, of[i].value);
        qsort(of, ties[t].k, sizeof *of, ascending);
        for (uint32_t i = 0; i < ties[t].k; i++)
            digest = digest * 31 + of[i].index + 1;
        cr_expect_eq(digest, ties[t].digest, "%u of %u", ties[t].k, ties[t].n);
    }
}

/* Nothing is better than what is no number; all are found, and no two alike. */
Test(route, finds_the_best_of_any_numbers)
{
    uint64_t s = 1;
    for (uint32_t round = 0; round < 2000; round++) {
        struct hd_best of[HD_MAX_EXPERTS];
        uint32_t n = 1 + round % 200, k = 1 + round / 7 % n;
        bool taken[HD_MAX_EXPERTS] = {false};
        for (uint32_t i = 0; i < n; i++) {
            s = s * 6364136223846793005u + 1442695040888963407u;
            of[i] = (struct hd_best){s >> 60 == 0 ? NAN : (float)(int32_t)(s >> 32), i};
        }
        hd_best_first(of, n, k);
        for (uint32_t i = 0; i < n; i++) {
            cr_assert_not(taken[of[i].index]);
            taken[of[i].index] = true;
            if (i >= k)
                cr_assert(isnan(of[k - 1].value) || of[i].value <= of[k - 1].value);
        }
    }
}

/* ---- A row ----*/

struct routed {
    struct hd_model model;
    struct hd_layer layers[LAYERS];
    float router[LAYERS][EXPERTS][DIM];
    struct hd_route route;
};

/* Expert e of layer l has (e + l) mod EXPERTS as its logit for a row of ones. */
static void open_routed(struct routed *r, struct hd_router how)
{
    *r = (struct routed){
        .model = {.shape = {.n_layers = LAYERS, .dim = DIM, .n_experts = EXPERTS, .n_used = USED},
                  .slots = HD_SLOT_BIT(HD_SLOT_ROUTER),
                  .router = how}};
    r->model.layers = r->layers;
    for (int l = 0; l < LAYERS; l++) {
        for (int e = 0; e < EXPERTS; e++)
            r->router[l][e][e] = (float)((e + l) % EXPERTS);
        r->layers[l].router = (struct hd_tensor){.type = HD_F32,
                                                 .rows = EXPERTS,
                                                 .cols = DIM,
                                                 .row_bytes = DIM * sizeof(float),
                                                 .data = (const uint8_t *)r->router[l]};
    }
    cr_assert_eq(hd_route_init(&r->route, &r->model, hd_kernels_get(HD_ISA_PORTABLE), 1), 0);
}

static void check_row(struct hd_router how, uint32_t layer, const double want[USED])
{
    struct routed r;
    uint32_t experts[USED];
    float weights[USED], x[DIM];
    open_routed(&r, how);
    for (int i = 0; i < DIM; i++)
        x[i] = 1;
    cr_assert(hd_route_row(&r.route, 0, layer, x, experts, weights));
    for (uint32_t i = 0; i < USED; i++) {
        cr_assert_eq(experts[i], EXPERTS - USED + i - layer, "expert %u", experts[i]);
        cr_assert_float_eq((double)weights[i], want[i], 1e-6);
        cr_assert_eq(r.route.rows[experts[i]], 1);
    }
    hd_route_deinit(&r.route);
}

Test(route, weighs_by_softmax_before_or_behind)
{
    double all = 0, best = 0, plain[USED], normal[USED];
    for (int i = 0; i < EXPERTS; i++)
        all += exp(i);
    for (int i = EXPERTS - USED; i < EXPERTS; i++)
        best += exp(i);
    for (int i = 0; i < USED; i++) {
        plain[i] = exp(EXPERTS - USED + i) / all;
        normal[i] = exp(EXPERTS - USED + i) / best;
    }
    for (uint32_t l = 0; l < LAYERS; l++) {
        check_row((struct hd_router){0}, l, plain);
        check_row((struct hd_router){.normalise = true}, l, normal);
        check_row((struct hd_router){.top_first = true}, l, normal);
    }
}

/* A bias of the logits decides as the logits do; what experts give comes with their weights. */
Test(route, adds_what_the_leader_has_of_experts)
{
    struct routed r;
    uint32_t experts[USED];
    float weights[USED], x[DIM] = {0}, sum[DIM] = {1}, bias[LAYERS][EXPERTS] = {{0}},
                         given[LAYERS][EXPERTS][DIM] = {{{0}}};
    open_routed(&r, (struct hd_router){.top_first = true});
    for (int e = 0; e < EXPERTS; e++) {
        bias[1][e] = (float)-e;
        given[1][e][0] = (float)(10 * e);
    }
    r.route.bias = &bias[0][0];
    r.route.given = &given[0][0][0];
    cr_assert(hd_route_row(&r.route, 0, 1, x, experts, weights));
    double all = 1 + exp(-1) + exp(-2);
    for (uint32_t i = 0; i < USED; i++) {
        cr_assert_eq(experts[i], i);
        cr_assert_float_eq((double)weights[i], exp(-(double)i) / all, 1e-6);
    }
    hd_route_add(&r.route, 1, experts, weights, sum);
    cr_assert_float_eq((double)sum[0], 1 + (10 * exp(-1) + 20 * exp(-2)) / all, 1e-5);
    r.route.bias = r.route.given = NULL; /* not its own */
    hd_route_deinit(&r.route);
}

/* Weights travel, and are finite; the row is said to be bad. */
Test(route, a_row_that_is_no_numbers_is_said_to_be_bad)
{
    struct routed r;
    uint32_t experts[USED];
    float weights[USED], x[DIM] = {0};
    open_routed(&r, (struct hd_router){.normalise = true});
    x[3] = INFINITY;
    cr_assert_not(hd_route_row(&r.route, 0, 0, x, experts, weights));
    for (int i = 0; i < USED; i++)
        cr_assert(weights[i] >= 0 && weights[i] < INFINITY && experts[i] < EXPERTS);
    cr_assert(experts[0] < experts[1] && experts[1] < experts[2]);
    hd_route_deinit(&r.route);
}
