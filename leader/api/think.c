/* think.c - text comes in pieces; what may be a mark is held back until it is known. */
#include "leader/api/think.h"

#include <string.h>

#define OPEN  "<think>"
#define CLOSE "</think>"

static const char blanks[] = " \t\r\n";

void hd_think_init(struct hd_think *t, const char *template, const char *opened)
{
    size_t len = strlen(opened), n = sizeof OPEN - 1;
    *t = (struct hd_think){.on = strstr(template, OPEN) != NULL};
    while (len > 0 && strchr(blanks, opened[len - 1]))
        len--;
    if (t->on && len >= n && memcmp(opened + len - n, OPEN, n) == 0)
        t->at = HD_THINK_INSIDE;
}

/* 1: it goes on in another state; 0: more text is needed. */
static int look_for_open(struct hd_think *t)
{
    const char *held = hd_text_str(&t->held);
    size_t blank = strspn(held, blanks), n = sizeof OPEN - 1;
    size_t there = t->held.len - blank;
    if (there >= n && memcmp(held + blank, OPEN, n) == 0) {
        hd_text_drop(&t->held, blank + n);
        t->at = HD_THINK_INSIDE;
        return 1;
    }
    if (there < n && memcmp(held + blank, OPEN, there) == 0)
        return 0;
    t->at = HD_THINK_OVER;
    return 1;
}

static int look_for_close(struct hd_think *t, struct hd_text *thought)
{
    if (!t->begun) /* not what is in between */
        hd_text_drop(&t->held, strspn(hd_text_str(&t->held), blanks));
    const char *held = hd_text_str(&t->held), *end = strstr(held, CLOSE);
    size_t go = end ? (size_t)(end - held) : hd_text_maybe_begins(&t->held, CLOSE);
    size_t drop = end ? go + sizeof CLOSE - 1 : go;
    while (end && go > 0 && strchr(blanks, held[go - 1]))
        go--;
    int rc = hd_text_add(thought, held, go);
    if (rc < 0)
        return rc;
    t->begun |= go > 0;
    hd_text_drop(&t->held, drop);
    if (end)
        t->at = HD_THINK_BEHIND;
    return end != NULL;
}

static int step(struct hd_think *t, struct hd_text *out, struct hd_text *thought)
{
    if (t->at == HD_THINK_BEFORE)
        return look_for_open(t);
    if (t->at == HD_THINK_INSIDE)
        return look_for_close(t, thought);
    if (t->at == HD_THINK_BEHIND)
        hd_text_drop(&t->held, strspn(hd_text_str(&t->held), blanks));
    if (t->held.len == 0)
        return 0;
    t->at = HD_THINK_OVER;
    int rc = hd_text_add(out, hd_text_str(&t->held), t->held.len);
    hd_text_clear(&t->held);
    return rc;
}

int hd_think_push(struct hd_think *t, const char *text, struct hd_text *out,
                  struct hd_text *thought)
{
    int rc = hd_text_add(&t->held, text, strlen(text));
    do {
        rc = rc < 0 ? rc : step(t, out, thought);
    } while (rc == 1);
    return rc;
}

int hd_think_finish(struct hd_think *t, struct hd_text *out, struct hd_text *thought)
{
    bool inside = t->at == HD_THINK_INSIDE;
    int rc = hd_text_add(inside ? thought : out, hd_text_str(&t->held), t->held.len);
    hd_text_clear(&t->held);
    return rc;
}

void hd_think_deinit(struct hd_think *t)
{
    hd_text_deinit(&t->held);
}
