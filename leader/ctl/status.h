/* status.h - the leader's own object. */
#ifndef HD_CTL_STATUS_H
#define HD_CTL_STATUS_H

#include "common/util/error.h"

#include <jansson.h>

/* What /hydac/status answers; NULL with one sentence. key_file: as hd_http_key_get. */
json_t *hd_status_fetch(const char *base, const char *key_file, struct hd_error *err);

#endif
