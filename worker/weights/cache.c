/* cache.c - a thread of its own writes pieces, beside the wanted name, and renames them. */
#include "worker/weights/cache_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes that may wait for the disk. What a faster network brings is fetched again later on. */
#define MAX_WAITING ((size_t)64 << 20)

/* ---- Bytes ----*/

struct hd_piece_bytes *hd_piece_bytes_new(size_t len)
{
    struct hd_piece_bytes *b = malloc(sizeof *b);
    size_t room = (len + HD_PIECE_ALIGN) / HD_PIECE_ALIGN * HD_PIECE_ALIGN;
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->digest = 0;
    b->len = len;
    b->data = aligned_alloc(HD_PIECE_ALIGN, room);
    if (!b->data) {
        free(b);
        return NULL;
    }
    return b;
}

struct hd_piece_bytes *hd_piece_bytes_ref(struct hd_piece_bytes *b)
{
    atomic_fetch_add(&b->refs, 1);
    return b;
}

void hd_piece_bytes_unref(struct hd_piece_bytes *b)
{
    if (!b || atomic_fetch_sub(&b->refs, 1) > 1)
        return;
    free(b->data);
    free(b);
}

/* ---- Files ----*/

static bool write_all(int fd, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return true;
}

static bool read_all(int fd, void *data, size_t n)
{
    uint8_t *p = data;
    while (n > 0) {
        ssize_t done = read(fd, p, n);
        if (done == 0 || (done < 0 && errno != EINTR))
            return false;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return true;
}

/* The piece's file, behind its digest; -1: there is none. */
static int open_piece(const struct hd_weights_cache *c, size_t index, uint64_t *digest)
{
    char name[CACHE_NAME];
    cache_name(c, index, name);
    int fd = openat(c->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && !read_all(fd, digest, sizeof *digest)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The bytes of a piece that is still to be written, or NULL. */
static struct hd_piece_bytes *waiting(struct hd_weights_cache *c, size_t index)
{
    struct hd_piece_bytes *b = NULL;
    pthread_mutex_lock(&c->lock);
    for (const struct cache_write *w = c->first; w && !b; w = w->next)
        if (w->index == index)
            b = hd_piece_bytes_ref(w->bytes);
    pthread_mutex_unlock(&c->lock);
    return b;
}

uint64_t hd_weights_cache_digest(struct hd_weights_cache *c, size_t index)
{
    uint64_t digest;
    struct hd_piece_bytes *b = waiting(c, index);
    if (b) {
        digest = b->digest;
        hd_piece_bytes_unref(b);
        return digest;
    }
    int fd = open_piece(c, index, &digest);
    if (fd < 0)
        return 0;
    close(fd);
    return digest;
}

static void forget_piece(struct hd_weights_cache *c, size_t index, const char *why)
{
    char name[CACHE_NAME];
    cache_name(c, index, name);
    hd_warn(c->o.log, "weights_damaged", "piece=%s reason=\"%s\" effect=\"it is fetched again\"",
            name, why);
    pthread_mutex_lock(&c->lock);
    cache_remove(c, index);
    pthread_mutex_unlock(&c->lock);
}

int hd_weights_cache_read(struct hd_weights_cache *c, size_t index, uint64_t digest,
                          struct hd_piece_bytes **out)
{
    uint64_t found;
    *out = waiting(c, index);
    if (*out && (*out)->digest == digest)
        return HD_CACHE_HIT;
    hd_piece_bytes_unref(*out);
    *out = NULL;
    int fd = open_piece(c, index, &found);
    if (fd < 0)
        return HD_CACHE_MISS;
    struct hd_piece_bytes *b =
        hd_piece_bytes_new((size_t)cache_file_bytes(c, index) - CACHE_HEADER);
    if (!b) {
        close(fd);
        return HD_E_NOMEM;
    }
    bool whole = read_all(fd, b->data, b->len);
    close(fd);
    if (whole && found == digest && hd_piece_digest(b->data, b->len) == digest) {
        b->digest = digest;
        *out = b;
        return HD_CACHE_HIT;
    }
    hd_piece_bytes_unref(b);
    forget_piece(c, index, whole ? "its digest is not that of its bytes" : "it is too short");
    return HD_CACHE_DAMAGED;
}

/* Writes it beside, then renames it. 0 or an errno. */
static int write_file(const struct hd_weights_cache *c, size_t index,
                      const struct hd_piece_bytes *b)
{
    char part[CACHE_NAME], name[CACHE_NAME];
    int e = 0;
    snprintf(part, sizeof part, ".part-%ld-%zu", (long)getpid(), index);
    cache_name(c, index, name);
    int fd = openat(c->dir, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    if (!write_all(fd, &b->digest, sizeof b->digest) || !write_all(fd, b->data, b->len))
        e = errno;
    if (close(fd) < 0 && e == 0)
        e = errno;
    if (e == 0 && renameat(c->dir, part, c->dir, name) < 0)
        e = errno;
    if (e != 0)
        unlinkat(c->dir, part, 0);
    return e;
}

/* ---- The writing thread ----*/

static void write_piece(struct hd_weights_cache *c, const struct cache_write *w)
{
    pthread_mutex_lock(&c->lock);
    bool room = cache_make_room(c, w->index);
    pthread_mutex_unlock(&c->lock);
    if (!room)
        return;
    int e = write_file(c, w->index, w->bytes);
    pthread_mutex_lock(&c->lock);
    if (e == 0) {
        c->bytes -= c->size[w->index];
        c->size[w->index] = CACHE_HEADER + w->bytes->len;
        c->bytes += c->size[w->index];
    }
    bool tell = e != 0 && !c->told;
    c->told = c->told || e != 0;
    pthread_mutex_unlock(&c->lock);
    if (tell)
        hd_warn(c->o.log, "weights_not_kept",
                "reason=\"%s\" effect=\"they are fetched again after a restart\"", strerror(e));
}

static void *writing_thread(void *arg)
{
    struct hd_weights_cache *c = arg;
    pthread_setname_np(pthread_self(), "hydac-weights");
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->first && !c->stop)
            pthread_cond_wait(&c->changed, &c->lock);
        struct cache_write *w = c->first;
        if (!w)
            break;
        pthread_mutex_unlock(&c->lock);
        write_piece(c, w);
        pthread_mutex_lock(&c->lock);
        c->first = w->next;
        if (!c->first)
            c->last = &c->first;
        c->waiting_bytes -= w->bytes->len;
        hd_piece_bytes_unref(w->bytes);
        free(w);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

void hd_weights_cache_write(struct hd_weights_cache *c, size_t index, struct hd_piece_bytes *b)
{
    struct cache_write *w = malloc(sizeof *w);
    if (!w)
        return; /* it is not kept */
    *w = (struct cache_write){.index = index, .bytes = hd_piece_bytes_ref(b)};
    pthread_mutex_lock(&c->lock);
    bool fits = c->waiting_bytes + b->len <= MAX_WAITING;
    if (fits) {
        c->waiting_bytes += b->len;
        *c->last = w;
        c->last = &w->next;
        pthread_cond_signal(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    if (!fits) {
        hd_piece_bytes_unref(b);
        free(w);
    }
}

void hd_weights_cache_want(struct hd_weights_cache *c, size_t index, bool wanted)
{
    pthread_mutex_lock(&c->lock);
    c->wanted[index] = wanted;
    pthread_mutex_unlock(&c->lock);
}

bool hd_weights_cache_has_room(struct hd_weights_cache *c, size_t bytes)
{
    pthread_mutex_lock(&c->lock);
    uint64_t used = c->bytes + c->waiting_bytes;
    pthread_mutex_unlock(&c->lock);
    return used + bytes + CACHE_HEADER <= c->o.limit;
}

uint64_t hd_weights_cache_bytes(struct hd_weights_cache *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t bytes = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return bytes;
}

/* ---- Opening and closing ----*/

static int open_in(int at, const char *name, int *out)
{
    mkdirat(at, name, 0700); /* what goes wrong shows when it is opened */
    *out = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *out < 0 ? -1 : 0;
}

static int open_folders(struct hd_weights_cache *c, struct hd_error *err)
{
    int state = open(c->o.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(c->own, sizeof c->own, "%016" PRIx64, c->o.model->digest);
    int rc = state < 0 ? -1 : open_in(state, "weights", &c->root);
    if (rc == 0)
        rc = open_in(c->root, c->own, &c->dir);
    if (rc < 0)
        hd_fail(err, HD_E_IO, "cannot use the folder weights/%s in %s: %s", c->own, c->o.state_dir,
                strerror(errno));
    else
        futimens(c->dir, NULL); /* of all models the one begun last */
    if (state >= 0)
        close(state);
    return rc < 0 ? HD_E_IO : 0;
}

static int start_thread(struct hd_weights_cache *c, struct hd_error *err)
{
    int e = pthread_create(&c->thread, NULL, writing_thread, c);
    c->has_thread = e == 0;
    return e == 0 ? 0 : hd_fail(err, HD_E_IO, "cannot start a thread: %s", strerror(e));
}

int hd_weights_cache_open(struct hd_weights_cache **out, const struct hd_weights_cache_options *o,
                          struct hd_error *err)
{
    struct hd_weights_cache *c = calloc(1, sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "no memory for the list of kept weights");
    c->o = *o;
    c->root = c->dir = -1;
    c->last = &c->first;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    hd_model_units(o->model, &c->units);
    c->n = hd_piece_count(o->model, &c->units);
    c->size = calloc(c->n, sizeof *c->size);
    c->wanted = calloc(c->n, sizeof *c->wanted);
    int rc = c->size && c->wanted ? 0 : hd_fail(err, HD_E_NOMEM, "no memory for %zu pieces", c->n);
    if (rc == 0)
        rc = open_folders(c, err);
    if (rc == 0)
        rc = cache_scan(c, err);
    if (rc == 0)
        rc = start_thread(c, err);
    if (rc < 0) {
        hd_weights_cache_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

void hd_weights_cache_close(struct hd_weights_cache *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->has_thread)
        pthread_join(c->thread, NULL);
    if (c->dir >= 0)
        close(c->dir);
    if (c->root >= 0)
        close(c->root);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c->size);
    free(c->wanted);
    free(c->others);
    free(c);
}
