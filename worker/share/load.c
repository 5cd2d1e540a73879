/* load.c - the weights of units: which are there, loading what is missing, freeing. A piece is one
 * unit in one layer (a vocab block is one piece).
 *
 * With a supply every piece is loaded from a buffer whose bytes have the leader's digest, whatever
 * they come from. Without one they are the model's, and nobody compares. */
#include "worker/share/shard_impl.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

static uint32_t layers_of(const struct hd_shard *s, enum hd_unit_kind kind)
{
    return kind == HD_UNIT_VOCAB ? 1 : s->device->o.model->shape.n_layers;
}

/* Of the device's memory; 0 when the piece is not there. */
static uint64_t piece_bytes(const struct hd_shard *s, struct hd_shard_unit u, uint32_t layer)
{
    return s->device->ops->piece_bytes(s->memory, hd_shard_place(u, layer));
}

bool hd_shard_has_any(const struct hd_shard *s, struct hd_shard_unit u)
{
    return s->loaded[u.kind][u.unit] > 0;
}

bool hd_shard_has(const struct hd_shard *s, struct hd_shard_unit u, uint32_t layer)
{
    return hd_shard_has_any(s, u) && piece_bytes(s, u, layer) > 0;
}

bool hd_shard_has_whole(const struct hd_shard *s, struct hd_shard_unit u)
{
    return s->loaded[u.kind][u.unit] == layers_of(s, u.kind);
}

void hd_shard_release_piece(struct hd_shard *s, struct hd_shard_unit u, uint32_t layer)
{
    if (!hd_shard_has(s, u, layer))
        return;
    s->bytes -= piece_bytes(s, u, layer);
    s->loaded[u.kind][u.unit]--;
    s->device->ops->release(s->memory, hd_shard_place(u, layer));
}

void hd_shard_release(struct hd_shard *s, struct hd_shard_unit u)
{
    for (uint32_t l = 0; l < layers_of(s, u.kind); l++)
        hd_shard_release_piece(s, u, l);
}

/* ---- Loading ----*/

struct piece {
    struct hd_shard_unit u;
    uint32_t layer;
    struct hd_piece_bytes *bytes; /* NULL: the model has its data */
    bool refused;                 /* the model's data are not what they should be */
};

/* What a thread gathers a piece into. Mapped by itself: on the heap it would leave a hole between
 * the packed pieces with each slice of a few, which nothing of that size fills. */
struct buffer {
    uint8_t *data;
    size_t len;
};

struct load_job {
    struct hd_shard *s;
    struct piece *pieces;
    size_t n, max;
    struct buffer *buffers; /* [threads] */
    _Atomic int rc;         /* the first failure */
};

static struct hd_piece_at place_of(const struct piece *p)
{
    return hd_shard_place(p->u, p->layer);
}

static void drop(struct buffer *b)
{
    if (b->data)
        munmap(b->data, b->len);
    *b = (struct buffer){0};
}

static int grow(struct buffer *b, size_t len)
{
    if (b->len >= len)
        return 0;
    drop(b);
    void *data = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return HD_E_NOMEM;
    *b = (struct buffer){data, len};
    return 0;
}

static int load_piece(struct hd_shard *s, const struct piece *p, const uint8_t *bytes)
{
    int rc = s->device->ops->load(s->memory, place_of(p), bytes);
    if (rc == 0)
        hd_shard_seal(s, p->u, p->layer);
    return rc;
}

/* What is loaded is what was hashed: the bytes are gathered once, and the file may change behind.
 */
static int load_own(struct hd_shard *s, struct piece *p, struct buffer *b)
{
    struct hd_piece_at at = place_of(p);
    int rc = grow(b, hd_supply_piece_bytes(s->supply, at));
    if (rc < 0)
        return rc;
    p->refused = !hd_supply_read_own(s->supply, at, b->data);
    return p->refused ? 0 : load_piece(s, p, b->data);
}

static void load_one(void *arg, size_t index, unsigned thread)
{
    struct load_job *job = arg;
    struct piece *p = &job->pieces[index];
    if (atomic_load_explicit(&job->rc, memory_order_relaxed) < 0)
        return;
    int rc = p->bytes         ? load_piece(job->s, p, p->bytes->data)
             : job->s->supply ? load_own(job->s, p, &job->buffers[thread])
                              : load_piece(job->s, p, NULL);
    int none = 0;
    if (job->s->loading && rc == 0 && !p->refused)
        atomic_fetch_add(job->s->loading, piece_bytes(job->s, p->u, p->layer));
    if (rc < 0)
        atomic_compare_exchange_strong(&job->rc, &none, rc);
}

static void count_piece(struct hd_shard *s, const struct piece *p)
{
    uint64_t bytes = piece_bytes(s, p->u, p->layer);
    s->loaded[p->u.kind][p->u.unit] += bytes > 0;
    s->bytes += bytes;
}

/* Loads the pieces of the list. */
static int load_all(struct load_job *job)
{
    unsigned threads = hd_team_threads(job->s->device->o.team);
    job->buffers = calloc(threads, sizeof *job->buffers);
    if (!job->buffers)
        return HD_E_NOMEM;
    hd_team_run(job->s->device->o.team, job->n, load_one, job);
    for (unsigned i = 0; i < threads; i++)
        drop(&job->buffers[i]);
    free(job->buffers);
    for (size_t i = 0; i < job->n; i++)
        count_piece(job->s, &job->pieces[i]);
    return atomic_load(&job->rc);
}

static bool is_missing(const struct hd_shard *s, const struct hd_shard_wish *wish,
                       struct hd_shard_unit u, uint32_t layer)
{
    return (!wish->one_layer || layer == wish->layer) && !hd_shard_has(s, u, layer);
}

/* Appends the missing pieces of a unit. */
static void list_missing(struct load_job *job, const struct hd_shard_wish *wish,
                         struct hd_shard_unit u)
{
    for (uint32_t l = 0; l < layers_of(job->s, u.kind) && job->n < job->max; l++)
        if (is_missing(job->s, wish, u, l))
            job->pieces[job->n++] = (struct piece){.u = u, .layer = l};
}

/* Those that are missing, at most max. */
static size_t count_missing(const struct hd_shard *s, const struct hd_shard_wish *wish, size_t max)
{
    size_t n = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (size_t i = 0; i < wish->units[k].n && n < max; i++) {
            struct hd_shard_unit u = {(enum hd_unit_kind)k, wish->units[k].list[i]};
            for (uint32_t l = 0; l < layers_of(s, u.kind); l++)
                n += is_missing(s, wish, u, l);
        }
    return n < max ? n : max;
}

/* ---- From the supply ----*/

/* Moves what is at hand of the list to the batch: at most `max` pieces, and `some` of them whose
 * bytes are in memory. */
static int take_supplied(struct load_job *missing, struct load_job *batch, size_t max, size_t some)
{
    size_t kept = 0, in_memory = 0;
    int rc = 0;
    for (size_t i = 0; i < missing->n; i++) {
        struct piece p = missing->pieces[i];
        bool taken = false;
        if (rc >= 0 && batch->n < max && in_memory < some) {
            rc = hd_supply_get(batch->s->supply, place_of(&p), &p.bytes);
            taken = rc == HD_SUPPLY_HERE || rc == HD_SUPPLY_OWN;
            in_memory += rc == HD_SUPPLY_HERE;
        }
        if (taken)
            batch->pieces[batch->n++] = p;
        else
            missing->pieces[kept++] = p;
    }
    missing->n = kept;
    return rc < 0 ? rc : 0;
}

/* Loads the batch. What was refused is missing again, and comes from elsewhere. */
static int load_batch(struct load_job *batch, struct load_job *missing)
{
    int rc = load_all(batch);
    for (size_t i = 0; i < batch->n; i++) {
        struct piece *p = &batch->pieces[i];
        hd_piece_bytes_unref(p->bytes);
        if (!p->refused)
            continue;
        hd_supply_refuse_own(batch->s->supply, place_of(p));
        missing->pieces[missing->n++] = (struct piece){.u = p->u, .layer = p->layer};
    }
    return rc;
}

/* Loads what is at hand, up to `max` pieces; with `wait` all of the list, as it comes. */
static int load_supplied(struct load_job *missing, size_t max, bool wait, struct hd_error *err)
{
    struct hd_shard *s = missing->s;
    size_t some = 2 * (size_t)hd_team_threads(s->device->o.team);
    struct load_job batch = {.s = s};
    max = max < missing->n ? max : missing->n;
    batch.pieces = malloc(max * sizeof *batch.pieces);
    int rc = batch.pieces ? 0 : HD_E_NOMEM;
    bool loaded = false;
    while (rc == 0 && missing->n > 0) {
        batch.n = 0;
        rc = take_supplied(missing, &batch, max, some);
        int packed = load_batch(&batch, missing);
        rc = rc < 0 ? rc : packed;
        loaded = loaded || batch.n > 0;
        if (rc < 0 || !wait)
            break;
        if (batch.n == 0)
            rc = hd_supply_wait(s->supply, err);
    }
    free(batch.pieces);
    return rc < 0 ? rc : loaded ? HD_SHARD_LOADED : HD_SHARD_WAITING;
}

/* ---- What is missing ----*/

int hd_shard_load_list(struct hd_shard *s, const struct hd_shard_wish *wish, size_t max,
                       struct hd_error *err)
{
    /* What is at hand of a supply may be anywhere in the list. */
    struct load_job job = {.s = s, .max = count_missing(s, wish, s->supply ? SIZE_MAX : max)};
    if (job.max == 0)
        return HD_SHARD_COMPLETE;
    job.pieces = malloc(job.max * sizeof *job.pieces);
    if (!job.pieces)
        return HD_E_NOMEM;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (size_t i = 0; i < wish->units[k].n; i++)
            list_missing(&job, wish,
                         (struct hd_shard_unit){(enum hd_unit_kind)k, wish->units[k].list[i]});
    int rc;
    if (s->supply) {
        rc = load_supplied(&job, max, max == SIZE_MAX, err);
    } else {
        rc = load_all(&job);
        rc = rc < 0 ? rc : HD_SHARD_LOADED;
    }
    free(job.pieces);
    return rc;
}
