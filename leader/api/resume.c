/* resume.c - tokens of an answer's beginning: read, compared with what is served here, passed by
 * what follows them. */
#include "leader/api/resume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- The member of the body ----*/

static int wrong(struct hd_refusal *r, const char *what)
{
    return hd_refuse(r, 400, "hydac", "invalid_value",
                     "'hydac' must be true, false, or an object with the 'seed', 'model_digest' "
                     "and 'tokens' of an answer that goes on: %s.",
                     what);
}

static int take_tokens(struct hd_resume *out, const json_t *v, uint32_t vocab, struct hd_refusal *r)
{
    size_t n = json_array_size(v);
    if (!json_is_array(v))
        return wrong(r, "'tokens' is no array");
    out->tokens = calloc(n + 1, sizeof *out->tokens);
    if (!out->tokens)
        return hd_refuse_memory(r);
    for (; out->n < n; out->n++) {
        const json_t *id = json_array_get(v, out->n);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= (json_int_t)vocab)
            return wrong(r, "one of 'tokens' is no token id of this model");
        out->tokens[out->n] = (int32_t)json_integer_value(id);
    }
    return 0;
}

static int take_digest(char to[HD_DIGEST_TEXT], const json_t *v, struct hd_refusal *r)
{
    if (json_string_length(v) != HD_DIGEST_TEXT - 1)
        return wrong(r, "a digest is 16 characters");
    memcpy(to, json_string_value(v), HD_DIGEST_TEXT);
    return 0;
}

int hd_resume_take(struct hd_resume *out, const json_t *v, uint32_t vocab, struct hd_refusal *r)
{
    const char *key;
    json_t *value;
    if (!json_is_object(v))
        return wrong(r, "it is neither");
    if (!json_is_integer(json_object_get(v, "seed")) || !json_object_get(v, "model_digest") ||
        !json_object_get(v, "tokens"))
        return wrong(r, "one of the three is missing, or 'seed' is no integer");
    out->seed = (uint64_t)json_integer_value(json_object_get(v, "seed"));
    out->given = true;
    json_object_foreach((json_t *)v, key, value)
    {
        int rc = strcmp(key, "seed") == 0            ? 0
                 : strcmp(key, "tokens") == 0        ? take_tokens(out, value, vocab, r)
                 : strcmp(key, "model_digest") == 0  ? take_digest(out->model_digest, value, r)
                 : strcmp(key, "prompt_digest") == 0 ? take_digest(out->prompt_digest, value, r)
                                                     : wrong(r, "there is another member");
        if (rc < 0)
            return rc;
    }
    return 0;
}

void hd_resume_deinit(struct hd_resume *s)
{
    free(s->tokens);
    *s = (struct hd_resume){0};
}

/* ---- What it is of ----*/

void hd_prompt_digest(const struct hd_prompt *prompt, char out[HD_DIGEST_TEXT])
{
    uint64_t digest = XXH3_64bits(prompt->ids, prompt->n * sizeof *prompt->ids);
    snprintf(out, HD_DIGEST_TEXT, "%016" PRIx64, digest);
}

int hd_resume_check(const struct hd_generation *g, struct hd_refusal *r)
{
    const struct hd_resume *s = &g->p.resume;
    const struct hd_api_backend *b = g->backend;
    const char *served = b->model_digest(b->arg);
    char prompt[HD_DIGEST_TEXT];
    if (!s->given)
        return 0;
    if (!served && b->not_ready(b->arg))
        return hd_refuse(r, 503, NULL, "not_ready", "%s", b->not_ready(b->arg));
    if (!served)
        return hd_refuse(r, 409, "hydac", "cannot_resume",
                         "No answer can go on here: with 'compute.wire: compact' a text depends on "
                         "the workers that computed it.");
    if (strcmp(served, s->model_digest) != 0)
        return hd_refuse(
            r, 409, "hydac", "other_model",
            "The answer was begun by the model and arithmetic of digest '%s', but '%s' "
            "is served here; another leader may have it.",
            s->model_digest, served);
    hd_prompt_digest(&g->prompt, prompt);
    if (s->prompt_digest[0] && strcmp(prompt, s->prompt_digest) != 0)
        return hd_refuse(r, 409, "hydac", "other_prompt",
                         "The answer was begun behind a prompt of digest '%s', but this request's "
                         "is '%s'; a template that writes the date makes another one the next day.",
                         s->prompt_digest, prompt);
    return 0;
}

int hd_resume_tell(struct hd_generation *g, json_t *extension)
{
    char prompt[HD_DIGEST_TEXT];
    if (g->named || !g->p.stream) /* streams are written on the loop */
        return 0;
    const char *served = g->backend->model_digest(g->backend->arg);
    if (!served)
        return 0;
    g->named = true;
    hd_prompt_digest(&g->prompt, prompt);
    int rc = json_object_set_new(extension, "model_digest", json_string(served));
    rc |= json_object_set_new(extension, "prompt_digest", json_string(prompt));
    rc |= json_object_set_new(extension, "seed", json_integer((json_int_t)g->p.sampling.seed));
    return rc == 0 ? 0 : HD_E_NOMEM;
}
