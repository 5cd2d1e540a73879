/* torch_zip.h - the records of a file of torch.save: a ZIP archive, nothing in it compressed.
 * Internal to common/model. PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.16. */
#ifndef HD_MODEL_TORCH_ZIP_H
#define HD_MODEL_TORCH_ZIP_H

#include "common/util/error.h"

#include <stddef.h>
#include <stdint.h>

#define HD_ZIP_MAX_RECORDS   16384
#define HD_ZIP_MAX_DIRECTORY (64u << 20) /* bytes */

struct hd_zip_record {
    const char *name; /* of hd_zip, NUL at its end */
    size_t at, len;   /* in the file */
};

struct hd_zip {
    struct hd_zip_record *records; /* [n] */
    size_t n;
    uint8_t *directory; /* a copy; the names are made in it */
};

/* The records of `len` bytes, each of which lies in them. HD_E_FORMAT, HD_E_UNSUPPORTED (something
 * that torch.save does not write), HD_E_LIMIT, HD_E_NOMEM; `err` without the file's name. */
int hd_zip_read(struct hd_zip *z, const uint8_t *data, size_t len, struct hd_error *err);
void hd_zip_deinit(struct hd_zip *z);
/* The record FOLDER/name, in the one folder that all are in; NULL: there is none. */
const struct hd_zip_record *hd_zip_find(const struct hd_zip *z, const char *name);

#endif
