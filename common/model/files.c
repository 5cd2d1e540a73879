/* files.c - asks the open files, not their names, whether they are still what they were. */
#include "common/model/files.h"

#include "common/model/gguf_impl.h"
#include "common/model/guard.h"
#include "common/model/model_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The map of file i and its path; NULL behind the last. */
static const struct hd_map *map_of(const struct hd_model *m, size_t i, const char **path)
{
    if (m->gguf) {
        const struct hd_gguf *g = i == 0                  ? m->gguf
                                  : i <= m->gguf->n_parts ? m->gguf->parts[i - 1]
                                                          : NULL;
        *path = g ? g->path : NULL;
        return g ? &g->map : NULL;
    }
    return m->impl ? hd_safetensors_map(m->impl, i, path) : NULL;
}

uint64_t hd_model_stamp(const struct hd_model *m)
{
    const struct hd_map *map;
    const char *path;
    uint64_t stamp = 0;

    for (size_t i = 0; (map = map_of(m, i, &path)); i++)
        stamp = XXH3_64bits_withSeed(&map->id, sizeof map->id, stamp);
    return stamp || !map_of(m, 0, &path) ? stamp : 1;
}

static int check_file(const struct hd_map *map, const char *path, struct hd_error *err)
{
    struct hd_file_id now;

    if (hd_map_id(map, &now) < 0)
        return hd_fail(err, HD_E_IO, "%s: %s", path, strerror(errno));
    if (now.size != map->id.size)
        return hd_fail(err, HD_E_IO,
                       "%s has changed since it was opened: it had %" PRIu64 " bytes, now %" PRIu64,
                       path, map->id.size, now.size);
    if (map->guard && hd_guard_lost(map->guard) > 0)
        return hd_fail(err, HD_E_IO, "%s cannot be read: %zu pages of it are lost", path,
                       hd_guard_lost(map->guard));
    if (now.mtime_ns == map->id.mtime_ns)
        return HD_FILES_SAME;
    hd_fail(err, HD_E_IO, "%s has been written to since it was opened", path);
    return HD_FILES_TOUCHED;
}

int hd_model_check_files(const struct hd_model *m, struct hd_error *err)
{
    const struct hd_map *map;
    const char *path;
    int worst = HD_FILES_SAME;

    for (size_t i = 0; worst >= 0 && (map = map_of(m, i, &path)); i++) {
        int rc = check_file(map, path, err);
        worst = rc != HD_FILES_SAME ? rc : worst;
    }
    return worst;
}

void hd_model_note_files(struct hd_model *m)
{
    const struct hd_map *map;
    const char *path;
    struct hd_file_id now;

    for (size_t i = 0; (map = map_of(m, i, &path)); i++)
        if (hd_map_id(map, &now) == 0)
            ((struct hd_map *)map)->id = now; /* the model is the caller's to change */
}

void hd_model_let_go(const struct hd_model *m)
{
    const struct hd_map *map;
    const char *path;

    for (size_t i = 0; (map = map_of(m, i, &path)); i++)
        hd_map_let_go(map);
}

const char *hd_model_where(const struct hd_model *m, const uint8_t *byte, uint64_t *offset)
{
    const struct hd_map *map;
    const char *path;

    for (size_t i = 0; (map = map_of(m, i, &path)); i++)
        if (byte >= map->data && byte < map->data + map->len) {
            *offset = (uint64_t)(byte - map->data);
            return path;
        }
    *offset = 0;
    return NULL;
}
