/* refusal.h - an answer that is an error, in OpenAI's words. */
#ifndef HD_API_REFUSAL_H
#define HD_API_REFUSAL_H

#include "common/util/error.h"

#include <jansson.h>

struct hd_refusal {
    unsigned status;  /* HTTP; 0: it is none */
    const char *type; /* static */
    const char *code; /* static, NULL = null */
    char param[64];   /* "" = null */
    char text[512];
};

/* Fills *r; the type follows from the status. Returns HD_E_RANGE, so that callers return it. */
int hd_refuse(struct hd_refusal *r, unsigned status, const char *param, const char *code,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* A member of the body that is not `what`: 400. */
int hd_refuse_value(struct hd_refusal *r, const char *key, const char *what);
int hd_refuse_memory(struct hd_refusal *r); /* there is none: 500 */
/* A model that is not served here: 404. */
int hd_refuse_model(struct hd_refusal *r, const char *name, const char *served);
/* {"error": {...}}, NULL when memory is out. Other APIs have forms of their own. */
json_t *hd_refusal_json(const struct hd_refusal *r);
json_t *hd_ollama_refusal(const struct hd_refusal *r);
json_t *hd_messages_refusal(const struct hd_refusal *r);

/* What the backend has said to a request: queue full, not ready, options that cannot be met. */
void hd_refuse_submit(struct hd_refusal *r, int rc, const struct hd_error *err);

#endif
