/* shard.c - which units are owned, and their weights; packing one of them is in pack.c. */
#include "worker/shard.h"

#include "worker/pack.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct hd_shard {
    const struct hd_model *model;
    struct hd_team *team;
    struct hd_units units;
    uint32_t count[HD_SHARD_KINDS];  /* units there are of each kind */
    uint32_t *owned[HD_SHARD_KINDS]; /* [count], the first n_owned are set, ascending */
    size_t n_owned[HD_SHARD_KINDS];
    struct hd_head_weights **head; /* [heads]: NULL or [layers] */
    struct hd_ffn_weights **ffn;   /* [ffn_blocks]: NULL or [layers] */
    struct hd_weights **vocab;     /* [vocab_blocks]: NULL or one */
};

int hd_shard_new(struct hd_shard **out, const struct hd_model *model, struct hd_team *team)
{
    struct hd_shard *s = calloc(1, sizeof *s);
    if (!s)
        return HD_E_NOMEM;
    s->model = model;
    s->team = team;
    hd_model_units(model, &s->units);
    s->count[HD_SHARD_HEAD] = s->units.heads;
    s->count[HD_SHARD_FFN] = s->units.ffn_blocks;
    s->count[HD_SHARD_VOCAB] = s->units.vocab_blocks;
    bool ok = true;
    for (int k = 0; k < HD_SHARD_KINDS; k++) {
        s->owned[k] = calloc(s->count[k], sizeof *s->owned[k]);
        ok = ok && s->owned[k];
    }
    s->head = calloc(s->units.heads, sizeof *s->head);
    s->ffn = calloc(s->units.ffn_blocks, sizeof *s->ffn);
    s->vocab = calloc(s->units.vocab_blocks, sizeof *s->vocab);
    if (!ok || !s->head || !s->ffn || !s->vocab) {
        hd_shard_free(s);
        return HD_E_NOMEM;
    }
    *out = s;
    return 0;
}

/* ---- One unit ----*/

static bool is_held(const struct hd_shard *s, enum hd_shard_kind kind, uint32_t unit)
{
    return kind == HD_SHARD_HEAD  ? s->head[unit] != NULL
           : kind == HD_SHARD_FFN ? s->ffn[unit] != NULL
                                  : s->vocab[unit] != NULL;
}

static void release(struct hd_shard *s, enum hd_shard_kind kind, uint32_t unit)
{
    if (!is_held(s, kind, unit))
        return;
    uint32_t layers = s->model->shape.n_layers;
    if (kind == HD_SHARD_HEAD) {
        for (uint32_t l = 0; l < layers; l++)
            hd_head_weights_deinit(&s->head[unit][l]);
        free(s->head[unit]);
        s->head[unit] = NULL;
    } else if (kind == HD_SHARD_FFN) {
        for (uint32_t l = 0; l < layers; l++)
            hd_ffn_weights_deinit(&s->ffn[unit][l]);
        free(s->ffn[unit]);
        s->ffn[unit] = NULL;
    } else {
        hd_weights_deinit(s->vocab[unit]);
        free(s->vocab[unit]);
        s->vocab[unit] = NULL;
    }
}

/* Room for the weights, all of them empty. */
static int hold(struct hd_shard *s, enum hd_shard_kind kind, uint32_t unit)
{
    uint32_t layers = s->model->shape.n_layers;
    if (kind == HD_SHARD_HEAD)
        s->head[unit] = calloc(layers, sizeof **s->head);
    else if (kind == HD_SHARD_FFN)
        s->ffn[unit] = calloc(layers, sizeof **s->ffn);
    else
        s->vocab[unit] = calloc(1, sizeof **s->vocab);
    return is_held(s, kind, unit) ? 0 : HD_E_NOMEM;
}

/* ---- Loading: one item is one unit in one layer ----*/

struct load_item {
    enum hd_shard_kind kind;
    uint32_t unit, layer;
};

struct load_job {
    struct hd_shard *s;
    struct load_item *items;
    size_t n;
    _Atomic int rc; /* the first failure */
};

static void load_one(void *arg, size_t index, unsigned thread)
{
    struct load_job *job = arg;
    struct hd_shard *s = job->s;
    struct load_item it = job->items[index];
    struct hd_unit_at at = {
        .model = s->model, .units = &s->units, .unit = it.unit, .layer = it.layer};
    int rc;
    (void)thread;
    if (atomic_load_explicit(&job->rc, memory_order_relaxed) < 0)
        return;
    if (it.kind == HD_SHARD_HEAD)
        rc = hd_pack_head(&s->head[it.unit][it.layer], &at);
    else if (it.kind == HD_SHARD_FFN)
        rc = hd_pack_ffn(&s->ffn[it.unit][it.layer], &at);
    else
        rc = hd_pack_vocab(s->vocab[it.unit], &at);
    int none = 0;
    if (rc < 0)
        atomic_compare_exchange_strong(&job->rc, &none, rc);
}

static size_t layers_of(const struct hd_shard *s, enum hd_shard_kind kind)
{
    return kind == HD_SHARD_VOCAB ? 1 : s->model->shape.n_layers;
}

/* Appends the items of the wanted units that are not held yet and makes room for them. */
static int list_new(struct load_job *job, enum hd_shard_kind kind, struct hd_unit_list want)
{
    for (size_t i = 0; i < want.n; i++) {
        uint32_t unit = want.list[i];
        if (is_held(job->s, kind, unit))
            continue;
        if (hold(job->s, kind, unit) < 0)
            return HD_E_NOMEM;
        for (size_t l = 0; l < layers_of(job->s, kind); l++)
            job->items[job->n++] =
                (struct load_item){.kind = kind, .unit = unit, .layer = (uint32_t)l};
    }
    return 0;
}

static int load_new(struct hd_shard *s, const struct hd_unit_list want[HD_SHARD_KINDS])
{
    size_t most = 0;
    for (int k = 0; k < HD_SHARD_KINDS; k++)
        most += want[k].n * layers_of(s, (enum hd_shard_kind)k);
    struct load_job job = {.s = s, .items = malloc((most + 1) * sizeof *job.items)};
    if (!job.items)
        return HD_E_NOMEM;
    int rc = 0;
    for (int k = 0; k < HD_SHARD_KINDS && rc == 0; k++)
        rc = list_new(&job, (enum hd_shard_kind)k, want[k]);
    if (rc == 0 && job.n > 0) {
        hd_team_run(s->team, job.n, load_one, &job);
        rc = atomic_load(&job.rc);
    }
    free(job.items);
    return rc;
}

/* ---- Assigning ----*/

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

/* Keeps of what is held only what `keep` names. */
static void release_others(struct hd_shard *s, enum hd_shard_kind kind, struct hd_unit_list keep)
{
    for (uint32_t u = 0; u < s->count[kind]; u++)
        if (is_held(s, kind, u) && !list_has(keep, u))
            release(s, kind, u);
    size_t n = 0;
    for (size_t i = 0; i < s->n_owned[kind]; i++)
        if (is_held(s, kind, s->owned[kind][i]))
            s->owned[kind][n++] = s->owned[kind][i];
    s->n_owned[kind] = n;
}

int hd_shard_assign(struct hd_shard *s, const struct hd_unit_list want[HD_SHARD_KINDS],
                    struct hd_error *err)
{
    for (int k = 0; k < HD_SHARD_KINDS; k++)
        release_others(s, (enum hd_shard_kind)k, want[k]);
    int rc = load_new(s, want);
    for (int k = 0; k < HD_SHARD_KINDS; k++) {
        if (rc < 0) {
            release_others(s, (enum hd_shard_kind)k, hd_shard_owned(s, (enum hd_shard_kind)k));
            continue;
        }
        if (want[k].n > 0) /* an empty list of a message has no address */
            memcpy(s->owned[k], want[k].list, want[k].n * sizeof *want[k].list);
        s->n_owned[k] = want[k].n;
    }
    if (rc == HD_E_NOMEM)
        return hd_fail(err, rc, "out of memory for the weights of the assigned units");
    return rc < 0 ? hd_fail(err, rc, "cannot pack the weights of the assigned units (%s)",
                            hd_error_name(rc))
                  : 0;
}

void hd_shard_free(struct hd_shard *s)
{
    if (!s)
        return;
    for (int k = 0; k < HD_SHARD_KINDS; k++) {
        for (size_t i = 0; s->owned[k] && i < s->n_owned[k]; i++)
            release(s, (enum hd_shard_kind)k, s->owned[k][i]);
        free(s->owned[k]);
    }
    free(s->head);
    free(s->ffn);
    free(s->vocab);
    free(s);
}

/* ---- Views ----*/

struct hd_unit_list hd_shard_owned(const struct hd_shard *s, enum hd_shard_kind kind)
{
    return (struct hd_unit_list){.list = s->owned[kind], .n = s->n_owned[kind]};
}

bool hd_shard_owns(const struct hd_shard *s, enum hd_shard_kind kind, uint32_t unit)
{
    return list_has(hd_shard_owned(s, kind), unit);
}

const struct hd_units *hd_shard_units(const struct hd_shard *s)
{
    return &s->units;
}

const struct hd_head_weights *hd_shard_head(const struct hd_shard *s, uint32_t head, uint32_t layer)
{
    return &s->head[head][layer];
}

const struct hd_ffn_weights *hd_shard_ffn(const struct hd_shard *s, uint32_t block, uint32_t layer)
{
    return &s->ffn[block][layer];
}

const struct hd_weights *hd_shard_vocab(const struct hd_shard *s, uint32_t block)
{
    return s->vocab[block];
}

static uint64_t bytes_of(const struct hd_weights *w)
{
    return (uint64_t)w->groups * w->group_bytes;
}

uint64_t hd_shard_bytes(const struct hd_shard *s)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < s->model->shape.n_layers; l++) {
        for (size_t i = 0; i < s->n_owned[HD_SHARD_HEAD]; i++) {
            const struct hd_head_weights *w = &s->head[s->owned[HD_SHARD_HEAD][i]][l];
            sum += bytes_of(&w->q) + bytes_of(&w->k) + bytes_of(&w->v) + bytes_of(&w->o);
        }
        for (size_t i = 0; i < s->n_owned[HD_SHARD_FFN]; i++) {
            const struct hd_ffn_weights *w = &s->ffn[s->owned[HD_SHARD_FFN][i]][l];
            sum += bytes_of(&w->gate) + bytes_of(&w->up) + bytes_of(&w->down);
        }
    }
    for (size_t i = 0; i < s->n_owned[HD_SHARD_VOCAB]; i++)
        sum += bytes_of(s->vocab[s->owned[HD_SHARD_VOCAB][i]]);
    return sum;
}
