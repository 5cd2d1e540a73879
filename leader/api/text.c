/* text.c - holds back the end of a text that may yet become a stop string. */
#include "leader/api/text.h"

#include "common/util/error.h"
#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

int hd_text_add(struct hd_text *t, const char *data, size_t len)
{
    size_t need;
    if (!hd_add_size(t->len, len, &need) || !hd_add_size(need, 1, &need))
        return HD_E_NOMEM;
    if (need > t->cap) {
        size_t cap = need > t->cap + t->cap / 2 ? need : t->cap + t->cap / 2;
        char *p = realloc(t->data, cap);
        if (!p)
            return HD_E_NOMEM;
        t->data = p;
        t->cap = cap;
    }
    if (len > 0)
        memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
    return 0;
}

const char *hd_text_str(const struct hd_text *t)
{
    return t->data ? t->data : "";
}

void hd_text_clear(struct hd_text *t)
{
    t->len = 0;
    if (t->data)
        t->data[0] = '\0';
}

void hd_text_deinit(struct hd_text *t)
{
    free(t->data);
    *t = (struct hd_text){0};
}

void hd_text_drop(struct hd_text *t, size_t n)
{
    if (n == 0)
        return;
    memmove(t->data, t->data + n, t->len - n + 1);
    t->len -= n;
}

size_t hd_text_maybe_begins(const struct hd_text *t, const char *mark)
{
    const char *s = hd_text_str(t);
    size_t len = t->len, at = len, n = strlen(mark);
    for (size_t i = len < n ? 0 : len - n + 1; i < len; i++)
        if (strncmp(s + i, mark, len - i) == 0) {
            at = i;
            break;
        }
    while (at > 0 && strchr(" \t\r\n", s[at - 1]))
        at--;
    return at;
}

const char *hd_word_next(const char *w, size_t *len)
{
    if (!w)
        return NULL;
    w += strspn(w, " ");
    *len = strcspn(w, " ");
    return *len > 0 ? w : NULL;
}

/* Where the earliest stop string begins, or NULL. */
static const char *find_stop(struct hd_stops *s)
{
    const char *first = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const char *at = strstr(hd_text_str(&s->held), s->list[i]);
        if (at && (!first || at < first)) {
            first = at;
            s->met = s->list[i];
        }
    }
    return first;
}

/* The longest end of the held text with which a stop string begins. */
static size_t open_end(const struct hd_stops *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t k = strlen(s->list[i]) - 1;
        if (k > s->held.len)
            k = s->held.len;
        for (; k > longest; k--)
            if (memcmp(s->held.data + s->held.len - k, s->list[i], k) == 0)
                longest = k;
    }
    return longest;
}

int hd_stops_push(struct hd_stops *s, const char *text, struct hd_text *out)
{
    if (s->met)
        return 1;
    if (s->n == 0)
        return hd_text_add(out, text, strlen(text));
    int rc = hd_text_add(&s->held, text, strlen(text));
    if (rc < 0)
        return rc;
    const char *at = find_stop(s);
    size_t show = at ? (size_t)(at - s->held.data) : s->held.len - open_end(s);
    rc = hd_text_add(out, s->held.data, show);
    if (rc < 0)
        return rc;
    hd_text_drop(&s->held, show);
    return s->met ? 1 : 0;
}

int hd_stops_finish(struct hd_stops *s, struct hd_text *out)
{
    int rc = s->met ? 0 : hd_text_add(out, hd_text_str(&s->held), s->held.len);
    hd_text_clear(&s->held);
    return rc;
}

void hd_stops_deinit(struct hd_stops *s)
{
    hd_text_deinit(&s->held);
}
