/* text.h - a string that grows, words of a list, and stop strings cut out of a stream of text. */
#ifndef HD_API_TEXT_H
#define HD_API_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct hd_text {
    char *data; /* NUL-terminated once something was added, else NULL */
    size_t len, cap;
};
/* 0 or HD_E_NOMEM (unchanged). */
int hd_text_add(struct hd_text *t, const char *data, size_t len);
/* The text as a C string, "" when empty. */
const char *hd_text_str(const struct hd_text *t);
void hd_text_clear(struct hd_text *t); /* empty, keeps its memory */
void hd_text_deinit(struct hd_text *t);
void hd_text_drop(struct hd_text *t, size_t n); /* its first bytes, that are there */
/* Where the end begins that may be the beginning of `mark`, with the blanks before it. */
size_t hd_text_maybe_begins(const struct hd_text *t, const char *mark);

/* The next word of a list with blanks between them, from *w on; NULL: there is none (w may be
 * NULL). Not NUL-terminated, *len bytes: go on behind it. */
const char *hd_word_next(const char *w, size_t *len);

/* OpenAI's limit is 4; others take more, and clients send them. */
#define HD_MAX_STOPS 16

/* Text passes through; what may be the beginning of a stop string is held back until it is known
 * not to be one. From a stop string on nothing passes. */
struct hd_stops {
    const char *list[HD_MAX_STOPS]; /* borrowed, none empty */
    size_t n;
    struct hd_text held;
    const char *met; /* the one at which it ended; NULL: none so far */
};
/* Adds to `out` what may be shown. 0, 1 when a stop string was met (now or before), HD_E_NOMEM. */
int hd_stops_push(struct hd_stops *s, const char *text, struct hd_text *out);
/* The stream has ended: what is held is shown. 0 or HD_E_NOMEM. */
int hd_stops_finish(struct hd_stops *s, struct hd_text *out);
void hd_stops_deinit(struct hd_stops *s);

#endif
