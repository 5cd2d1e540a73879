/* supply_rig.c - the leader is a function that answers from a file when the test lets it. */
#include "supply_rig.h"

#include "common/model/files.h"
#include "common/model/outline.h"
#include "common/model/synth.h"
#include "worker/weights/supply.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void ask(void *arg, const struct hd_weights_ask *a)
{
    struct world *w = arg;
    cr_assert_lt(w->n_asked, QUEUE);
    w->asked[w->n_asked++] = *a;
    w->most_asked = w->n_asked > w->most_asked ? w->n_asked : w->most_asked;
}

/* Answers the oldest request. */
int world_answer(struct world *w, struct hd_error *err)
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
    if (++w->requests == w->lies_after)
        bytes[a.offset] ^= 1;
    int rc = hd_supply_take(w->supply, &m, err);
    free(bytes);
    return rc;
}

static int wait_for(void *arg, struct hd_error *err)
{
    struct world *w = arg;
    return w->n_asked > 0 ? world_answer(w, err) : hd_fail(err, HD_E_STATE, "nothing will come");
}

static void on_refused(void *arg, struct hd_piece_at at, enum hd_supply_source from)
{
    struct world *w = arg;
    w->refused[from]++;
    w->last_refused = at;
}

/* The worker hears of the leader's digests. */
static void learn(struct world *w)
{
    struct hd_digests *d = rig_digests(w->file);
    hd_supply_learn(w->supply, 0, d->piece, d->n);
    hd_digests_free(d);
}

/* A worker starts, with what the folder holds. */
void world_start(struct world *w, uint64_t limit)
{
    struct hd_error err = {0};
    struct hd_weights_cache_options o = {
        .state_dir = w->dir, .model = w->outline, .log = &w->log, .limit = limit};
    cr_assert_eq(hd_weights_cache_open(&w->cache, &o, &err), 0, "%s", err.text);
    cr_assert_eq(hd_supply_new(&w->supply, &(struct hd_supply_options){.model = w->outline,
                                                                       .cache = w->cache,
                                                                       .refused = on_refused,
                                                                       .ask = ask,
                                                                       .wait = wait_for,
                                                                       .arg = w}),
                 0);
    w->n_asked = w->most_asked = 0;
    w->requests = w->refused[HD_SUPPLY_FILE] = w->refused[HD_SUPPLY_KEPT] = 0;
    learn(w);
}

void world_stop(struct world *w)
{
    hd_supply_free(w->supply);
    hd_weights_cache_close(w->cache);
}

void world_restart(struct world *w, uint64_t limit)
{
    world_stop(w);
    world_start(w, limit);
}

void world_give_file(struct world *w)
{
    char command[256];
    struct hd_error err = {0};
    world_stop(w);
    hd_model_close(w->outline);
    snprintf(w->own, sizeof w->own, "%s/own.gguf", w->dir);
    snprintf(command, sizeof command, "cp %s/model.gguf %s", w->dir, w->own);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(hd_model_open(&w->outline, w->own, &err), 0, "%s", err.text);
    world_start(w, PLENTY);
}

void world_overwrite(struct world *w, const uint8_t *byte, size_t n)
{
    uint64_t offset;
    uint8_t *junk = malloc(n);
    memset(junk, 0x5A, n);
    cr_assert_not_null(hd_model_where(w->outline, byte, &offset));
    int fd = open(w->own, O_WRONLY);
    cr_assert_eq(pwrite(fd, junk, n, (off_t)offset), (ssize_t)n);
    close(fd);
    free(junk);
}

static void make_outline(struct world *w)
{
    struct hd_outline_room room;
    struct hd_outline o;
    struct hd_error err = {0};
    hd_outline_of(w->file, &room, &o);
    cr_assert_eq(hd_model_from_outline(&w->outline, &o, &err), 0, "%s", err.text);
}

void world_begin(struct world *w, enum hd_dtype type, uint64_t limit)
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
    world_start(w, limit);
}

void world_end(struct world *w)
{
    char command[128];
    world_stop(w);
    hd_model_close(w->outline);
    hd_model_close(w->file);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    cr_assert_eq(system(command), 0);
}

/* Gets a piece, however long it takes, and compares it. 0 or an error. */
int world_get(struct world *w, size_t index, struct hd_error *err)
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

size_t world_pieces(const struct world *w)
{
    return hd_piece_count(w->file, &w->units);
}

void world_get_all(struct world *w)
{
    struct hd_error err = {0};
    for (size_t i = 0; i < world_pieces(w); i++)
        cr_assert_eq(world_get(w, i, &err), 0, "%s", err.text);
}

struct hd_supply_totals world_totals(const struct world *w)
{
    struct hd_supply_totals t;
    hd_supply_totals(w->supply, &t);
    return t;
}

void world_path(const struct world *w, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/weights/%016llx/%s", w->dir, (unsigned long long)w->file->digest,
             name);
}

void world_damage(const struct world *w, const char *name, off_t at)
{
    char path[160];
    uint8_t byte;
    world_path(w, name, path, sizeof path);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

uint64_t world_bytes(const struct world *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < world_pieces(w); i++) {
        struct hd_cuts c = hd_piece_cuts(w->file, &w->units, hd_piece_nth(w->file, &w->units, i));
        bytes += hd_piece_bytes(&c) + 8;
    }
    return bytes;
}
