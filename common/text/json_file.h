/* json_file.h - the text files of a model's folder. Internal to common/text. */
#ifndef HD_TEXT_JSON_FILE_H
#define HD_TEXT_JSON_FILE_H

#include "common/util/error.h"

#include <jansson.h>
#include <stddef.h>

/* The largest tokenizer.json known has 33 MiB. */
#define HD_TEXT_FILE_MAX_BYTES ((size_t)128 << 20)

/* A whole file of the folder: malloc'ed, with a NUL behind its `len` bytes. HD_E_NOTFOUND (without
 * words: many files are optional), HD_E_IO, HD_E_LIMIT, HD_E_NOMEM. */
int hd_text_file(const char *folder, const char *name, char **data, size_t *len,
                 struct hd_error *err);
/* The JSON object in a file, to be given to json_decref. As hd_text_file, and HD_E_FORMAT. */
int hd_text_json(const char *folder, const char *name, json_t **out, struct hd_error *err);

#endif
