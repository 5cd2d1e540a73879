/* answer.h - what a call to generate text comes to: one or several answers of the model, in one of
 * the forms that clients know.
 *
 * Happy path: hd_answer_start -> a thread reads the body (the form makes one of OpenAI's of it) ->
 * all choices are submitted -> tokens are collected, and sent as they come if that was asked for ->
 * the last choice has ended: the stream's end, or one object.
 * Failure modes: those of call.h; one choice that fails ends the others and the whole answer. */
#ifndef HD_API_ANSWER_H
#define HD_API_ANSWER_H

#include "leader/api/call.h"
#include "leader/api/numbers.h"
#include "leader/api/objects.h"

/* As many as can live at once; the queue holds what is beyond. */
#define HD_MAX_CHOICES 64

struct hd_answer;
struct hd_choice {
    struct hd_answer *answer;
    struct hd_generation gen;
    struct hd_request *request; /* alive in the backend, else NULL */
    bool counted;               /* how it ended was */
    bool ended;
    bool cancel; /* to be cancelled from the loop */
};

/* A way in which clients ask and are answered. What returns a number: 0 or HD_E_NOMEM. */
struct hd_form {
    bool chat;
    bool endless;     /* without max_tokens the context is the limit, as in a chat */
    const char *type; /* Content-Type of a stream; NULL: of events. Static */
    const char *idle; /* what is sent while a stream has nothing to say; NULL: nothing. Static */
    /* *body as one of OpenAI's, in its place; what is to be kept of it in a->kept. 0 or HD_E_RANGE
     * with *r. NULL: it is one. */
    int (*read)(struct hd_answer *a, json_t **body, struct hd_refusal *r);
    int (*begin)(struct hd_answer *a, struct hd_text *out); /* of a stream; NULL: nothing */
    /* What choice i has collected, and its end where gen.finish is set. */
    int (*news)(struct hd_answer *a, size_t i, struct hd_text *out);
    int (*end)(struct hd_answer *a, struct hd_text *out);
    /* For who has asked for it (params.h): how far choice i's prompt is. NULL: it is not told. */
    int (*prompt)(struct hd_answer *a, size_t i, const struct hd_prompt_progress *p,
                  struct hd_text *out);
    /* A stream ends before its time. */
    int (*fail)(struct hd_answer *a, const struct hd_refusal *r, struct hd_text *out);
    json_t *(*whole)(struct hd_answer *a); /* NULL: memory is out */
    void (*free)(void *state);             /* NULL: there is none */
};

struct hd_answer {
    struct hd_call *call;
    const struct hd_form *form;
    bool chat;                 /* the form's, unless it reads something else */
    struct hd_choice *choices; /* [n], those of a prompt behind one another */
    size_t n, a_prompt;        /* a_prompt: choices of each prompt */
    size_t wanted;             /* ... of which so many are given back */
    size_t running;            /* choices that have not ended */
    struct hd_born born;
    struct hd_text asked; /* the body as it came, while it may be recorded */
    uint32_t brought;     /* tokens that the request brought along (resume.h) */
    bool failed;
    struct hd_record *record; /* the backend's; NULL: nobody else could go on */
    struct hd_text news;      /* events in the making */
    struct hd_numbers numbers;
    json_t *kept; /* the form's */
    struct hd_unknown unknown, loose;
    void *state; /* likewise */
};

/* What is asked, unless that is a run already (runs.h). */
void hd_answer_start(struct hd_call *c, const struct hd_form *form);

/* What the call makes is an answer's: what its clients call it ("": not known yet), and how many
 * choices it has. */
void hd_answer_id(const struct hd_call *c, char id[HD_RECORD_ID]);
size_t hd_answer_choices(const struct hd_call *c);

/* record.c: what others need to go on */
/* It has just been submitted. */
void hd_answer_record(struct hd_answer *a);
void hd_answer_sampled(struct hd_answer *a, size_t choice, const struct hd_token_event *t);
/* Nothing follows. */
void hd_answer_recorded(struct hd_answer *a);

/* choices.c: from the body, on a thread. 0 or HD_E_RANGE with *r; hd_choices_free is right in both
 * cases. */
int hd_choices_read(struct hd_answer *a, json_t *body, struct hd_refusal *r);
void hd_choices_free(struct hd_answer *a);
/* Of all choices. */
struct hd_usage hd_answer_usage(const struct hd_answer *a);

#endif
