/* room.c - what is in the folder of kept weights, and what goes to make room. */
#include "worker/weights/cache_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HALF_DONE   ".part-" /* begins the name of a file that is being written */
#define HALF_DONE_S 600      /* older ones nobody is writing any more */

void cache_name(const struct hd_weights_cache *c, size_t index, char name[CACHE_NAME])
{
    static const char *const kinds[HD_UNIT_KINDS] = {"head", "ffn", "vocab"};
    struct hd_piece_at at = hd_piece_nth(c->o.model, &c->units, index);
    snprintf(name, CACHE_NAME, "%s-%u-%u", kinds[at.kind], at.layer, at.unit);
}

uint64_t cache_file_bytes(const struct hd_weights_cache *c, size_t index)
{
    struct hd_cuts cuts =
        hd_piece_cuts(c->o.model, &c->units, hd_piece_nth(c->o.model, &c->units, index));
    return CACHE_HEADER + hd_piece_bytes(&cuts);
}

void cache_remove(struct hd_weights_cache *c, size_t index)
{
    char name[CACHE_NAME];
    cache_name(c, index, name);
    unlinkat(c->dir, name, 0);
    c->bytes -= c->size[index];
    c->size[index] = 0;
}

/* ---- Other models ----*/

/* A folder's entries, one by one; NULL at the end. */
static const char *next_name(DIR *d)
{
    struct dirent *e;
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            return e->d_name;
    return NULL;
}

static DIR *open_folder(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

static void remove_folder(int at, const char *folder)
{
    DIR *d = open_folder(at, folder);
    if (!d)
        return;
    for (const char *name; (name = next_name(d)) != NULL;)
        unlinkat(dirfd(d), name, 0);
    closedir(d);
    unlinkat(at, folder, AT_REMOVEDIR);
}

static uint64_t folder_bytes(int at, const char *folder)
{
    DIR *d = open_folder(at, folder);
    uint64_t bytes = 0;
    struct stat st;
    if (!d)
        return 0;
    for (const char *name; (name = next_name(d)) != NULL;)
        if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            bytes += (uint64_t)st.st_size;
    closedir(d);
    return bytes;
}

static bool is_earlier(struct timespec a, struct timespec b)
{
    return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

static void remove_oldest_other(struct hd_weights_cache *c)
{
    struct cache_other *oldest = &c->others[0];
    for (size_t i = 1; i < c->n_others; i++)
        if (is_earlier(c->others[i].changed, oldest->changed))
            oldest = &c->others[i];
    hd_info(c->o.log, "weights_removed", "model=%s bytes=%" PRIu64, oldest->name, oldest->bytes);
    remove_folder(c->root, oldest->name);
    c->others_bytes -= oldest->bytes;
    *oldest = c->others[--c->n_others];
}

/* ---- What is there ----*/

/* The folder of a model is named by 16 hexadecimal digits; whatever else is there is not ours. */
static bool is_model(const char *name)
{
    return strlen(name) == 16 && strspn(name, "0123456789abcdef") == 16;
}

static int list_others(struct hd_weights_cache *c)
{
    DIR *d = open_folder(c->root, ".");
    struct stat st;
    if (!d)
        return 0;
    for (const char *name; (name = next_name(d)) != NULL;) {
        if (!is_model(name) || strcmp(name, c->own) == 0 ||
            fstatat(c->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
            continue;
        struct cache_other *more = realloc(c->others, (c->n_others + 1) * sizeof *more);
        if (!more) {
            closedir(d);
            return HD_E_NOMEM;
        }
        c->others = more;
        struct cache_other *o = &c->others[c->n_others++];
        *o = (struct cache_other){.bytes = folder_bytes(c->root, name), .changed = st.st_mtim};
        snprintf(o->name, sizeof o->name, "%s", name);
        c->others_bytes += o->bytes;
    }
    closedir(d);
    return 0;
}

static void list_pieces(struct hd_weights_cache *c)
{
    char name[CACHE_NAME];
    struct stat st;
    for (size_t i = 0; i < c->n; i++) {
        cache_name(c, i, name);
        if (fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != cache_file_bytes(c, i)) {
            unlinkat(c->dir, name, 0);
            continue;
        }
        c->size[i] = (uint64_t)st.st_size;
        c->bytes += c->size[i];
    }
}

/* What a worker that was killed has begun to write. */
static void remove_half_done(struct hd_weights_cache *c)
{
    DIR *d = open_folder(c->dir, ".");
    struct stat st;
    time_t now = time(NULL);
    if (!d)
        return;
    for (const char *name; (name = next_name(d)) != NULL;)
        if (strncmp(name, HALF_DONE, strlen(HALF_DONE)) == 0 &&
            fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && now - st.st_mtime > HALF_DONE_S)
            unlinkat(c->dir, name, 0);
    closedir(d);
}

int cache_scan(struct hd_weights_cache *c, struct hd_error *err)
{
    remove_half_done(c);
    list_pieces(c);
    if (list_others(c) < 0)
        return hd_fail(err, HD_E_NOMEM, "no memory for the list of kept weights");
    while (c->n_others > 0 && c->bytes + c->others_bytes > c->o.limit)
        remove_oldest_other(c);
    for (size_t i = c->n; i-- > 0 && c->o.limit > 0 && c->bytes > c->o.limit;)
        if (c->size[i])
            cache_remove(c, i);
    return 0;
}

/* ---- Room ----*/

static bool remove_unwanted(struct hd_weights_cache *c, size_t but)
{
    for (size_t i = c->n; i-- > 0;)
        if (c->size[i] && !c->wanted[i] && i != but) {
            cache_remove(c, i);
            return true;
        }
    return false;
}

bool cache_make_room(struct hd_weights_cache *c, size_t index)
{
    uint64_t need = cache_file_bytes(c, index) - c->size[index];
    if (c->o.limit == 0) {
        while (remove_unwanted(c, index))
            ;
        return c->wanted[index];
    }
    while (c->bytes + c->others_bytes + need > c->o.limit) {
        if (c->n_others > 0)
            remove_oldest_other(c);
        else if (!c->wanted[index] || !remove_unwanted(c, index))
            return false;
    }
    return true;
}
