/* answer.h - one answer, from the first of several leaders that can give it or go on with it.
 *
 * A leader's stream has an id and numbers its events. When it breaks off, the next leader of the
 * list is asked for what follows the last of them: a standby of the same cluster has it. Any other
 * one (of another cluster, or the first again, started anew) gets the request with the tokens that
 * are there, and what the stream said of model, prompt and seed; the rest is the same as if nothing
 * had been. One that serves another model says so and is not asked again. */
#ifndef HD_CTL_ANSWER_H
#define HD_CTL_ANSWER_H

#include "common/util/error.h"
#include "leader/ctl/events.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define HD_MAX_LEADERS 16

struct hd_leaders {
    const char *url[HD_MAX_LEADERS];
    size_t n;
    char *text; /* malloc'ed, what they point into */
};
/* "http://a:8080,http://b:8080". HD_E_CONFIG, HD_E_NOMEM; hd_leaders_deinit is right in any case.
 */
int hd_leaders_parse(struct hd_leaders *l, const char *list, struct hd_error *err);
void hd_leaders_deinit(struct hd_leaders *l);

struct hd_ask {
    const struct hd_leaders *leaders;
    const char *key, *path;
    const json_t *body;   /* with "stream" and "hydac" */
    uint64_t patience_ms; /* since the last sign of an answer, while leaders fail; 0: one try */
    /* As it comes; each may be NULL. */
    void (*on_text)(void *arg, const char *text, size_t len);
    void (*on_resume)(void *arg, const char *leader, size_t tokens, const char *why);
    bool (*stop)(void *arg); /* asked now and then: the answer ends as it is */
    void *arg;
};

struct hd_answer {
    char *text;
    size_t text_len;
    json_t *tokens, *logprobs;                  /* arrays */
    json_t *usage, *timings, *failovers, *seed; /* NULL: not told */
    char finish[32];                            /* "stopped": it was */
    unsigned resumed;                           /* so often it went on elsewhere */
    const char *leader;                         /* the last */
};
/* 0, or what the last leader failed with; HD_E_LIMIT, HD_E_NOMEM. hd_answer_deinit is right in any
 * case. */
int hd_ask(const struct hd_ask *q, struct hd_answer *a, struct hd_error *err);
void hd_answer_deinit(struct hd_answer *a);

#endif
