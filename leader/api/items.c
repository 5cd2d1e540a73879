/* items.c - one item is open at a time; another kind of news ends it. */
#include "leader/api/items.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int hd_items_new(struct hd_answer *a, const struct hd_item_form *form)
{
    struct hd_items *b = calloc(1, sizeof *b);
    if (!b)
        return HD_E_NOMEM;
    b->form = form;
    b->items = json_array();
    a->state = b;
    return b->items ? 0 : HD_E_NOMEM;
}

void hd_items_free(void *items)
{
    struct hd_items *b = items;
    if (!b)
        return;
    hd_text_deinit(&b->text);
    json_decref(b->items);
    free(b);
}

struct hd_items *hd_items_of(const struct hd_answer *a)
{
    return a->state;
}

void hd_items_id(const struct hd_answer *a, const char *prefix, size_t n, char id[64])
{
    const char *own = strchr(a->choices[0].gen.id, '-');
    snprintf(id, 64, n ? "%s_%.20s_%zu" : "%s_%.20s", prefix, own ? own + 1 : "", n);
}

static struct hd_item now(const struct hd_items *b)
{
    return (struct hd_item){
        .kind = b->open, .index = json_array_size(b->items), .text = hd_text_str(&b->text)};
}

static int end_item(struct hd_answer *a, const struct hd_item *what, struct hd_text *out)
{
    struct hd_items *b = a->state;
    json_t *item = b->form->item(a, what);
    int rc = item ? 0 : HD_E_NOMEM;
    if (rc == 0 && out)
        rc = b->form->close(a, what, item, out);
    if (json_array_append_new(b->items, item) < 0)
        rc = HD_E_NOMEM;
    b->open = HD_ITEM_NONE;
    hd_text_clear(&b->text);
    return rc;
}

static int close_open(struct hd_answer *a, struct hd_text *out)
{
    struct hd_item what = now(a->state);
    return what.kind == HD_ITEM_NONE ? 0 : end_item(a, &what, out);
}

/* Text of a kind, to the open item or to a new one. */
static int add_text(struct hd_answer *a, enum hd_item_kind kind, const char *text,
                    struct hd_text *out)
{
    struct hd_items *b = a->state;
    int rc = b->open == kind ? 0 : close_open(a, out);
    if (rc == 0 && b->open == HD_ITEM_NONE) {
        b->open = kind;
        struct hd_item what = now(b);
        rc = out ? b->form->open(a, &what, out) : 0;
    }
    if (rc == 0 && text[0]) {
        struct hd_item what = now(b);
        rc = out ? b->form->delta(a, &what, text, out) : 0;
    }
    return rc == 0 ? hd_text_add(&b->text, text, strlen(text)) : rc;
}

static const char *member(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int add_call(struct hd_answer *a, const json_t *call, struct hd_text *out)
{
    struct hd_items *b = a->state;
    const json_t *function = json_object_get(call, "function");
    int rc = close_open(a, out);
    struct hd_item what = {.kind = HD_ITEM_CALL,
                           .index = json_array_size(b->items),
                           .text = "",
                           .name = member(function, "name"),
                           .id = member(call, "id")};
    if (rc == 0 && out)
        rc = b->form->open(a, &what, out);
    if (rc == 0 && out)
        rc = b->form->delta(a, &what, member(function, "arguments"), out);
    what.text = member(function, "arguments");
    return rc == 0 ? end_item(a, &what, out) : rc;
}

int hd_items_news(struct hd_answer *a, struct hd_text *out)
{
    struct hd_generation *g = &a->choices[0].gen;
    struct hd_items *b = a->state;
    int rc = 0;
    if (g->reasoning.len > 0)
        rc = add_text(a, HD_ITEM_THOUGHT, hd_text_str(&g->reasoning), out);
    if (rc == 0 && g->text.len > 0)
        rc = add_text(a, HD_ITEM_TEXT, hd_text_str(&g->text), out);
    for (size_t i = 0; rc == 0 && i < json_array_size(g->tool_calls); i++)
        rc = add_call(a, json_array_get(g->tool_calls, i), out);
    bool nothing = b->open == HD_ITEM_NONE && json_array_size(b->items) == 0;
    if (rc == 0 && g->finish && nothing)
        rc = add_text(a, HD_ITEM_TEXT, "", out);
    if (rc == 0 && g->finish)
        rc = close_open(a, out);
    hd_generation_taken(g);
    return rc;
}
