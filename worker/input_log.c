/* input_log.c - see input_log.h. */
#include "worker/input_log.h"

#include "common/util/size.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct sequence_log {
    int fd;           /* -1: no file yet */
    uint32_t chunks;  /* claimed and mapped */
    float **chunk;    /* [max_chunks]: [layers][HD_LOG_CHUNK][dim]; NULL before the first row */
    uint32_t *counts; /* [layers] */
};

struct hd_input_log {
    struct hd_input_log_options o;
    char *dir;
    size_t chunk_bytes; /* a multiple of the page size */
    uint32_t max_chunks;
    uint64_t bytes, appended;
    struct sequence_log *sequence; /* [sequences] */
};

/* False when a chunk of this shape does not fit size_t. */
static bool chunk_size(const struct hd_input_log_options *o, size_t *bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n;
    if (!hd_mul_size(o->layers, o->dim, &n) || !hd_mul_size(n, HD_LOG_CHUNK * sizeof(float), &n) ||
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
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
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

static int begin(struct hd_input_log *log, struct sequence_log *s, struct hd_error *err)
{
    if (!s->chunk)
        s->chunk = calloc(log->max_chunks, sizeof *s->chunk);
    if (!s->counts)
        s->counts = calloc(log->o.layers, sizeof *s->counts);
    if (!s->chunk || !s->counts)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the input log's index");
    if (s->fd >= 0)
        return 0;
    int fd = open_unnamed(log->dir, err);
    if (fd < 0)
        return fd;
    s->fd = fd;
    return 0;
}

static int add_chunk(struct hd_input_log *log, struct sequence_log *s, struct hd_error *err)
{
    int rc = begin(log, s, err);
    if (rc < 0)
        return rc;
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
    s->chunk[s->chunks++] = p;
    log->bytes += log->chunk_bytes;
    return 0;
}

static float *row_at(const struct hd_input_log *log, struct hd_log_at at)
{
    const struct sequence_log *s = &log->sequence[at.sequence];
    size_t in_chunk = (size_t)at.layer * HD_LOG_CHUNK + at.position % HD_LOG_CHUNK;
    return s->chunk[at.position / HD_LOG_CHUNK] + in_chunk * log->o.dim;
}

int hd_input_log_append(struct hd_input_log *log, struct hd_log_at at, const float *row,
                        struct hd_error *err)
{
    struct sequence_log *s = &log->sequence[at.sequence];
    uint32_t count = hd_input_log_count(log, at.sequence, at.layer);
    err->code = 0;
    if (at.position < count)
        return HD_LOG_KEPT;
    if (at.position > count || at.position >= log->o.max_positions)
        return HD_LOG_GAP;
    if (at.position / HD_LOG_CHUNK >= s->chunks && add_chunk(log, s, err) < 0)
        return HD_LOG_GAP;
    memcpy(row_at(log, at), row, log->o.dim * sizeof *row);
    s->counts[at.layer]++;
    log->appended++;
    return HD_LOG_KEPT;
}

uint32_t hd_input_log_count(const struct hd_input_log *log, uint32_t sequence, uint32_t layer)
{
    const struct sequence_log *s = &log->sequence[sequence];
    return s->counts ? s->counts[layer] : 0;
}

const float *hd_input_log_rows(const struct hd_input_log *log, struct hd_log_at at, size_t *n)
{
    uint32_t count = hd_input_log_count(log, at.sequence, at.layer);
    *n = 0;
    if (at.position >= count)
        return NULL;
    uint32_t chunk_end = (at.position / HD_LOG_CHUNK + 1) * HD_LOG_CHUNK;
    *n = (count < chunk_end ? count : chunk_end) - at.position;
    return row_at(log, at);
}

void hd_input_log_drop(struct hd_input_log *log, uint32_t sequence)
{
    struct sequence_log *s = &log->sequence[sequence];
    for (uint32_t c = 0; c < s->chunks; c++)
        munmap(s->chunk[c], log->chunk_bytes);
    log->bytes -= (uint64_t)s->chunks * log->chunk_bytes;
    free(s->chunk);
    free(s->counts);
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
    return log->bytes;
}

uint64_t hd_input_log_appended(const struct hd_input_log *log)
{
    return log->appended;
}
