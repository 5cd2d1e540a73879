/* backend.c - who is meant by a model's name. */
#include "leader/api/backend.h"

#include "leader/api/text.h"

#include <string.h>

bool hd_api_is_model(const struct hd_api_backend *b, const char *name)
{
    const char *w = b->aliases;
    size_t len = strlen(name), n;
    if (strcmp(b->model, name) == 0)
        return true;
    for (; (w = hd_word_next(w, &n)); w += n)
        if (n == len && memcmp(w, name, n) == 0)
            return true;
    return false;
}
