/* input_log.c - chunks are claimed, mapped, sealed one by one; prefix and tail are two counts. */
#include "worker/share/input_log.h"

#include "common/util/size.h"
#include "worker/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The rows of one layer. */
struct extent {
    uint32_t count;      /* of the prefix */
    uint32_t first, end; /* of the tail; both 0: there is none */
};

struct chunk {
    uint8_t *rows;   /* mapped [layers][HD_LOG_CHUNK], or NULL */
    uint32_t *seals; /* likewise */
};

struct sequence_log {
    int fd;          /* -1: no file yet */
    bool given_up;   /* no more rows are taken */
    uint32_t start;  /* its first position */
    uint32_t chunks; /* claimed, in the order in which they were needed */
    /* [max_chunks], by position. The list itself is NULL before the first row, as is the next one.
     */
    struct chunk *chunk;
    struct extent *extents; /* [layers] */
};

struct hd_input_log {
    struct hd_input_log_options o;
    char *dir;
    size_t chunk_bytes; /* a multiple of the page size */
    uint32_t max_chunks;
    uint64_t bytes, appended;      /* bytes: of the files */
    uint64_t n_chunks;             /* of all sequences */
    struct sequence_log *sequence; /* [sequences] */
};

/* False when a chunk of this shape does not fit size_t. */
static bool chunk_size(const struct hd_input_log_options *o, size_t *bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n;
    if (!hd_mul_size(o->layers, o->row_bytes, &n) || !hd_mul_size(n, HD_LOG_CHUNK, &n) ||
        !hd_add_size(n, page - 1, &n))
        return false;
    *bytes = n - n % page;
    return true;
}

int hd_input_log_new(struct hd_input_log **out, const struct hd_input_log_options *o)
{
    struct hd_input_log *log = calloc(1, sizeof *log);
    if (!log)
        return HD_E_NOMEM;
    log->o = *o;
    log->max_chunks = o->max_positions / HD_LOG_CHUNK + (o->max_positions % HD_LOG_CHUNK != 0);
    log->dir = strdup(o->dir);
    log->sequence = calloc(o->sequences, sizeof *log->sequence);
    for (uint32_t s = 0; log->sequence && s < o->sequences; s++)
        log->sequence[s].fd = -1;
    if (!log->dir || !log->sequence || !chunk_size(o, &log->chunk_bytes)) {
        hd_input_log_free(log);
        return HD_E_NOMEM;
    }
    *out = log;
    return 0;
}

void hd_input_log_free(struct hd_input_log *log)
{
    if (!log)
        return;
    if (log->sequence)
        hd_input_log_clear(log);
    free(log->sequence);
    free(log->dir);
    free(log);
}

/* A file without a name. Not every file system has O_TMPFILE. */
static int open_unnamed(const char *dir, struct hd_error *err)
{
    int fd = dir[0] == '\0' ? memfd_create("input-log", MFD_CLOEXEC)
                            : open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    if (dir[0] == '\0')
        return hd_fail(err, HD_E_IO, "cannot keep the input log in memory: %s", strerror(errno));
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/input-log-XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return hd_fail(err, HD_E_IO, "the name of the state folder is too long");
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return hd_fail(err, HD_E_IO, "cannot make a file for the input log in %s: %s", dir,
                       strerror(errno));
    unlink(path);
    return fd;
}

int hd_input_log_try_dir(const char *dir, struct hd_error *err)
{
    int fd = open_unnamed(dir, err);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int begin(struct hd_input_log *log, struct sequence_log *s, struct hd_error *err)
{
    if (!s->chunk)
        s->chunk = calloc(log->max_chunks, sizeof *s->chunk);
    if (!s->extents && (s->extents = calloc(log->o.layers, sizeof *s->extents)))
        for (uint32_t l = 0; l < log->o.layers; l++)
            s->extents[l].count = s->start;
    if (!s->chunk || !s->extents)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the input log's index");
    if (s->fd >= 0)
        return 0;
    int fd = open_unnamed(log->dir, err);
    if (fd < 0)
        return fd;
    s->fd = fd;
    return 0;
}

static size_t seal_bytes(const struct hd_input_log *log)
{
    return (size_t)log->o.layers * HD_LOG_CHUNK * sizeof(uint32_t);
}

/* Claims and maps the next chunk of the file. */
static int map_chunk(struct hd_input_log *log, struct sequence_log *s, struct chunk *chunk,
                     struct hd_error *err)
{
    if (log->chunk_bytes > log->o.limit || log->bytes > log->o.limit - log->chunk_bytes)
        return hd_fail(err, HD_E_LIMIT, "the input log has reached its limit of %llu bytes",
                       (unsigned long long)log->o.limit);
    off_t at = (off_t)s->chunks * (off_t)log->chunk_bytes;
    int e = posix_fallocate(s->fd, at, (off_t)log->chunk_bytes);
    if (e != 0)
        return hd_fail(err, HD_E_IO, "cannot enlarge the input log in %s: %s", log->dir,
                       strerror(e));
    void *p = mmap(NULL, log->chunk_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, at);
    if (p == MAP_FAILED)
        return hd_fail(err, HD_E_IO, "cannot map the input log in %s: %s", log->dir,
                       strerror(errno));
    uint32_t *seals = malloc(seal_bytes(log));
    if (!seals) {
        munmap(p, log->chunk_bytes);
        return hd_fail(err, HD_E_NOMEM, "out of memory for the input log's digests");
    }
    s->chunks++;
    log->bytes += log->chunk_bytes;
    log->n_chunks++;
    *chunk = (struct chunk){p, seals};
    return 0;
}

static bool has_tail(const struct hd_input_log *log, const struct sequence_log *s)
{
    for (uint32_t l = 0; s->extents && l < log->o.layers; l++)
        if (s->extents[l].end != 0)
            return true;
    return false;
}

/* Gives up another sequence that is not whole. False: there is none. */
static bool make_room(struct hd_input_log *log, uint32_t except)
{
    for (uint32_t s = 0; s < log->o.sequences; s++)
        if (s != except && has_tail(log, &log->sequence[s])) {
            hd_input_log_give_up(log, s);
            return true;
        }
    return false;
}

/* Makes room for a position. 0, or what went wrong; err says it the first time. */
static int need_chunk(struct hd_input_log *log, struct hd_log_at at, struct hd_error *err)
{
    struct sequence_log *s = &log->sequence[at.sequence];
    uint32_t index = at.position / HD_LOG_CHUNK;
    if (s->chunk && s->chunk[index].rows)
        return 0;
    if (s->given_up)
        return HD_E_LIMIT;
    int rc = begin(log, s, err);
    if (rc == 0)
        rc = map_chunk(log, s, &s->chunk[index], err);
    while (rc < 0 && make_room(log, at.sequence)) {
        rc = map_chunk(log, s, &s->chunk[index], err);
        err->code = rc;
    }
    if (rc < 0)
        hd_input_log_give_up(log, at.sequence);
    return rc;
}

static size_t in_chunk(struct hd_log_at at)
{
    return (size_t)at.layer * HD_LOG_CHUNK + at.position % HD_LOG_CHUNK;
}

static const struct chunk *chunk_of(const struct hd_input_log *log, struct hd_log_at at)
{
    return &log->sequence[at.sequence].chunk[at.position / HD_LOG_CHUNK];
}

static uint8_t *row_at(const struct hd_input_log *log, struct hd_log_at at)
{
    return chunk_of(log, at)->rows + in_chunk(at) * log->o.row_bytes;
}

static struct extent extent_of(const struct hd_input_log *log, uint32_t sequence, uint32_t layer)
{
    const struct sequence_log *s = &log->sequence[sequence];
    return s->extents ? s->extents[layer] : (struct extent){.count = s->start};
}

static bool has_row(const struct extent *e, uint32_t position)
{
    return position < e->count || (position >= e->first && position < e->end);
}

static bool continues(const struct extent *e, uint32_t position)
{
    return position == e->count || e->end == 0 || position == e->end;
}

static void extend(struct extent *e, uint32_t position)
{
    if (position == e->count) {
        e->count++;
    } else {
        e->first = e->end ? e->first : position;
        e->end = position + 1;
    }
    if (e->end != 0 && e->count == e->first)
        *e = (struct extent){.count = e->end};
}

int hd_input_log_append(struct hd_input_log *log, struct hd_log_at at, const void *row,
                        struct hd_error *err)
{
    struct extent e = extent_of(log, at.sequence, at.layer);
    err->code = 0;
    if (has_row(&e, at.position))
        return HD_LOG_KEPT;
    if (!continues(&e, at.position) || at.position >= log->o.max_positions ||
        need_chunk(log, at, err) < 0)
        return HD_LOG_GAP;
    memcpy(row_at(log, at), row, log->o.row_bytes);
    chunk_of(log, at)->seals[in_chunk(at)] = hd_seal(row, log->o.row_bytes);
    extend(&log->sequence[at.sequence].extents[at.layer], at.position);
    log->appended++;
    return HD_LOG_KEPT;
}

void hd_input_log_give_up(struct hd_input_log *log, uint32_t sequence)
{
    uint32_t start = log->sequence[sequence].start;
    hd_input_log_drop(log, sequence);
    log->sequence[sequence].start = start;
    log->sequence[sequence].given_up = true;
}

void hd_input_log_try_again(struct hd_input_log *log, uint32_t sequence)
{
    log->sequence[sequence].given_up = false;
}

void hd_input_log_start_at(struct hd_input_log *log, uint32_t sequence, uint32_t position)
{
    log->sequence[sequence].start = position;
}

uint32_t hd_input_log_start(const struct hd_input_log *log, uint32_t sequence)
{
    return log->sequence[sequence].start;
}

uint32_t hd_input_log_count(const struct hd_input_log *log, uint32_t sequence, uint32_t layer)
{
    return extent_of(log, sequence, layer).count;
}

uint32_t hd_input_log_tail(const struct hd_input_log *log, uint32_t sequence, uint32_t layer)
{
    return extent_of(log, sequence, layer).first;
}

const void *hd_input_log_rows(const struct hd_input_log *log, struct hd_log_at at, size_t *n)
{
    uint32_t count = hd_input_log_count(log, at.sequence, at.layer);
    *n = 0;
    if (at.position >= count || at.position < hd_input_log_start(log, at.sequence))
        return NULL;
    uint32_t chunk_end = (at.position / HD_LOG_CHUNK + 1) * HD_LOG_CHUNK;
    *n = (count < chunk_end ? count : chunk_end) - at.position;
    return row_at(log, at);
}

/* ---- Damage ----*/

uint32_t hd_input_log_end(const struct hd_input_log *log, uint32_t sequence, uint32_t layer)
{
    struct extent e = extent_of(log, sequence, layer);
    return e.end > e.count ? e.end : e.count;
}

uint32_t hd_input_log_bad_row(const struct hd_input_log *log, struct hd_log_at at, uint32_t end)
{
    struct extent e = extent_of(log, at.sequence, at.layer);
    uint32_t start = hd_input_log_start(log, at.sequence);
    for (at.position = at.position < start ? start : at.position; at.position < end; at.position++)
        if (has_row(&e, at.position) &&
            chunk_of(log, at)->seals[in_chunk(at)] != hd_seal(row_at(log, at), log->o.row_bytes))
            return at.position;
    return UINT32_MAX;
}

void hd_input_log_cut(struct hd_input_log *log, struct hd_log_at at)
{
    struct extent *e = &log->sequence[at.sequence].extents[at.layer];
    uint32_t behind = at.position + 1;
    if (at.position < e->count) {
        if (e->end == 0 && behind < e->count)
            *e = (struct extent){.first = behind, .end = e->count};
        e->count = at.position;
    } else if (behind < e->end) {
        e->first = behind;
    } else {
        e->first = e->end = 0;
    }
}

void hd_input_log_truncate(struct hd_input_log *log, uint32_t sequence, uint32_t position)
{
    struct sequence_log *s = &log->sequence[sequence];
    for (uint32_t l = 0; s->extents && l < log->o.layers; l++) {
        struct extent *e = &s->extents[l];
        e->count = e->count < position ? e->count : position;
        e->end = e->end < position ? e->end : position;
        if (e->first >= e->end)
            e->first = e->end = 0;
    }
}

bool hd_input_log_resident(const struct hd_input_log *log, struct hd_log_at at)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    at.position -= at.position % HD_LOG_CHUNK;
    if (!chunk_of(log, at)->rows)
        return false; /* between prefix and tail */
    uint8_t *first = row_at(log, at);
    size_t before = (uintptr_t)first % page, bytes = HD_LOG_CHUNK * log->o.row_bytes + before;
    for (size_t done = 0; done < bytes;) {
        unsigned char here[64]; /* one byte for a page */
        size_t left = bytes - done, n = left < sizeof here * page ? left : sizeof here * page;
        if (mincore(first - before + done, n, here) < 0)
            return true;
        for (size_t i = 0; i < (n + page - 1) / page; i++)
            if (!(here[i] & 1))
                return false;
        done += n;
    }
    return true;
}

void hd_input_log_drop(struct hd_input_log *log, uint32_t sequence)
{
    struct sequence_log *s = &log->sequence[sequence];
    for (uint32_t c = 0; s->chunk && c < log->max_chunks; c++)
        if (s->chunk[c].rows) {
            munmap(s->chunk[c].rows, log->chunk_bytes);
            free(s->chunk[c].seals);
        }
    log->n_chunks -= s->chunks;
    log->bytes -= (uint64_t)s->chunks * log->chunk_bytes;
    free(s->chunk);
    free(s->extents);
    if (s->fd >= 0)
        close(s->fd);
    *s = (struct sequence_log){.fd = -1};
}

void hd_input_log_clear(struct hd_input_log *log)
{
    for (uint32_t s = 0; s < log->o.sequences; s++)
        hd_input_log_drop(log, s);
}

uint64_t hd_input_log_bytes(const struct hd_input_log *log)
{
    return log->bytes + log->n_chunks * seal_bytes(log);
}

uint64_t hd_input_log_appended(const struct hd_input_log *log)
{
    return log->appended;
}
