/* supply.c - three sources in turn: the own file, what was kept, the leader; one check for all of
 * them. */
#include "worker/weights/supply.h"

#include <stdlib.h>
#include <string.h>

/* A piece that is on the way (`at` is known, not all of it has come) or here. */
struct parcel {
    bool used;
    bool wanted; /* somebody will take it; else it is only kept */
    bool here;
    struct hd_piece_at at;
    size_t index;
    uint64_t since; /* a number that grows with each parcel */
    size_t asked, got;
    struct hd_piece_bytes *bytes;
};

struct hd_supply {
    struct hd_supply_options o;
    struct hd_units units;
    size_t n;            /* pieces */
    uint64_t *digest;    /* [n]: as the leader says; 0 = it has not said */
    bool *refused;       /* [n]: the own file has other bytes */
    size_t next_ahead;   /* the piece that is looked at next; n: all were */
    unsigned window;     /* chunks */
    unsigned on_the_way; /* chunks */
    uint64_t n_parcels;
    struct parcel parcels[HD_SUPPLY_OPEN];
    struct hd_supply_totals totals;
};

int hd_supply_new(struct hd_supply **out, const struct hd_supply_options *o)
{
    struct hd_supply *s = calloc(1, sizeof *s);
    if (!s)
        return HD_E_NOMEM;
    s->o = *o;
    s->window = HD_WEIGHTS_IN_FLIGHT;
    hd_model_units(o->model, &s->units);
    s->n = hd_piece_count(o->model, &s->units);
    s->digest = calloc(s->n, sizeof *s->digest);
    s->refused = calloc(s->n, sizeof *s->refused);
    if (!s->digest || !s->refused) {
        hd_supply_free(s);
        return HD_E_NOMEM;
    }
    *out = s;
    return 0;
}

static void close_parcel(struct parcel *p)
{
    hd_piece_bytes_unref(p->bytes);
    *p = (struct parcel){0};
}

void hd_supply_begin(struct hd_supply *s)
{
    for (size_t i = 0; i < HD_SUPPLY_OPEN; i++)
        close_parcel(&s->parcels[i]);
    s->on_the_way = 0;
    s->next_ahead = 0;
}

void hd_supply_free(struct hd_supply *s)
{
    if (!s)
        return;
    hd_supply_begin(s);
    free(s->digest);
    free(s->refused);
    free(s);
}

void hd_supply_set_window(struct hd_supply *s, unsigned chunks)
{
    s->window = chunks;
}

size_t hd_supply_piece_bytes(const struct hd_supply *s, struct hd_piece_at at)
{
    struct hd_cuts cuts = hd_piece_cuts(s->o.model, &s->units, at);
    return hd_piece_bytes(&cuts);
}

void hd_supply_learn(struct hd_supply *s, size_t first, const uint64_t *digests, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->digest[first + i] != digests[i])
            s->refused[first + i] = false;
        s->digest[first + i] = digests[i];
    }
}

uint64_t hd_supply_digest(const struct hd_supply *s, size_t index)
{
    return s->digest[index];
}

/* ---- Asking ----*/

static void ask(struct hd_supply *s, struct parcel *p)
{
    struct hd_weights_ask a = {.at = p->at, .offset = p->asked};
    size_t left = p->bytes->len - p->asked;
    p->asked += left < HD_WEIGHTS_CHUNK ? left : HD_WEIGHTS_CHUNK;
    s->on_the_way++;
    s->o.ask(s->o.arg, &a);
}

/* The parcel that may ask for something, the oldest first. */
static struct parcel *next_to_ask(struct hd_supply *s)
{
    struct parcel *best = NULL;
    for (size_t i = 0; i < HD_SUPPLY_OPEN; i++) {
        struct parcel *p = &s->parcels[i];
        bool may = p->used && !p->here && p->asked < p->bytes->len;
        if (may && (!best || p->since < best->since))
            best = p;
    }
    return best;
}

bool hd_supply_wants_more(const struct hd_supply *s)
{
    return s->on_the_way < s->window && next_to_ask((struct hd_supply *)s) != NULL;
}

bool hd_supply_on_the_way(const struct hd_supply *s)
{
    return s->on_the_way > 0;
}

void hd_supply_pump(struct hd_supply *s)
{
    struct parcel *p;
    while (s->on_the_way < s->window && (p = next_to_ask(s)) != NULL)
        ask(s, p);
}

static struct parcel *find(struct hd_supply *s, struct hd_piece_at at)
{
    for (size_t i = 0; i < HD_SUPPLY_OPEN; i++) {
        struct parcel *p = &s->parcels[i];
        if (p->used && p->at.kind == at.kind && p->at.unit == at.unit && p->at.layer == at.layer)
            return p;
    }
    return NULL;
}

/* An unused one, or else the oldest that is here and was not taken; NULL: all are on the way. */
static struct parcel *find_free(struct hd_supply *s)
{
    struct parcel *best = NULL;
    for (size_t i = 0; i < HD_SUPPLY_OPEN; i++) {
        struct parcel *p = &s->parcels[i];
        if (!p->used)
            return p;
        if (p->here && (!best || p->since < best->since))
            best = p;
    }
    return best;
}

/* HD_SUPPLY_LATER or HD_E_NOMEM. */
static int open_parcel(struct hd_supply *s, struct hd_piece_at at, bool wanted)
{
    struct parcel *p = find_free(s);
    if (!p)
        return HD_SUPPLY_LATER;
    close_parcel(p);
    struct hd_piece_bytes *bytes = hd_piece_bytes_new(hd_supply_piece_bytes(s, at));
    if (!bytes)
        return HD_E_NOMEM;
    *p = (struct parcel){.used = true,
                         .wanted = wanted,
                         .at = at,
                         .index = hd_piece_index(s->o.model, &s->units, at),
                         .since = ++s->n_parcels,
                         .bytes = bytes};
    return HD_SUPPLY_LATER;
}

/* ---- Getting ----*/

static bool has_own(const struct hd_supply *s, struct hd_piece_at at)
{
    struct hd_cuts cuts = hd_piece_cuts(s->o.model, &s->units, at);
    return cuts.cut[0].t.data != NULL;
}

bool hd_supply_read_own(const struct hd_supply *s, struct hd_piece_at at, uint8_t *to)
{
    struct hd_cuts cuts = hd_piece_cuts(s->o.model, &s->units, at);
    size_t n = hd_piece_bytes(&cuts);
    hd_piece_copy(&cuts, 0, n, to);
    return hd_piece_digest(to, n) == s->digest[hd_piece_index(s->o.model, &s->units, at)];
}

static void refuse(struct hd_supply *s, struct hd_piece_at at, enum hd_supply_source from)
{
    s->totals.refused++;
    s->o.refused(s->o.arg, at, from);
}

void hd_supply_refuse_own(struct hd_supply *s, struct hd_piece_at at)
{
    bool *refused = &s->refused[hd_piece_index(s->o.model, &s->units, at)];
    if (!*refused)
        refuse(s, at, HD_SUPPLY_FILE);
    *refused = true;
}

/* HD_CACHE_HIT, HD_CACHE_MISS or HD_E_NOMEM. What is damaged is not there any more. */
static int read_kept(struct hd_supply *s, struct hd_piece_at at, size_t index,
                     struct hd_piece_bytes **out)
{
    if (!s->o.cache)
        return HD_CACHE_MISS;
    int rc = hd_weights_cache_read(s->o.cache, index, s->digest[index], out);
    s->totals.kept += rc == HD_CACHE_HIT;
    if (rc != HD_CACHE_DAMAGED)
        return rc;
    refuse(s, at, HD_SUPPLY_KEPT);
    return HD_CACHE_MISS;
}

int hd_supply_get(struct hd_supply *s, struct hd_piece_at at, struct hd_piece_bytes **out)
{
    struct parcel *p = find(s, at);
    *out = NULL;
    if (p && p->here) {
        *out = hd_piece_bytes_ref(p->bytes);
        close_parcel(p);
        return HD_SUPPLY_HERE;
    }
    if (p) {
        p->wanted = true;
        return HD_SUPPLY_LATER;
    }
    size_t index = hd_piece_index(s->o.model, &s->units, at);
    if (has_own(s, at) && !s->refused[index])
        return HD_SUPPLY_OWN;
    int rc = read_kept(s, at, index, out);
    if (rc != HD_CACHE_MISS)
        return rc < 0 ? rc : HD_SUPPLY_HERE;
    if (!find_free(s))
        return HD_SUPPLY_LATER;
    rc = open_parcel(s, at, true);
    if (rc == HD_SUPPLY_LATER)
        hd_supply_pump(s);
    return rc;
}

int hd_supply_wait(struct hd_supply *s, struct hd_error *err)
{
    hd_supply_pump(s);
    return s->o.wait(s->o.arg, err);
}

/* ---- What comes ----*/

/* All of it has come. */
static int finish(struct hd_supply *s, struct parcel *p, struct hd_error *err)
{
    if (hd_piece_digest(p->bytes->data, p->bytes->len) != s->digest[p->index])
        return hd_fail(err, HD_E_PROTO,
                       "Weights: kind %u, unit %u, layer %u is not what its digest says",
                       (unsigned)p->at.kind, p->at.unit, p->at.layer);
    p->bytes->digest = s->digest[p->index];
    p->here = true;
    s->totals.fetched++;
    s->totals.fetched_bytes += p->bytes->len;
    if (s->o.cache)
        hd_weights_cache_write(s->o.cache, p->index, p->bytes);
    if (!p->wanted)
        close_parcel(p);
    return 0;
}

int hd_supply_take(struct hd_supply *s, const struct hd_weights_answer *a, struct hd_error *err)
{
    struct parcel *p = find(s, a->at);
    if (!p || p->here || a->offset >= p->asked || a->offset % HD_WEIGHTS_CHUNK != 0 ||
        s->on_the_way == 0)
        return hd_fail(err, HD_E_PROTO, "Weights: bytes that nobody has asked for");
    s->on_the_way--;
    size_t left = p->bytes->len - (size_t)a->offset;
    if (a->n != (left < HD_WEIGHTS_CHUNK ? left : HD_WEIGHTS_CHUNK))
        return hd_fail(err, HD_E_PROTO, "Weights: %zu bytes from %llu of %zu", a->n,
                       (unsigned long long)a->offset, p->bytes->len);
    if (a->offset == 0 && a->digest != s->digest[p->index])
        return hd_fail(err, HD_E_PROTO, "Weights: another digest than that of PieceDigests");
    memcpy(p->bytes->data + a->offset, a->data, a->n);
    p->got += a->n;
    return p->got < p->bytes->len ? 0 : finish(s, p, err);
}

/* ---- Ahead ----*/

void hd_supply_unwant_all(struct hd_supply *s)
{
    for (size_t i = 0; s->o.cache && i < s->n; i++)
        hd_weights_cache_want(s->o.cache, i, false);
}

void hd_supply_want(struct hd_supply *s, struct hd_piece_at at)
{
    if (s->o.cache)
        hd_weights_cache_want(s->o.cache, hd_piece_index(s->o.model, &s->units, at), true);
}

bool hd_supply_ahead(struct hd_supply *s)
{
    while (s->o.cache && s->next_ahead < s->n) {
        size_t index = s->next_ahead++;
        struct hd_piece_at at = hd_piece_nth(s->o.model, &s->units, index);
        uint64_t have = hd_weights_cache_digest(s->o.cache, index);
        bool known = have == s->digest[index];
        if (known || find(s, at) ||
            (have == 0 && !hd_weights_cache_has_room(s->o.cache, hd_supply_piece_bytes(s, at))))
            continue;
        if (open_parcel(s, at, false) < 0)
            return false;
        hd_supply_pump(s);
        return true;
    }
    return false;
}

void hd_supply_look_again(struct hd_supply *s)
{
    s->next_ahead = 0;
}

void hd_supply_totals(const struct hd_supply *s, struct hd_supply_totals *out)
{
    *out = s->totals;
}
