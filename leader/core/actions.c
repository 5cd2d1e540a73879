/* actions.c - what one event gives: room for it is made before anything changes, so that no event
 * is carried out by half. */
#include "leader/core/core_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* An event may let somebody in, have logs filled, begin an epoch, a move, and the epoch of a move
 * for which nothing was to be prepared. */
#define MOST_ORDERS 6

static void free_orders(struct hd_orders *a)
{
    if (!a)
        return;
    hd_plan_deinit(&a->plan);
    hd_holds_deinit(&a->hold);
    free(a);
}

static struct hd_orders *new_orders(const uint32_t units[HD_UNIT_KINDS])
{
    struct hd_orders *a = calloc(1, sizeof *a);
    if (a && hd_plan_init(&a->plan, units) == 0 && hd_holds_init(&a->hold, units) == 0)
        return a;
    free_orders(a);
    return NULL;
}

static int reserve_orders(struct hd_actions *a, const uint32_t units[HD_UNIT_KINDS])
{
    size_t want = a->n_orders + MOST_ORDERS;
    if (a->cap_orders >= want)
        return 0;
    struct hd_orders **list = realloc(a->orders, want * sizeof *list);
    if (!list)
        return HD_E_NOMEM;
    a->orders = list;
    while (a->cap_orders < want) {
        list[a->cap_orders] = new_orders(units);
        if (!list[a->cap_orders])
            return HD_E_NOMEM;
        a->cap_orders++;
    }
    return 0;
}

int core_reserve(const struct hd_core *c, struct hd_actions *a)
{
    int rc = reserve_orders(a, c->o.units);
    if (rc < 0 || a->cap - a->n >= MAX_ACTIONS)
        return rc;
    size_t cap = a->n + 2 * MAX_ACTIONS;
    struct hd_action *list = realloc(a->list, cap * sizeof *list);
    if (!list)
        return HD_E_NOMEM;
    a->list = list;
    a->cap = cap;
    return 0;
}

void hd_actions_clear(struct hd_actions *a)
{
    a->n = a->n_orders = 0;
}

void hd_actions_deinit(struct hd_actions *a)
{
    for (size_t i = 0; i < a->cap_orders; i++)
        free_orders(a->orders[i]);
    free(a->orders);
    free(a->list);
    *a = (struct hd_actions){0};
}

struct hd_action *core_push(struct hd_core *c, enum hd_action_type type, unsigned slot)
{
    assert(c->out->n < c->out->cap);
    struct hd_action *a = &c->out->list[c->out->n++];
    *a = (struct hd_action){.type = type, .slot = slot, .epoch = hd_core_epoch(c)};
    return a;
}

const struct hd_orders *core_orders(struct hd_core *c)
{
    struct hd_actions *out = c->out;
    assert(out->n_orders < out->cap_orders);
    struct hd_orders *a = out->orders[out->n_orders++];
    hd_plan_copy(&a->plan, hd_core_plan(c));
    hd_holds_copy(&a->hold, hd_core_hold(c));
    core_needs(c, a);
    return a;
}
