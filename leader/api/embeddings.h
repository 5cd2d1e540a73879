/* embeddings.h - vectors of texts, of a model that says how they are made (common/model/pooled.h):
 * OpenAI's /v1/embeddings, Ollama's /api/embed and /api/embeddings.
 *
 * Happy path: a thread reads the texts -> they are submitted, a few at a time -> the last one has
 * its vector -> a thread writes the reply.
 * Failure modes: those of call.h; a text that fails ends the others and the whole call. */
#ifndef HD_API_EMBEDDINGS_H
#define HD_API_EMBEDDINGS_H

#include "leader/api/call.h"
#include "leader/api/prompt.h"

struct hd_embeddings;
struct hd_embedded {
    struct hd_embeddings *all;
    struct hd_prompt text;
    float *vector;              /* [length], once it is there */
    struct hd_request *request; /* alive in the backend, else NULL */
    uint64_t submitted_us;
};

/* A way in which clients ask and are answered. */
struct hd_vector_form {
    /* 0, or HD_E_RANGE with *r. */
    int (*read)(struct hd_embeddings *e, const json_t *body, struct hd_refusal *r);
    int (*write)(const struct hd_embeddings *e, struct hd_text *out); /* 0 or HD_E_NOMEM */
    bool unit; /* vectors have length 1, whatever the model says */
};

struct hd_embeddings {
    struct hd_call *call;
    const struct hd_vector_form *form;
    struct hd_embedded *texts;      /* [n] */
    size_t n, next, running, ended; /* next: to be submitted */
    uint32_t length;                /* of a vector */
    bool base64, failed;
    uint64_t begun_us;
    struct hd_unknown unknown;
};

void hd_embeddings_start(struct hd_call *c, const struct hd_vector_form *form);

/* Of all texts. */
uint64_t hd_embeddings_tokens(const struct hd_embeddings *e);

/* vector_forms.c */
extern const struct hd_vector_form hd_openai_vectors, hd_ollama_vectors, hd_ollama_vector;

#endif
