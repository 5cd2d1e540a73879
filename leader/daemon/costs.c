/* costs.c - what a unit costs its worker: arithmetic, memory, messages. For the strategies. */
#include "common/model/arch.h"
#include "leader/daemon/leader_impl.h"

/* Positions of K/V that a plan makes room for; longer contexts share what memory is left. */
#define PLANNED_POSITIONS 4096

/* Of experts a row takes a few, and all are kept. Which ones is the text's matter: the plan reckons
 * with each as often as with any other. */
static void add_matrix(struct hd_unit_cost *c, const struct hd_model *m, enum hd_slot_id slot,
                       uint32_t layer)
{
    const struct hd_tensor *t = hd_slot_of(m, slot, layer);
    struct hd_slice all = {.n_rows = t->rows, .n_cols = t->cols};
    bool experts = m->shape.n_experts && hd_slots[slot].of_expert;
    c->work += (double)t->rows * (double)t->cols * (experts ? m->shape.n_used : 1);
    c->bytes += (double)hd_weights_bytes(t, &all) * (experts ? m->shape.n_experts : 1);
}

/* Layers with a window keep all rows: others may share a prefix that ends anywhere, and audits and
 * cuts go back. */
double hd_leader_kv_position_bytes(const struct hd_leader *l)
{
    const struct hd_model_shape *m = &l->model->shape;
    double element = l->o.config->kv_type == HD_KV_F32 ? 4 : 2;
    return 2.0 * m->n_layers * m->head_dim * element;
}

double hd_leader_kv_bytes(const struct hd_leader *l)
{
    uint32_t positions = l->context < PLANNED_POSITIONS ? l->context : PLANNED_POSITIONS;
    return positions * hd_leader_kv_position_bytes(l);
}

void hd_leader_unit_costs(const struct hd_leader *l, struct hd_unit_cost cost[HD_UNIT_KINDS])
{
    const struct hd_model_shape *m = &l->model->shape;
    const uint32_t units[HD_UNIT_KINDS] = {l->units.heads, l->units.ffn_blocks,
                                           l->units.vocab_blocks};
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        cost[k] = (struct hd_unit_cost){0};
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        for (uint32_t i = 0; i < hd_slot_layers(l->model, s) && hd_slot_is_units(s); i++)
            add_matrix(&cost[hd_slots[s].unit], l->model, s, i);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        cost[k].work /= units[k];
        cost[k].bytes /= units[k];
        cost[k].trips = k == HD_UNIT_VOCAB ? 1 : m->n_layers;
        cost[k].trip_bytes = (double)hd_model_row_bytes(l->model, l->activations) +
                             (double)hd_model_sum_bytes(l->model, l->wire); /* its sums back */
    }
    cost[HD_UNIT_HEAD].bytes += hd_leader_kv_bytes(l);
}
