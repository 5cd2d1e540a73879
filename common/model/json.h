/* json.h - a JSON file as jansson's value. Internal to common/model. */
#ifndef HD_MODEL_JSON_H
#define HD_MODEL_JSON_H

#include "common/util/error.h"

#include <jansson.h>

/* A configuration or an index is at most some MiB; more is not one. */
#define HD_JSON_MAX_FILE ((size_t)256 << 20)

/* The object in `text`; NULL and `err` (HD_E_FORMAT, "NAME: line 1: ...") when there is none. */
json_t *hd_json_object(const char *name, const char *text, size_t len, struct hd_error *err);
/* The object in a file: HD_E_NOTFOUND, HD_E_IO, HD_E_FORMAT, HD_E_LIMIT. */
int hd_json_file(json_t **out, const char *path, struct hd_error *err);
/* A list likewise. */
int hd_json_list(json_t **out, const char *path, struct hd_error *err);

#endif
