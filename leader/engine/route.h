/* route.h - which experts a row takes, and with which weights: the leader's part of a layer with
 * experts.
 *
 * A function of the row alone: its normalised f32 values, before they are rounded for the wire,
 * times the layer's router, one fused multiply-add chain an expert. Between equal experts it
 * decides as the reference does (best.h). */
#ifndef HD_ENGINE_ROUTE_H
#define HD_ENGINE_ROUTE_H

#include "common/math/kernels.h"
#include "common/model/model.h"
#include "leader/engine/best.h"

struct hd_route {
    const struct hd_model *model;
    const struct hd_kernels *kernels;
    struct hd_weights *router; /* [n_layers]; NULL: the model has no experts */
    float *bias;               /* [n_layers][n_experts], of its logits; NULL: none */
    float *given;              /* [n_layers][n_experts][dim], of what experts give; NULL: none */
    float *logits;             /* [threads][n_experts] */
    struct hd_best *best;      /* [threads][n_experts] */
    uint64_t *rows;            /* [n_experts]: that took it, in all layers */
};

/* For up to `threads` at once. 0, or what packing says. A model without experts needs nothing. */
int hd_route_init(struct hd_route *r, const struct hd_model *m, const struct hd_kernels *k,
                  unsigned threads);
void hd_route_deinit(struct hd_route *r);

/* The experts [n_used] of a row x [dim], ascending, and their weights. False: the weights are no
 * numbers; then they are 1, and the row is bad. */
bool hd_route_row(struct hd_route *r, unsigned thread, uint32_t layer, const float *x,
                  uint32_t *experts, float *weights);

/* sum [dim] += what the experts of a row add whoever computes them, times their weights. */
void hd_route_add(const struct hd_route *r, uint32_t layer, const uint32_t *experts,
                  const float *weights, float *sum);

#endif
