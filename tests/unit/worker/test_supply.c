/* Weights from a leader: what is asked for, what is kept, what is not believed. The leader is a
 * model file that answers at once. */
#include "rig.h"

#include "common/model/outline.h"
#include "common/model/synth.h"
#include "worker/supply.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE 16

struct world {
    char dir[64];
    struct hd_log log;
    struct hd_model *file;    /* the leader's */
    struct hd_model *outline; /* the worker's */
    struct hd_units units;
    struct hd_weights_cache *cache;
    struct hd_supply *supply;
    struct hd_weights_ask asked[QUEUE]; /* not answered yet */
    size_t n_asked, most_asked;
    uint64_t requests, empty; /* all, and those that were answered without bytes */
    uint64_t lies_after;      /* the answer of this number is damaged; 0: none is */
};

static void ask(void *arg, const struct hd_weights_ask *a)
{
    struct world *w = arg;
    cr_assert_lt(w->n_asked, QUEUE);
    w->asked[w->n_asked++] = *a;
    w->most_asked = w->n_asked > w->most_asked ? w->n_asked : w->most_asked;
}

/* Answers the oldest request. */
static int answer(struct world *w, struct hd_error *err)
{
    struct hd_weights_ask a = w->asked[0];
    memmove(w->asked, w->asked + 1, --w->n_asked * sizeof *w->asked);
    struct hd_cuts cuts = hd_piece_cuts(w->file, &w->units, a.at);
    size_t n = hd_piece_bytes(&cuts), left = n - (size_t)a.offset;
    uint8_t *bytes = malloc(n);
    hd_piece_copy(&cuts, 0, n, bytes);
    struct hd_weights_answer m = {.at = a.at,
                                  .offset = a.offset,
                                  .digest = a.offset == 0 ? hd_piece_digest(bytes, n) : 0,
                                  .data = bytes + a.offset,
                                  .n = left < HD_WEIGHTS_CHUNK ? left : HD_WEIGHTS_CHUNK};
    if (a.have != 0 && a.have == m.digest)
        m.n = 0;
    w->empty += m.n == 0;
    if (++w->requests == w->lies_after)
        bytes[a.offset] ^= 1;
    int rc = hd_supply_take(w->supply, &m, err);
    free(bytes);
    return rc;
}

static int wait_for(void *arg, struct hd_error *err)
{
    struct world *w = arg;
    return w->n_asked > 0 ? answer(w, err) : hd_fail(err, HD_E_STATE, "nothing will come");
}

/* A worker starts, with what the folder holds. */
static void start(struct world *w, uint64_t limit)
{
    struct hd_error err = {0};
    struct hd_weights_cache_options o = {
        .state_dir = w->dir, .model = w->outline, .log = &w->log, .limit = limit};
    cr_assert_eq(hd_weights_cache_open(&w->cache, &o, &err), 0, "%s", err.text);
    cr_assert_eq(hd_supply_new(&w->supply, &(struct hd_supply_options){.model = w->outline,
                                                                       .cache = w->cache,
                                                                       .ask = ask,
                                                                       .wait = wait_for,
                                                                       .arg = w}),
                 0);
    w->n_asked = w->most_asked = 0;
    w->requests = w->empty = 0;
}

static void stop(struct world *w)
{
    hd_supply_free(w->supply);
    hd_weights_cache_close(w->cache);
}

static void restart(struct world *w, uint64_t limit)
{
    stop(w);
    start(w, limit);
}

static void make_outline(struct world *w)
{
    uint8_t types[HD_MAX_LAYERS * HD_OUTLINE_MATRICES];
    struct hd_outline o;
    struct hd_error err = {0};
    hd_outline_of(w->file, types, &o);
    cr_assert_eq(hd_model_from_outline(&w->outline, &o, &err), 0, "%s", err.text);
}

static void begin(struct world *w, enum hd_dtype type, uint64_t limit)
{
    char path[128];
    struct hd_error err = {0};
    *w = (struct world){.log = {.level = HD_LOG_ERROR, .fd = 2, .who = "test"}};
    strcpy(w->dir, "/tmp/hydac-supply-XXXXXX");
    cr_assert_not_null(mkdtemp(w->dir));
    snprintf(path, sizeof path, "%s/model.gguf", w->dir);
    struct hd_synth_options synth = {.shape = "tiny-gqa3", .type = type, .seed = 5, .out = path};
    cr_assert_eq(hd_synth_write(&synth, &err), 0, "%s", err.text);
    cr_assert_eq(hd_model_open(&w->file, path, &err), 0, "%s", err.text);
    hd_model_units(w->file, &w->units);
    make_outline(w);
    start(w, limit);
}

static void end(struct world *w)
{
    char command[128];
    stop(w);
    hd_model_close(w->outline);
    hd_model_close(w->file);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    cr_assert_eq(system(command), 0);
}

/* Gets a piece, however long it takes, and compares it. 0 or an error. */
static int get(struct world *w, size_t index, struct hd_error *err)
{
    struct hd_piece_at at = hd_piece_nth(w->file, &w->units, index);
    struct hd_cuts cuts = hd_piece_cuts(w->file, &w->units, at);
    struct hd_piece_bytes *b = NULL;
    int rc;
    while ((rc = hd_supply_get(w->supply, at, &b)) == HD_SUPPLY_LATER)
        if ((rc = hd_supply_wait(w->supply, err)) < 0)
            return rc;
    cr_assert_eq(rc, HD_SUPPLY_HERE);
    uint8_t *bytes = malloc(b->len);
    cr_assert_eq(b->len, hd_piece_bytes(&cuts));
    hd_piece_copy(&cuts, 0, b->len, bytes);
    cr_assert_eq(memcmp(bytes, b->data, b->len), 0);
    free(bytes);
    hd_piece_bytes_unref(b);
    return 0;
}

static size_t pieces(const struct world *w)
{
    return hd_piece_count(w->file, &w->units);
}

static void get_all(struct world *w)
{
    struct hd_error err = {0};
    for (size_t i = 0; i < pieces(w); i++)
        cr_assert_eq(get(w, i, &err), 0, "%s", err.text);
}

static struct hd_supply_totals totals(const struct world *w)
{
    struct hd_supply_totals t;
    hd_supply_totals(w->supply, &t);
    return t;
}

#define PLENTY (UINT64_C(1) << 30)

Test(supply, fetched_once)
{
    struct world w;
    begin(&w, HD_Q4_0, PLENTY);
    get_all(&w);
    cr_assert_eq(totals(&w).fetched, pieces(&w));
    cr_assert_leq(w.most_asked, HD_WEIGHTS_IN_FLIGHT);
    restart(&w, PLENTY);
    get_all(&w);
    cr_assert_eq(totals(&w).fetched, 0);
    cr_assert_eq(totals(&w).kept, pieces(&w));
    cr_assert_eq(w.empty, pieces(&w), "each was asked about once");
    get_all(&w);
    cr_assert_eq(w.requests, pieces(&w), "and never again");
    end(&w);
}

/* Pieces of several chunks, at most so many on the way. */
Test(supply, large_pieces)
{
    struct world w;
    struct hd_error err = {0};
    begin(&w, HD_F32, PLENTY);
    get_all(&w);
    cr_assert_gt(w.requests, pieces(&w));
    restart(&w, 0);
    hd_supply_set_window(w.supply, 1);
    cr_assert_eq(get(&w, 0, &err), 0);
    cr_assert_eq(w.most_asked, 1);
    end(&w);
}

static void piece_path(const struct world *w, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/weights/%016llx/%s", w->dir, (unsigned long long)w->file->digest,
             name);
}

static void damage(const struct world *w, const char *name, off_t at)
{
    char path[160];
    uint8_t byte;
    piece_path(w, name, path, sizeof path);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

Test(supply, damage_is_noticed)
{
    struct world w;
    char path[160];
    begin(&w, HD_Q4_0, PLENTY);
    get_all(&w);
    stop(&w);
    damage(&w, "head-0-0", 1000); /* bytes that are not what the digest says */
    damage(&w, "ffn-1-2", 3);     /* the digest itself */
    piece_path(&w, "vocab-0-1", path, sizeof path);
    cr_assert_eq(truncate(path, 100), 0);
    piece_path(&w, "ffn-0-0", path, sizeof path);
    cr_assert_eq(unlink(path), 0);
    start(&w, PLENTY);
    get_all(&w);
    cr_assert_eq(totals(&w).fetched, 4);
    cr_assert_eq(totals(&w).kept, pieces(&w) - 4);
    restart(&w, PLENTY);
    get_all(&w);
    cr_assert_eq(totals(&w).fetched, 0);
    end(&w);
}

/* The conversation ends in the middle: what was kept stays, the rest is asked for again. */
Test(supply, interrupted)
{
    struct world w;
    struct hd_error err = {0};
    struct hd_piece_bytes *b;
    begin(&w, HD_F32, PLENTY);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(get(&w, i, &err), 0);
    cr_assert_eq(hd_supply_get(w.supply, hd_piece_nth(w.file, &w.units, 5), &b), HD_SUPPLY_LATER);
    cr_assert(hd_supply_on_the_way(w.supply));
    hd_supply_begin(w.supply);
    w.n_asked = 0;
    cr_assert_not(hd_supply_on_the_way(w.supply));
    get_all(&w);
    cr_assert_eq(totals(&w).fetched + totals(&w).kept, pieces(&w) + 5);
    end(&w);
}

Test(supply, lies)
{
    struct world w;
    struct hd_error err = {0};
    begin(&w, HD_Q4_0, PLENTY);
    w.lies_after = 1;
    cr_assert_eq(get(&w, 0, &err), HD_E_PROTO);
    hd_supply_begin(w.supply);
    w.n_asked = 0;
    struct hd_weights_answer unasked = {.at = {HD_PIECE_HEAD, 1, 1}, .digest = 5};
    cr_assert_eq(hd_supply_take(w.supply, &unasked, &err), HD_E_PROTO);
    struct hd_piece_bytes *b;
    cr_assert_eq(hd_supply_get(w.supply, unasked.at, &b), HD_SUPPLY_LATER);
    cr_assert_eq(hd_supply_take(w.supply, &unasked, &err), HD_E_PROTO, "it has nothing of it");
    end(&w);
}

static uint64_t bytes_of_all(const struct world *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pieces(w); i++) {
        struct hd_cuts c = hd_piece_cuts(w->file, &w->units, hd_piece_nth(w->file, &w->units, i));
        bytes += hd_piece_bytes(&c) + 8;
    }
    return bytes;
}

Test(supply, the_limit_holds)
{
    struct world w;
    begin(&w, HD_Q4_0, 0);
    uint64_t half = bytes_of_all(&w) / 2;
    restart(&w, half);
    get_all(&w);
    restart(&w, half); /* all is written by now */
    uint64_t kept = hd_weights_cache_bytes(w.cache);
    cr_assert_leq(kept, half);
    cr_assert_geq(kept, half / 2);
    cr_assert_not(hd_weights_cache_has_room(w.cache, (size_t)half));
    restart(&w, half / 2);
    cr_assert_leq(hd_weights_cache_bytes(w.cache), half / 2, "a smaller limit holds at once");
    end(&w);
}

/* What is owned takes the place of what is not. Without a limit only that is kept. */
Test(supply, what_is_owned_stays)
{
    struct world w;
    struct hd_error err = {0};
    char name[32], path[160];
    begin(&w, HD_Q4_0, 0);
    struct hd_piece_at last = hd_piece_nth(w.file, &w.units, pieces(&w) - 1);
    hd_supply_want(w.supply, last);
    get_all(&w);
    restart(&w, 0);
    hd_supply_want(w.supply, last);
    get_all(&w);
    cr_assert_eq(totals(&w).kept, 1);
    uint64_t half = bytes_of_all(&w) / 2;
    restart(&w, half);
    for (size_t i = 0; i < pieces(&w) - 1; i++) /* fills it */
        cr_assert_eq(get(&w, i, &err), 0);
    stop(&w);
    snprintf(name, sizeof name, "vocab-0-%u", last.unit);
    piece_path(&w, name, path, sizeof path);
    cr_assert_eq(unlink(path), 0);
    start(&w, half);
    hd_supply_want(w.supply, last);
    get_all(&w);
    restart(&w, half);
    w.requests = w.empty = 0;
    cr_assert_eq(get(&w, pieces(&w) - 1, &err), 0);
    cr_assert_eq(totals(&w).kept, 1);
    end(&w);
}

Test(supply, other_models_go_first)
{
    struct world w;
    char path[160], old[200];
    begin(&w, HD_Q4_0, PLENTY);
    snprintf(path, sizeof path, "%s/weights/00000000000000ab", w.dir);
    snprintf(old, sizeof old, "%s/head-0-0", path);
    cr_assert_eq(mkdir(path, 0700), 0);
    int fd = open(old, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(ftruncate(fd, 1 << 20), 0);
    close(fd);
    restart(&w, PLENTY);
    cr_assert_eq(access(old, F_OK), 0, "there is room for it");
    restart(&w, bytes_of_all(&w) + 4096);
    get_all(&w);
    stop(&w);
    cr_assert_neq(access(path, F_OK), 0, "it had to go");
    start(&w, PLENTY);
    get_all(&w);
    cr_assert_eq(totals(&w).kept, pieces(&w));
    end(&w);
}

/* Everything is fetched when nobody waits; then there is nothing more to do. */
Test(supply, ahead)
{
    struct world w;
    struct hd_error err = {0};
    begin(&w, HD_F32, PLENTY);
    cr_assert_eq(get(&w, 3, &err), 0);
    while (hd_supply_ahead(w.supply))
        while (hd_supply_on_the_way(w.supply)) {
            cr_assert_eq(answer(&w, &err), 0, "%s", err.text);
            hd_supply_pump(w.supply);
        }
    cr_assert_eq(totals(&w).fetched, pieces(&w));
    restart(&w, PLENTY);
    while (hd_supply_ahead(w.supply))
        cr_assert_eq(answer(&w, &err), 0);
    cr_assert_eq(w.empty, pieces(&w));
    w.lies_after = 0;
    w.requests = 0;
    get_all(&w);
    cr_assert_eq(w.requests, 0, "a takeover does not wait for the network");
    end(&w);
}

/* Packed from pieces the weights are those that are packed from the file. */
static void same_weights(const struct hd_weights *a, const struct hd_weights *b)
{
    float *x = rig_random(1, a->inputs, 3);
    float *y = calloc(2 * a->groups * HD_GROUP, sizeof *y);
    cr_assert_eq(a->type, b->type);
    cr_assert_eq(a->outputs, b->outputs);
    cr_assert_eq(a->inputs, b->inputs);
    for (int i = 0; i < 2; i++)
        hd_matmul(hd_kernels_get(hd_isa_best()), &(struct hd_matmul_args){.w = i ? b : a,
                                                                          .g1 = a->groups,
                                                                          .x = x,
                                                                          .x_stride = a->inputs,
                                                                          .y = y + i * a->outputs,
                                                                          .y_stride = a->outputs,
                                                                          .rows = 1});
    cr_assert_eq(memcmp(y, y + a->outputs, a->outputs * sizeof *y), 0);
    cr_assert_neq(y[0], 0);
    free(x);
    free(y);
}

Test(supply, packs_the_same)
{
    static const enum hd_dtype all[] = {HD_F32, HD_F16, HD_BF16, HD_Q8_0, HD_Q4_0, HD_Q4_1};
    for (size_t t = 0; t < sizeof all / sizeof *all; t++) {
        struct world w;
        struct hd_error err = {0};
        struct hd_shard *a, *b;
        struct hd_team *team;
        struct hd_team_options o = {.threads = 2, .name = "test"};
        uint32_t list[64];
        begin(&w, all[t], PLENTY);
        cr_assert_eq(hd_team_new(&team, &o), 0);
        cr_assert_eq(hd_shard_new(&a, w.file, team), 0);
        cr_assert_eq(hd_shard_new(&b, w.outline, team), 0);
        hd_shard_set_supply(b, w.supply);
        for (uint32_t i = 0; i < 64; i++)
            list[i] = i;
        struct hd_unit_list want[HD_SHARD_KINDS] = {
            {list, w.units.heads}, {list, w.units.ffn_blocks}, {list, w.units.vocab_blocks}};
        cr_assert_eq(hd_shard_assign(a, want, &err), HD_SHARD_LOADED, "%s", err.text);
        cr_assert_eq(hd_shard_assign(b, want, &err), HD_SHARD_LOADED, "%s", err.text);
        cr_assert_eq(hd_shard_bytes(a), hd_shard_bytes(b));
        for (uint32_t l = 0; l < w.file->shape.n_layers; l++) {
            for (uint32_t h = 0; h < w.units.heads; h++) {
                same_weights(&hd_shard_head(a, h, l)->q, &hd_shard_head(b, h, l)->q);
                same_weights(&hd_shard_head(a, h, l)->k, &hd_shard_head(b, h, l)->k);
                same_weights(&hd_shard_head(a, h, l)->o, &hd_shard_head(b, h, l)->o);
            }
            for (uint32_t f = 0; f < w.units.ffn_blocks; f++) {
                same_weights(&hd_shard_ffn(a, f, l)->up, &hd_shard_ffn(b, f, l)->up);
                same_weights(&hd_shard_ffn(a, f, l)->down, &hd_shard_ffn(b, f, l)->down);
            }
        }
        for (uint32_t v = 0; v < w.units.vocab_blocks; v++)
            same_weights(hd_shard_vocab(a, v), hd_shard_vocab(b, v));
        hd_shard_free(a);
        hd_shard_free(b);
        hd_team_free(team);
        end(&w);
    }
}
