/* stub_tokenizer.c - a tokenizer without a model: id = byte, 256 and above have no text. */
#include "stub_tokenizer.h"

#include "common/text/grammar.h"
#include "leader/core/types.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct hd_tokenizer {
    char bytes[256];
};
static struct hd_tokenizer the_one;
char stub_waits[4096];
struct hd_tokenizer *const stub_tokenizer = &the_one;
atomic_uint stub_encoded, stub_inside, stub_on_loop;

static pthread_t loop_thread;
static uv_sem_t gate;

void stub_begin(void)
{
    loop_thread = pthread_self();
    stub_encoded = stub_inside = stub_on_loop = 0;
    uv_sem_init(&gate, 0);
}

void stub_release(void)
{
    uv_sem_post(&gate);
}

static void enter(const char *text, size_t len)
{
    stub_encoded++;
    if (pthread_equal(pthread_self(), loop_thread))
        stub_on_loop++;
    if (len < sizeof STUB_WAITS - 1 || memcmp(text, STUB_WAITS, sizeof STUB_WAITS - 1) != 0)
        return;
    stub_inside++;
    uv_sem_wait(&gate);
    stub_inside--;
}

int32_t hd_tokenizer_bos(const struct hd_tokenizer *t)
{
    return 256;
}

bool hd_tokenizer_adds_bos(const struct hd_tokenizer *t)
{
    return false;
}

int32_t hd_tokenizer_suffix(const struct hd_tokenizer *t)
{
    return -1;
}

int32_t hd_tokenizer_eos(const struct hd_tokenizer *t)
{
    return -1;
}

int hd_tokenizer_encode(const struct hd_tokenizer *t, const char *text, size_t len, bool special,
                        int32_t **ids, size_t *n)
{
    enter(text, len);
    *n = len;
    *ids = len ? malloc(len * sizeof **ids) : NULL;
    for (size_t i = 0; i < len; i++)
        (*ids)[i] = (unsigned char)text[i];
    return 0;
}

struct hd_str hd_tokenizer_piece(const struct hd_tokenizer *t, int32_t id, bool special)
{
    if (id < 0 || id > 255)
        return (struct hd_str){0};
    the_one.bytes[id] = (char)id;
    return (struct hd_str){&the_one.bytes[id], 1};
}

void hd_detok_init(struct hd_detok *d, const struct hd_tokenizer *t)
{
    *d = (struct hd_detok){.t = t};
}

static size_t length_of(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

int hd_detok_push(struct hd_detok *d, int32_t id, char **text)
{
    *text = strdup("");
    if (id > 255)
        return 0;
    d->pending[d->n_pending++] = (char)id;
    if (d->n_pending < length_of((unsigned char)d->pending[0]))
        return 0;
    free(*text);
    *text = strndup(d->pending, d->n_pending);
    d->n_pending = 0;
    return 0;
}

int hd_detok_finish(struct hd_detok *d, char **text)
{
    *text = strdup(d->n_pending ? "\xEF\xBF\xBD" : "");
    d->n_pending = 0;
    return 0;
}

const char *stub_template = "";
char stub_conversation[4096];

const char *hd_chat_template(const struct hd_tokenizer *t)
{
    return stub_template;
}

static const char *content(const json_t *messages, size_t i)
{
    return json_string_value(json_object_get(json_array_get(messages, i), "content"));
}

int hd_chat_encode(const struct hd_tokenizer *t, const char *json, size_t len, int32_t **ids,
                   size_t *n_ids, struct hd_error *err)
{
    json_t *c = json_loadb(json, len, 0, NULL);
    const json_t *messages = json_object_get(c, "messages");
    size_t n = json_array_size(messages);
    if (len < sizeof stub_conversation)
        memcpy(stub_conversation, json, len + 1);
    enter(content(messages, 0), strlen(content(messages, 0)));
    *ids = malloc(n * sizeof **ids); /* the first letter of each message */
    *n_ids = n;
    for (size_t i = 0; i < n; i++)
        (*ids)[i] = (unsigned char)content(messages, i)[0];
    json_decref(c);
    return 0;
}

const char *hd_loss_cause_name(enum hd_loss_cause c)
{
    return c == HD_LOSS_SILENT ? "silent" : "other";
}

/* A grammar that is its text: "impossible" is none. */
int hd_grammar_open(struct hd_grammar **out, const struct hd_tokenizer *t,
                    enum hd_grammar_kind kind, const char *text, size_t len, struct hd_error *err)
{
    if (strstr(text, "impossible"))
        return hd_fail(err, HD_E_FORMAT, "nothing matches it");
    char *g = malloc(len + 2);
    g[0] = (char)('0' + kind);
    memcpy(g + 1, text, len + 1);
    *out = (struct hd_grammar *)g;
    return 0;
}

void hd_grammar_free(struct hd_grammar *g)
{
    free(g);
}

int hd_grammar_wait(struct hd_grammar *g, const struct hd_grammar_wait *w, struct hd_error *err)
{
    char *said = stub_waits;
    (void)g;
    (void)err;
    for (size_t i = 0; i < w->n; i++)
        said = stpcpy(stpcpy(said, i ? "~" : ""), w->marks[i].text);
    return 0;
}

/* Every token goes on it but '#'. */
int hd_grammar_take(struct hd_grammar *g, int32_t id, struct hd_error *err)
{
    return id == '#' ? hd_fail(err, HD_E_LIMIT, "it does not go on") : 0;
}

const char *stub_grammar(const struct hd_grammar *g)
{
    return (const char *)g;
}
