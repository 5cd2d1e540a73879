/* route.c - the router's logits, their best, and softmax before or behind that. */
#include "leader/engine/route.h"

#include "common/model/arch.h"

#include <math.h>
#include <stdlib.h>

/* All values of a slot, layer by layer; *out stays NULL when the model has none of it. */
static int load_slot(const struct hd_model *m, enum hd_slot_id slot, float **out)
{
    size_t n =
        hd_size_of(&m->shape, hd_slots[slot].rows) * hd_size_of(&m->shape, hd_slots[slot].cols);
    uint32_t layers = hd_slot_layers(m, slot);
    if (layers == 0)
        return 0;
    *out = calloc(layers * n, sizeof **out);
    for (uint32_t l = 0; *out && l < layers; l++) {
        const struct hd_tensor *t = hd_slot_of(m, slot, l);
        for (size_t r = 0; r < t->rows; r++)
            hd_dequant(t, r, 0, t->cols, *out + l * n + r * t->cols);
    }
    return *out ? 0 : HD_E_NOMEM;
}

int hd_route_init(struct hd_route *r, const struct hd_model *m, const struct hd_kernels *k,
                  unsigned threads)
{
    const struct hd_model_shape *s = &m->shape;
    *r = (struct hd_route){.model = m, .kernels = k};
    if (s->n_experts == 0)
        return 0;
    r->router = calloc(s->n_layers, sizeof *r->router);
    r->logits = calloc((size_t)threads * s->n_experts, sizeof *r->logits);
    r->best = calloc((size_t)threads * s->n_experts, sizeof *r->best);
    r->rows = calloc(s->n_experts, sizeof *r->rows);
    int rc = r->router && r->logits && r->best && r->rows ? 0 : HD_E_NOMEM;
    if (rc == 0)
        rc = load_slot(m, HD_SLOT_ROUTER_BIAS, &r->bias);
    if (rc == 0)
        rc = load_slot(m, HD_SLOT_EXPERT_BIAS, &r->given);
    for (uint32_t l = 0; l < s->n_layers && rc == 0; l++) {
        const struct hd_tensor *t = hd_slot_of(m, HD_SLOT_ROUTER, l);
        rc = hd_weights_init(&r->router[l], t,
                             &(struct hd_slice){.n_rows = t->rows, .n_cols = t->cols});
    }
    return rc;
}

void hd_route_deinit(struct hd_route *r)
{
    for (uint32_t l = 0; r->router && l < r->model->shape.n_layers; l++)
        hd_weights_deinit(&r->router[l]);
    free(r->router);
    free(r->bias);
    free(r->given);
    free(r->logits);
    free(r->best);
    free(r->rows);
    *r = (struct hd_route){0};
}

static void softmax(const struct hd_kernels *k, float *x, size_t n)
{
    float most = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++) {
        x[i] = hd_exp(k, x[i] - most);
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

/* The weights of the best, best first. */
static void weigh(const struct hd_route *r, const struct hd_best *best, float *weights)
{
    size_t n = r->model->shape.n_used;
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = best[i].value;
        sum += weights[i];
    }
    if (r->model->router.top_first)
        softmax(r->kernels, weights, n);
    else if (r->model->router.normalise)
        for (size_t i = 0; i < n; i++)
            weights[i] /= sum;
}

/* Ascending by expert; what is no weight becomes 1, as no worker takes it otherwise. */
static bool put(const struct hd_route *r, const struct hd_best *best, uint32_t *experts,
                float *weights)
{
    bool good = true;
    for (size_t i = 0; i < r->model->shape.n_used; i++) {
        bool is_weight = weights[i] >= 0 && weights[i] < INFINITY;
        float w = is_weight ? weights[i] : 1;
        size_t at = i;
        good = good && is_weight;
        for (; at > 0 && experts[at - 1] > best[i].index; at--) {
            experts[at] = experts[at - 1];
            weights[at] = weights[at - 1];
        }
        experts[at] = best[i].index;
        weights[at] = w;
    }
    return good;
}

bool hd_route_row(struct hd_route *r, unsigned thread, uint32_t layer, const float *x,
                  uint32_t *experts, float *weights)
{
    const struct hd_model_shape *s = &r->model->shape;
    const struct hd_weights *w = &r->router[layer];
    float *logits = r->logits + (size_t)thread * s->n_experts;
    struct hd_best *best = r->best + (size_t)thread * s->n_experts;
    hd_matmul(r->kernels, &(struct hd_matmul_args){.w = w,
                                                   .g1 = w->groups,
                                                   .x = x,
                                                   .x_stride = s->dim,
                                                   .y = logits,
                                                   .y_stride = s->n_experts,
                                                   .rows = 1});
    for (uint32_t e = 0; r->bias && e < s->n_experts; e++)
        logits[e] += r->bias[layer * s->n_experts + e];
    if (!r->model->router.top_first)
        softmax(r->kernels, logits, s->n_experts);
    for (uint32_t e = 0; e < s->n_experts; e++)
        best[e] = (struct hd_best){logits[e], e};
    hd_best_first(best, s->n_experts, s->n_used);
    weigh(r, best, weights);
    bool good = put(r, best, experts, weights);
    for (size_t i = 0; i < s->n_used; i++)
        __atomic_fetch_add(&r->rows[experts[i]], 1, __ATOMIC_RELAXED);
    return good;
}

void hd_route_add(const struct hd_route *r, uint32_t layer, const uint32_t *experts,
                  const float *weights, float *sum)
{
    const struct hd_model_shape *s = &r->model->shape;
    for (size_t i = 0; r->given && i < s->n_used; i++) {
        const float *given = r->given + ((size_t)layer * s->n_experts + experts[i]) * s->dim;
        for (size_t k = 0; k < s->dim; k++)
            sum[k] += weights[i] * given[k];
    }
}
