/* map.h - a whole file mapped read-only. Internal to common/model. */
#ifndef HD_MODEL_MAP_H
#define HD_MODEL_MAP_H

#include "common/util/error.h"

#include <stddef.h>
#include <stdint.h>

struct hd_map {
    const uint8_t *data; /* page-aligned; NULL for an empty file */
    size_t len;
};

/* HD_E_NOTFOUND when there is no such file, HD_E_IO for what else goes wrong; `err` names it. */
int hd_map_open(struct hd_map *m, const char *path, struct hd_error *err);
/* Takes a zeroed or a closed map too. */
void hd_map_close(struct hd_map *m);

#endif
