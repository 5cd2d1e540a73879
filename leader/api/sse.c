/* sse.c - a number is written as short as it can be read back. */
#include "leader/api/sse.h"

#include "common/util/error.h"

#include <stdlib.h>
#include <string.h>

char *hd_json_text(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    return text;
}

static int add(struct hd_text *out, const char *text)
{
    return hd_text_add(out, text, strlen(text));
}

int hd_sse_add(struct hd_text *out, const char *event, json_t *object)
{
    char *text = hd_json_text(object);
    int rc = text ? 0 : HD_E_NOMEM;
    if (rc == 0 && event)
        rc = add(out, "event: ") | add(out, event) | add(out, "\n");
    if (rc == 0)
        rc = add(out, "data: ") | add(out, text) | add(out, "\n\n");
    free(text);
    return rc == 0 ? 0 : HD_E_NOMEM;
}

int hd_line_add(struct hd_text *out, json_t *object)
{
    char *text = hd_json_text(object);
    int rc = text ? add(out, text) | add(out, "\n") : HD_E_NOMEM;
    free(text);
    return rc == 0 ? 0 : HD_E_NOMEM;
}
