/* items.h - an answer as items behind one another: thoughts, text, calls of tools. OpenAI's
 * responses and Anthropic's messages are such lists; a stream says of each that it begins, what
 * comes in and that it ends. */
#ifndef HD_API_ITEMS_H
#define HD_API_ITEMS_H

#include "leader/api/answer.h"

enum hd_item_kind { HD_ITEM_NONE, HD_ITEM_THOUGHT, HD_ITEM_TEXT, HD_ITEM_CALL };
struct hd_item {
    enum hd_item_kind kind;
    size_t index;          /* in the answer */
    const char *text;      /* so far; of a call its arguments */
    const char *name, *id; /* of a call */
};

/* Functions return 0 or HD_E_NOMEM. */
struct hd_item_form {
    json_t *(*item)(struct hd_answer *a, const struct hd_item *b); /* when it is whole */
    int (*open)(struct hd_answer *a, const struct hd_item *b, struct hd_text *out);
    int (*delta)(struct hd_answer *a, const struct hd_item *b, const char *more,
                 struct hd_text *out);
    int (*close)(struct hd_answer *a, const struct hd_item *b, json_t *item, struct hd_text *out);
};

/* In an answer's `state`. */
struct hd_items {
    const struct hd_item_form *form;
    enum hd_item_kind open;
    struct hd_text text; /* of the open one */
    json_t *items;       /* those that are whole */
    unsigned events;     /* that were sent */
};
int hd_items_new(struct hd_answer *a, const struct hd_item_form *form);
void hd_items_free(void *items);
struct hd_items *hd_items_of(const struct hd_answer *a);
/* What the first choice has collected, and that it has ended; `out` NULL: without events. */
int hd_items_news(struct hd_answer *a, struct hd_text *out);

/* An id that goes with the answer's: "PREFIX_..._N". */
void hd_items_id(const struct hd_answer *a, const char *prefix, size_t n, char id[64]);

#endif
