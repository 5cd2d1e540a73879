/* numbers.c - ids of events: written, and read again. */
#include "leader/api/numbers.h"

#include "common/util/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t hd_event_len(const char *text, size_t len, bool lines)
{
    const char *end = lines ? memchr(text, '\n', len) : memmem(text, len, "\n\n", 2);
    return end ? (size_t)(end - text) + (lines ? 1 : 2) : len;
}

int hd_number_event(struct hd_numbers *n, unsigned choice, const char *event, size_t len,
                    struct hd_text *out)
{
    char id[HD_EVENT_ID_TEXT + 8] = "id: ";
    size_t at = 4;
    n->of[choice]++;
    for (unsigned i = 0; i < n->n; i++)
        at += (size_t)snprintf(id + at, sizeof id - at, i ? ".%" PRIu32 : "%" PRIu32, n->of[i]);
    id[at++] = '\n';
    return hd_text_add(out, id, at) == 0 ? hd_text_add(out, event, len) : HD_E_NOMEM;
}

bool hd_numbers_read(struct hd_numbers *out, const char *id)
{
    *out = (struct hd_numbers){0};
    for (;; id++) {
        char *end;
        unsigned long v = strtoul(id, &end, 10);
        if (*id < '0' || *id > '9' || v > UINT32_MAX || out->n == HD_MAX_NUMBERS)
            return false;
        out->of[out->n++] = (uint32_t)v;
        id = end;
        if (*id != '.')
            return *id == '\0';
    }
}
