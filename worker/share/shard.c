/* shard.c - which units are owned and held; their weights are in load.c. */
#include "worker/share/shard_impl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int hd_shard_new(struct hd_shard **out, struct hd_device *d)
{
    struct hd_shard *s = calloc(1, sizeof *s);
    if (!s)
        return HD_E_NOMEM;
    s->device = d;
    s->units = d->units;
    s->count[HD_UNIT_HEAD] = s->units.heads;
    s->count[HD_UNIT_FFN] = s->units.ffn_blocks;
    s->count[HD_UNIT_VOCAB] = s->units.vocab_blocks;
    bool ok = true;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        s->owned[k].list = calloc(s->count[k], sizeof(uint32_t));
        s->held[k].list = calloc(s->count[k], sizeof(uint32_t));
        s->loaded[k] = calloc(s->count[k], sizeof(uint32_t));
        ok = ok && s->owned[k].list && s->held[k].list && s->loaded[k];
    }
    s->followed.list = calloc(s->count[HD_UNIT_HEAD], sizeof(uint32_t));
    s->bare.list = calloc(s->count[HD_UNIT_HEAD], sizeof(uint32_t));
    ok = ok && s->followed.list && s->bare.list;
    s->seals = calloc(hd_piece_count(d->o.model, &s->units), sizeof *s->seals);
    if (!ok || !s->seals || d->ops->weights_new(d, &s->memory) < 0) {
        hd_shard_free(s);
        return HD_E_NOMEM;
    }
    hd_shard_seal_tables(s);
    *out = s;
    return 0;
}

struct hd_device_weights *hd_shard_memory(const struct hd_shard *s)
{
    return s->memory;
}

void hd_shard_tell_loading(struct hd_shard *s, _Atomic uint64_t *bytes)
{
    s->loading = bytes;
}

void hd_shard_set_supply(struct hd_shard *s, struct hd_supply *supply)
{
    s->supply = supply;
}

/* ---- Lists ----*/

static bool list_has(struct hd_unit_list l, uint32_t unit)
{
    size_t lo = 0, hi = l.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l.list[mid] == unit)
            return true;
        if (l.list[mid] < unit)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static void set_list(struct unit_set *set, struct hd_unit_list want)
{
    if (want.n > 0) /* an empty list of a message has no address */
        memmove(set->list, want.list, want.n * sizeof *want.list);
    set->n = want.n;
}

/* Says what went wrong, if nobody has said it yet. */
static int fail(int rc, const char *which, struct hd_error *err)
{
    if (err && err->code == rc)
        return rc;
    if (rc == HD_E_NOMEM)
        return hd_fail(err, rc, "out of memory for the weights of the %s units", which);
    return hd_fail(err, rc, "cannot pack the weights of the %s units (%s)", which,
                   hd_error_name(rc));
}

int hd_shard_assign(struct hd_shard *s, const struct hd_unit_list want[HD_UNIT_KINDS],
                    struct hd_error *err)
{
    int rc = hd_shard_load_list(s, &(struct hd_shard_wish){.units = want}, SIZE_MAX, err);
    if (rc < 0)
        return fail(rc, "assigned", err);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        set_list(&s->owned[k], want[k]);
    hd_shard_seal_tables(s);
    return rc;
}

int hd_shard_mend(struct hd_shard *s, struct hd_error *err)
{
    struct hd_unit_list owned[HD_UNIT_KINDS];
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        owned[k] = hd_shard_owned(s, (enum hd_unit_kind)k);
    int rc = hd_shard_load_list(s, &(struct hd_shard_wish){.units = owned}, SIZE_MAX, err);
    return rc < 0 ? fail(rc, "damaged", err) : rc;
}

/* The held heads fall into two. */
static void part_heads(struct hd_shard *s, struct hd_unit_list bare)
{
    const struct unit_set *held = &s->held[HD_UNIT_HEAD];
    s->followed.n = s->bare.n = 0;
    for (size_t i = 0; i < held->n; i++) {
        struct unit_set *to = list_has(bare, held->list[i]) ? &s->bare : &s->followed;
        to->list[to->n++] = held->list[i];
    }
}

void hd_shard_hold(struct hd_shard *s, const struct hd_unit_list want[HD_UNIT_KINDS],
                   struct hd_unit_list bare)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        s->held[k].n = 0;
        for (size_t i = 0; i < want[k].n; i++)
            if (!hd_shard_owns(s, (struct hd_shard_unit){(enum hd_unit_kind)k, want[k].list[i]}))
                s->held[k].list[s->held[k].n++] = want[k].list[i];
    }
    part_heads(s, bare);
    hd_shard_seal_tables(s);
}

void hd_shard_leave(struct hd_shard *s)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        s->owned[k].n = s->held[k].n = 0;
    s->followed.n = s->bare.n = 0;
    hd_shard_seal_tables(s);
}

int hd_shard_load(struct hd_shard *s, size_t max, struct hd_error *err)
{
    struct hd_unit_list want[HD_UNIT_KINDS];
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        want[k] = hd_shard_held(s, (enum hd_unit_kind)k);
    int rc = hd_shard_load_list(s, &(struct hd_shard_wish){.units = want}, max, err);
    return rc < 0 ? fail(rc, "held", err) : rc;
}

int hd_shard_load_layer(struct hd_shard *s, const struct hd_shard_layer *what, size_t max,
                        struct hd_error *err)
{
    struct hd_unit_list want[HD_UNIT_KINDS] = {{0}};
    want[what->kind] = what->units;
    struct hd_shard_wish wish = {.units = want, .one_layer = true, .layer = what->layer};
    int rc = hd_shard_load_list(s, &wish, max, err);
    return rc < 0 ? fail(rc, "audited", err) : rc;
}

bool hd_shard_surplus(const struct hd_shard *s, struct hd_shard_unit *u)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t i = 0; i < s->count[k]; i++) {
            *u = (struct hd_shard_unit){(enum hd_unit_kind)k, i};
            if (hd_shard_has_any(s, *u) && !hd_shard_owns(s, *u) && !hd_shard_holds(s, *u))
                return true;
        }
    return false;
}

void hd_shard_free(struct hd_shard *s)
{
    if (!s)
        return;
    if (s->memory)
        s->device->ops->weights_free(s->memory);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        free(s->owned[k].list);
        free(s->held[k].list);
        free(s->loaded[k]);
    }
    free(s->followed.list);
    free(s->bare.list);
    free(s->seals);
    free(s);
}

/* ---- Views ----*/

static struct hd_unit_list list_of(const struct unit_set *set)
{
    return (struct hd_unit_list){.list = set->list, .n = set->n};
}

struct hd_unit_list hd_shard_owned(const struct hd_shard *s, enum hd_unit_kind kind)
{
    return list_of(&s->owned[kind]);
}

struct hd_unit_list hd_shard_held(const struct hd_shard *s, enum hd_unit_kind kind)
{
    return list_of(&s->held[kind]);
}

bool hd_shard_owns(const struct hd_shard *s, struct hd_shard_unit u)
{
    return list_has(hd_shard_owned(s, u.kind), u.unit);
}

bool hd_shard_holds(const struct hd_shard *s, struct hd_shard_unit u)
{
    return list_has(hd_shard_held(s, u.kind), u.unit);
}

struct hd_unit_list hd_shard_followed(const struct hd_shard *s)
{
    return list_of(&s->followed);
}

struct hd_unit_list hd_shard_bare(const struct hd_shard *s)
{
    return list_of(&s->bare);
}

bool hd_shard_keeps(const struct hd_shard *s, struct hd_shard_unit u)
{
    bool bare = u.kind == HD_UNIT_HEAD && list_has(hd_shard_bare(s), u.unit);
    return hd_shard_owns(s, u) || (hd_shard_holds(s, u) && !bare);
}

const struct hd_units *hd_shard_units(const struct hd_shard *s)
{
    return &s->units;
}

uint64_t hd_shard_bytes(const struct hd_shard *s)
{
    return s->bytes;
}
