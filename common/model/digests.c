/* digests.c - hashes all pieces on several threads, and keeps the result beside the model in a file
 * that says which files it is of.
 */
#include "common/model/digests.h"

#include "common/math/team.h"
#include "common/model/arch.h"
#include "common/model/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#include <xxhash.h>

int hd_digests_new(struct hd_digests **out, const struct hd_model *m)
{
    struct hd_digests *d = calloc(1, sizeof *d);
    if (!d)
        return HD_E_NOMEM;
    d->model = m;
    hd_model_units(m, &d->units);
    d->n = hd_piece_count(m, &d->units);
    d->piece = calloc(d->n, sizeof *d->piece);
    d->row = calloc(m->shape.vocab, sizeof *d->row);
    if (!d->piece || !d->row) {
        hd_digests_free(d);
        return HD_E_NOMEM;
    }
    *out = d;
    return 0;
}

void hd_digests_free(struct hd_digests *d)
{
    if (!d)
        return;
    free(d->piece);
    free(d->row);
    free(d);
}

/* ---- Making them ----*/

struct making {
    struct hd_digests *d;
    const _Atomic bool *stop;
    uint8_t **buffers; /* [threads], each for the largest piece */
};

static void hash_piece(const struct making *k, struct hd_piece_at at, uint8_t *buffer)
{
    struct hd_digests *d = k->d;
    struct hd_cuts cuts = hd_piece_cuts(d->model, &d->units, at);
    size_t n = hd_piece_bytes(&cuts);
    hd_piece_copy(&cuts, 0, n, buffer);
    d->piece[hd_piece_index(d->model, &d->units, at)] = hd_piece_digest(buffer, n);
}

static void hash_rows(struct hd_digests *d, uint32_t block, uint8_t *buffer)
{
    const struct hd_tensor *t = &d->model->embedding;
    size_t first = (size_t)block * d->units.vocab_width, end = first + d->units.vocab_width;
    for (size_t i = first; i < end && i < t->rows; i++) {
        hd_tensor_row(t, i, 0, t->row_bytes, buffer);
        d->row[i] = XXH3_64bits(buffer, t->row_bytes);
    }
}

/* All units of one kind in one layer, so that their matrices are read once; behind these the vocab
 * blocks, each with its rows of the embedding (the same bytes when the output is tied). */
static void make_some(void *arg, size_t index, unsigned thread)
{
    const struct making *k = arg;
    struct hd_digests *d = k->d;
    uint32_t layers = d->model->shape.n_layers;
    if (atomic_load_explicit(k->stop, memory_order_relaxed))
        return;
    if (index >= 2 * (size_t)layers) {
        uint32_t block = (uint32_t)(index - 2 * (size_t)layers);
        hash_piece(k, (struct hd_piece_at){HD_UNIT_VOCAB, block, 0}, k->buffers[thread]);
        hash_rows(d, block, k->buffers[thread]);
        return;
    }
    struct hd_piece_at at = {index % 2 ? HD_UNIT_FFN : HD_UNIT_HEAD, 0, (uint32_t)(index / 2)};
    uint32_t units = at.kind == HD_UNIT_FFN ? d->units.ffn_blocks : d->units.heads;
    for (; at.unit < units; at.unit++)
        hash_piece(k, at, k->buffers[thread]);
}

static size_t largest_piece(const struct hd_digests *d)
{
    size_t largest = d->model->embedding.row_bytes;
    for (size_t i = 0; i < d->n; i++) {
        struct hd_cuts c = hd_piece_cuts(d->model, &d->units, hd_piece_nth(d->model, &d->units, i));
        size_t n = hd_piece_bytes(&c);
        largest = n > largest ? n : largest;
    }
    return largest;
}

static int make_all(struct making *k, struct hd_team *team)
{
    unsigned threads = hd_team_threads(team);
    size_t largest = largest_piece(k->d);
    int rc = 0;
    k->buffers = calloc(threads, sizeof *k->buffers);
    for (unsigned i = 0; k->buffers && i < threads; i++)
        if (!(k->buffers[i] = malloc(largest)))
            rc = HD_E_NOMEM;
    if (!k->buffers)
        rc = HD_E_NOMEM;
    if (rc == 0)
        hd_team_run(team, 2 * (size_t)k->d->model->shape.n_layers + k->d->units.vocab_blocks,
                    make_some, k);
    for (unsigned i = 0; k->buffers && i < threads; i++)
        free(k->buffers[i]);
    free(k->buffers);
    return rc;
}

int hd_digests_make(struct hd_digests *d, unsigned threads, const _Atomic bool *stop,
                    struct hd_error *err)
{
    struct hd_team_options o = {.threads = threads, .name = "hydac-digests"};
    struct making k = {.d = d, .stop = stop};
    struct hd_team *team;
    int rc = hd_team_new(&team, &o);
    if (rc < 0)
        return hd_fail(err, rc, "cannot start %u threads to read the model", threads);
    rc = make_all(&k, team);
    hd_team_free(team);
    if (rc < 0)
        return hd_fail(err, rc, "no memory to read the model");
    if (atomic_load(stop))
        return hd_fail(err, HD_E_STATE, "stopped while the model was read");
    d->norms = hd_digests_norms(d->model);
    return hd_model_check_files(d->model, err);
}

/* The first number that differs; n: none. */
static size_t first_other(const uint64_t *a, const uint64_t *b, size_t n)
{
    size_t i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

bool hd_digests_same(const struct hd_digests *d, const struct hd_digests *other,
                     struct hd_digests_part *what)
{
    size_t rows = d->model->shape.vocab;
    *what = (struct hd_digests_part){HD_DIGESTS_PIECE, first_other(d->piece, other->piece, d->n)};
    if (what->index < d->n)
        return false;
    *what = (struct hd_digests_part){HD_DIGESTS_ROW, first_other(d->row, other->row, rows)};
    if (what->index < rows)
        return false;
    *what = (struct hd_digests_part){.kind = HD_DIGESTS_NORMS};
    return d->norms == other->norms;
}

uint64_t hd_digests_whole(const struct hd_digests *d)
{
    const uint64_t own[] = {d->model->digest, d->norms};
    uint64_t sum = XXH3_64bits(own, sizeof own);
    sum = XXH3_64bits_withSeed(d->piece, d->n * sizeof *d->piece, sum);
    return XXH3_64bits_withSeed(d->row, d->model->shape.vocab * sizeof *d->row, sum);
}

/* ---- In the state folder ----*/

#define MAGIC   0x54474448u /* "HDGT" */
#define VERSION 1           /* of the file, and of what a piece's bytes are */

struct header {
    uint32_t magic, version;
    uint64_t model, stamp, units; /* digests */
    uint64_t n_pieces, n_rows, norms;
    uint64_t sum; /* XXH3 of the lists, seeded with that of what stands before */
};

static struct header header_of(const struct hd_digests *d)
{
    return (struct header){
        .magic = MAGIC,
        .version = VERSION,
        .model = d->model->digest,
        .stamp = hd_model_stamp(d->model),
        .units = XXH3_64bits(&d->units, sizeof d->units),
        .n_pieces = d->n,
        .n_rows = d->model->shape.vocab,
        .norms = d->norms,
    };
}

static uint64_t sum_of(const struct hd_digests *d, const struct header *h)
{
    uint64_t sum = XXH3_64bits(h, offsetof(struct header, sum));
    sum = XXH3_64bits_withSeed(d->piece, d->n * sizeof *d->piece, sum);
    return XXH3_64bits_withSeed(d->row, d->model->shape.vocab * sizeof *d->row, sum);
}

static int open_folder(const char *state_dir, bool make)
{
    int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state < 0)
        return -1;
    if (make)
        mkdirat(state, "digests", 0700); /* what goes wrong shows when it is opened */
    int dir = openat(state, "digests", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = errno;
    close(state);
    errno = e;
    return dir;
}

static FILE *open_file(int dir, const char *name, int flags, const char *mode)
{
    int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, mode);
    if (!f && fd >= 0)
        close(fd);
    return f;
}

static bool read_lists(struct hd_digests *d, FILE *f)
{
    size_t rows = d->model->shape.vocab;
    return fread(d->piece, sizeof *d->piece, d->n, f) == d->n &&
           fread(d->row, sizeof *d->row, rows, f) == rows && fgetc(f) == EOF;
}

int hd_digests_read(struct hd_digests *d, const char *state_dir)
{
    char name[32];
    struct header h, want;
    snprintf(name, sizeof name, "%016" PRIx64, d->model->digest);
    int dir = open_folder(state_dir, false);
    FILE *f = dir < 0 ? NULL : open_file(dir, name, O_RDONLY, "rb");
    bool good = f && fread(&h, sizeof h, 1, f) == 1;
    if (good) {
        d->norms = h.norms;
        want = header_of(d);
        good = memcmp(&h, &want, offsetof(struct header, sum)) == 0 && read_lists(d, f) &&
               sum_of(d, &h) == h.sum;
    }
    if (f)
        fclose(f);
    if (dir >= 0)
        close(dir);
    return good ? 0 : HD_E_NOTFOUND;
}

static bool write_all(const struct hd_digests *d, FILE *f)
{
    struct header h = header_of(d);
    size_t rows = d->model->shape.vocab;
    h.sum = sum_of(d, &h);
    return fwrite(&h, sizeof h, 1, f) == 1 && fwrite(d->piece, sizeof *d->piece, d->n, f) == d->n &&
           fwrite(d->row, sizeof *d->row, rows, f) == rows && fflush(f) == 0;
}

int hd_digests_write(const struct hd_digests *d, const char *state_dir, struct hd_error *err)
{
    char name[32], part[64];
    snprintf(name, sizeof name, "%016" PRIx64, d->model->digest);
    snprintf(part, sizeof part, ".part-%ld-%s", (long)getpid(), name);
    int dir = open_folder(state_dir, true);
    FILE *f = dir < 0 ? NULL : open_file(dir, part, O_WRONLY | O_CREAT | O_TRUNC, "wb");
    bool good = f && write_all(d, f);
    if (f && fclose(f) != 0)
        good = false;
    good = good && renameat(dir, part, dir, name) == 0;
    if (!good)
        hd_fail(err, HD_E_IO, "%s/digests/%s: %s", state_dir, name, strerror(errno));
    if (!good && f)
        unlinkat(dir, part, 0);
    if (dir >= 0)
        close(dir);
    return good ? 0 : HD_E_IO;
}

/* ---- What the model's owner uses itself ----*/

static void hash_vector(XXH3_state_t *hash, const struct hd_model *m, enum hd_slot_id slot,
                        uint32_t layer)
{
    const struct hd_tensor *t = hd_slot_of(m, slot, layer);
    if (layer < hd_slot_layers(m, slot))
        XXH3_64bits_update(hash, t->data, t->rows * t->row_bytes);
}

uint64_t hd_digests_norms(const struct hd_model *m)
{
    XXH3_state_t hash;
    XXH3_64bits_reset(&hash);
    for (uint32_t l = 0; l < m->shape.n_layers; l++)
        for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
            if (hd_slots[s].in_layer && !hd_slot_is_units(s))
                hash_vector(&hash, m, s, l);
    hash_vector(&hash, m, HD_SLOT_OUTPUT_NORM, 0);
    return XXH3_64bits_digest(&hash);
}

bool hd_digests_row(const struct hd_digests *d, uint32_t row, uint8_t *to)
{
    const struct hd_tensor *t = &d->model->embedding;
    hd_tensor_row(t, row, 0, t->row_bytes, to);
    return XXH3_64bits(to, t->row_bytes) == d->row[row];
}
