/* kind.h - what a file or a folder is that holds no model as we know them: people download web
 * pages, pointers, adapters, halves. A sentence that says so saves them an hour. Internal to
 * common/model. */
#ifndef HD_MODEL_KIND_H
#define HD_MODEL_KIND_H

#include "common/util/error.h"

#include <stddef.h>

/* The beginning of a file (all of it, or 512 bytes at least): "a web page, not a model: ..."; NULL
 * when it looks like nothing that we know. */
const char *hd_kind_of_bytes(const void *data, size_t len);

/* A folder without config.json, or with one and without weights: HD_E_UNSUPPORTED with what is
 * there and what to do, or `rc` with `err` as they are when nothing in it tells. */
int hd_kind_of_folder(const char *folder, int rc, struct hd_error *err);

#endif
