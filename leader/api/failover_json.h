/* failover_json.h - a recovery's report as JSON, the same for a request's answer and the status. */
#ifndef HD_API_FAILOVER_JSON_H
#define HD_API_FAILOVER_JSON_H

#include "leader/core/types.h"

#include <jansson.h>

/* A new object, or NULL when memory is out. */
json_t *hd_failover_json(const struct hd_failover *f);

/* A JSON number, or null for what JSON cannot say (not finite). */
json_t *hd_real_json(double v);

#endif
