/* channels.c - heads and bodies of messages, told apart at control tokens. */
#include "leader/api/channels.h"

#include <stdio.h>
#include <string.h>

#define TO "to=functions."

static const char blanks[] = " \t\r\n";

/* Where a body goes, by its head: words, of which one may be the tool. */
static void read_head(struct hd_channels *c, const struct hd_channel_sinks *to)
{
    const char *word = hd_text_str(&c->head);
    c->at = HD_CHANNEL_TEXT;
    for (word += strspn(word, blanks); *word; word += strspn(word, blanks)) {
        size_t n = strcspn(word, blanks);
        size_t name = n - (sizeof TO - 1);
        bool tool = n >= sizeof TO && strncmp(word, TO, sizeof TO - 1) == 0;
        if (tool && to->calls && name < sizeof c->name) {
            snprintf(c->name, sizeof c->name, "%.*s", (int)name, word + sizeof TO - 1);
            c->at = HD_CHANNEL_CALL;
        } else if (n == 8 && strncmp(word, "analysis", n) == 0 && c->at != HD_CHANNEL_CALL) {
            c->at = HD_CHANNEL_THOUGHT;
        }
        word += n;
    }
    hd_text_clear(&c->head);
}

/* The body has ended: of a call it is arguments, or text if it cannot be. */
static int end_body(struct hd_channels *c, const struct hd_channel_sinks *to)
{
    int rc = 0;
    if (c->at == HD_CHANNEL_CALL) {
        json_t *arguments = json_loads(hd_text_str(&c->body), 0, NULL);
        rc = json_is_object(arguments) ? hd_calls_add(to->found, to->calls, c->name, arguments)
                                       : hd_text_add(to->out, hd_text_str(&c->body), c->body.len);
        json_decref(arguments);
        hd_text_clear(&c->body);
    }
    c->at = HD_CHANNEL_HEAD;
    hd_text_clear(&c->head);
    return rc;
}

static int take_mark(struct hd_channels *c, const struct hd_channel_sinks *to)
{
    const char *mark = hd_text_str(&c->mark);
    bool heading = c->at == HD_CHANNEL_HEAD;
    int rc = 0;
    if (heading && strcmp(mark, HD_MARK_MESSAGE) == 0)
        read_head(c, to);
    else if (heading &&
             (strcmp(mark, HD_MARK_CHANNEL) == 0 || strcmp(mark, HD_MARK_CONSTRAIN) == 0))
        rc = hd_text_add(&c->head, " ", 1);
    else
        rc = end_body(c, to);
    hd_text_clear(&c->mark);
    return rc;
}

static int take_text(struct hd_channels *c, const char *text, size_t n,
                     const struct hd_channel_sinks *to)
{
    struct hd_text *sinks[] = {
        [HD_CHANNEL_HEAD] = &c->head,
        [HD_CHANNEL_THOUGHT] = to->thought,
        [HD_CHANNEL_TEXT] = to->out,
        [HD_CHANNEL_CALL] = &c->body,
    };
    return hd_text_add(sinks[c->at], text, n);
}

int hd_channels_push(struct hd_channels *c, const char *text, const struct hd_channel_sinks *to)
{
    int rc = 0;
    while (rc == 0 && *text) {
        bool marked = c->mark.len > 0 || *text == HD_GRAMMAR_CONTROL[0];
        size_t n = strcspn(text, marked ? ">" : HD_GRAMMAR_CONTROL);
        bool whole = marked && text[n] == '>';
        n += whole;
        rc = marked ? hd_text_add(&c->mark, text, n) : take_text(c, text, n, to);
        text += n;
        if (rc == 0 && whole)
            rc = take_mark(c, to);
    }
    return rc;
}

int hd_channels_finish(struct hd_channels *c, const struct hd_channel_sinks *to)
{
    int rc = 0;
    if (c->at == HD_CHANNEL_HEAD) /* a head alone is what a model says that knows no channels */
        rc = hd_text_add(to->out, hd_text_str(&c->head), c->head.len);
    return rc < 0 ? rc : end_body(c, to);
}

void hd_channels_deinit(struct hd_channels *c)
{
    hd_text_deinit(&c->mark);
    hd_text_deinit(&c->head);
    hd_text_deinit(&c->body);
}
