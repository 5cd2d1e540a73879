/* map.h - a whole file mapped read-only, and guarded (guard.h). Internal to common/model. */
#ifndef HD_MODEL_MAP_H
#define HD_MODEL_MAP_H

#include "common/model/files.h"
#include "common/util/error.h"

#include <stddef.h>
#include <stdint.h>

struct hd_guard;

struct hd_map {
    const uint8_t *data; /* page-aligned; NULL for an empty file */
    size_t len;
    size_t owned;           /* bytes at the beginning that are a copy, see hd_map_own */
    int fd;                 /* open as long as it is mapped */
    struct hd_file_id id;   /* when it was opened */
    struct hd_guard *guard; /* NULL for an empty file */
};

/* HD_E_NOTFOUND when there is no such file, HD_E_IO for what else goes wrong; `err` names it. */
int hd_map_open(struct hd_map *m, const char *path, struct hd_error *err);
/* Takes a zeroed or a closed map too. */
void hd_map_close(struct hd_map *m);

/* Makes at least the first n bytes (n <= len) a copy of the file's as they are now, at the same
 * address: whatever happens to the file, what is parsed stays what was checked, and views into it
 * stay what they were. HD_E_IO when they cannot be read. */
int hd_map_own(struct hd_map *m, size_t n);
/* No more than n bytes need be a copy, rounded up to pages: the others are the file's again. */
int hd_map_own_only(struct hd_map *m, size_t n);
/* Pages of the file that have been read count as ours no longer; they stay in the system's cache.
 */
void hd_map_let_go(const struct hd_map *m);
/* What the open file is now. */
int hd_map_id(const struct hd_map *m, struct hd_file_id *id);

#endif
