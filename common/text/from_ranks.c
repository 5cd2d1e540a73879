/* Vocabularies of tiktoken's kind: bytes with ranks, which are merged by the rank of what they
 * become. tokenizer.model of Llama 3 (a line each: base64, blank, rank) and Mistral's tekken.json.
 */
#include "common/model/model.h"
#include "common/text/pre_type.h"
#include "common/text/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX 4096 /* bytes of a token's base64; the longest known has 172 */

static int build(struct hdt **core, struct hd_tokens *t, const char *const *patterns,
                 size_t n_patterns, uint32_t rows, struct hd_error *err)
{
    const struct hdt_parts parts = {.entries = t->entries,
                                    .n_entries = t->n,
                                    .scores = t->scores,
                                    .patterns = patterns,
                                    .n_patterns = n_patterns,
                                    .ignore_merges = true,
                                    .ranked = true,
                                    .unk = -1,
                                    .rows = rows};

    return hdt_from_parts(core, &parts, err);
}

/* ---- tiktoken ----*/

#define LLAMA3_RANKS 128000

/* One line; false: it is none. */
static bool put_line(struct hd_tokens *t, struct hd_str line)
{
    const char *blank = memchr(line.data, ' ', line.len);
    size_t n = blank ? (size_t)(blank - line.data) : 0, len, digits = line.len - n - 1;
    char bytes[TOKEN_MAX], number[16];

    if (!blank || n > TOKEN_MAX || digits == 0 || digits >= sizeof number ||
        !hd_base64_decode((struct hd_str){line.data, n}, bytes, &len))
        return false;
    memcpy(number, blank + 1, digits);
    number[digits] = '\0';
    if (strspn(number, "0123456789") != digits)
        return false;
    unsigned long rank = strtoul(number, NULL, 10);
    hd_tokens_put_bytes(t, rank, (struct hd_str){bytes, len}, -(float)rank);
    return true;
}

/* What Meta's own tokenizer puts behind the ranks: the names as Hugging Face's file has them. */
static void put_llama3(struct hd_tokens *t)
{
    static const char *const names[] = {"<|begin_of_text|>",
                                        "<|end_of_text|>",
                                        "<|reserved_special_token_0|>",
                                        "<|reserved_special_token_1|>",
                                        "<|finetune_right_pad_id|>",
                                        "<|reserved_special_token_2|>",
                                        "<|start_header_id|>",
                                        "<|end_header_id|>",
                                        "<|eom_id|>",
                                        "<|eot_id|>",
                                        "<|python_tag|>"};
    enum { NAMED = sizeof names / sizeof *names };

    for (size_t i = 0; i < 256; i++) {
        char name[64];

        snprintf(name, sizeof name, "<|reserved_special_token_%zu|>", i - NAMED + 3);
        const char *text = i < NAMED ? names[i] : name;
        hd_tokens_put(t, LLAMA3_RANKS + i, (struct hd_str){text, strlen(text)}, HD_TOKEN_CONTROL,
                      0);
    }
    t->bos = LLAMA3_RANKS;
    t->eos = LLAMA3_RANKS + 1;
    t->adds_bos = true;
}

int hd_read_tiktoken(struct hdt **core, struct hd_tokens *t, struct hd_str file,
                     const json_t *config, uint32_t rows, struct hd_error *err)
{
    const struct hd_pre_type *pre = hd_pre_type_find((struct hd_str){"llama3", 6});
    size_t n_patterns = 0;

    t->bos = t->eos = -1;
    for (size_t at = 0; at < file.len;) {
        const char *end = memchr(file.data + at, '\n', file.len - at);
        size_t len = end ? (size_t)(end - file.data) - at : file.len - at;
        struct hd_str line = {file.data + at, len};

        at += len + 1;
        line.len -= line.len > 0 && line.data[line.len - 1] == '\r';
        if (line.len > 0 && !put_line(t, line))
            return hd_fail(err, HD_E_FORMAT, "byte %zu: no line of base64 and a rank",
                           at - len - 1);
    }
    if (t->n != LLAMA3_RANKS)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "%zu ranks: only Llama 3's %d are known, the file does not say how others "
                       "split a text; take the model with a tokenizer.json",
                       t->n, LLAMA3_RANKS);
    put_llama3(t);
    hd_tokens_put_config(t, config);
    while (pre->patterns[n_patterns])
        n_patterns++;
    int rc = hd_tokens_check(t, "it", err);
    return rc < 0 ? rc : build(core, t, pre->patterns, n_patterns, rows, err);
}

/* ---- tekken.json ----*/

static bool get_count(const json_t *o, const char *key, json_int_t *out)
{
    const json_t *v = json_object_get(o, key);

    *out = json_integer_value(v);
    return json_is_integer(v) && *out >= 0 && *out <= HD_MAX_VOCAB;
}

/* The first ids: those that have a name, and numbered ones up to their count. */
static void put_specials(struct hd_tokens *t, const json_t *list, json_int_t count)
{
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        const json_t *text = json_object_get(v, "token_str");
        json_int_t rank;

        if (!json_is_string(text) || !get_count(v, "rank", &rank) || rank >= count)
            t->failed = t->failed ? t->failed : HD_E_FORMAT;
        else
            hd_tokens_put(t, (size_t)rank,
                          (struct hd_str){json_string_value(text), json_string_length(text)},
                          HD_TOKEN_CONTROL, 0);
    }
    for (json_int_t id = 0; id < count && !t->failed; id++) {
        char name[32];

        snprintf(name, sizeof name, "<SPECIAL_%lld>", (long long)id);
        if ((size_t)id >= t->n || t->entries[id].kind == HD_TOKEN_ABSENT)
            hd_tokens_put(t, (size_t)id, (struct hd_str){name, strlen(name)}, HD_TOKEN_CONTROL, 0);
    }
}

/* Before special_tokens were listed in the file. */
static json_t *old_specials(void)
{
    static const char *const names[] = {"<unk>",
                                        "<s>",
                                        "</s>",
                                        "[INST]",
                                        "[/INST]",
                                        "[AVAILABLE_TOOLS]",
                                        "[/AVAILABLE_TOOLS]",
                                        "[TOOL_RESULTS]",
                                        "[/TOOL_RESULTS]",
                                        "[TOOL_CALLS]",
                                        "[IMG]",
                                        "<pad>",
                                        "[IMG_BREAK]",
                                        "[IMG_END]",
                                        "[PREFIX]",
                                        "[MIDDLE]",
                                        "[SUFFIX]",
                                        "[SYSTEM_PROMPT]",
                                        "[/SYSTEM_PROMPT]",
                                        "[TOOL_CONTENT]"};
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_array_append_new(list, json_pack("{ss si}", "token_str", names[i], "rank", (int)i));
    return list;
}

static void put_ranks(struct hd_tokens *t, const json_t *vocab, json_int_t first, json_int_t n)
{
    size_t i;
    json_t *v;

    json_array_foreach(vocab, i, v)
    {
        const json_t *text = json_object_get(v, "token_bytes");
        struct hd_str base64 = {json_string_value(text), json_string_length(text)};
        char bytes[TOKEN_MAX];
        json_int_t rank;
        size_t len;

        if ((json_int_t)i == n)
            return; /* more were trained than the model knows */
        if (!json_is_string(text) || base64.len > TOKEN_MAX || !get_count(v, "rank", &rank) ||
            !hd_base64_decode(base64, bytes, &len)) {
            t->failed = t->failed ? t->failed : HD_E_FORMAT;
            return;
        }
        hd_tokens_put_bytes(t, (size_t)(first + rank), (struct hd_str){bytes, len}, -(float)rank);
    }
}

static int32_t id_of(const struct hd_tokens *t, size_t first, const char *name)
{
    for (size_t i = 0; i < first && i < t->n; i++)
        if (t->entries[i].text.len == strlen(name) &&
            memcmp(t->entries[i].text.data, name, strlen(name)) == 0)
            return (int32_t)i;
    return -1;
}

static int read_tekken(struct hdt **core, struct hd_tokens *t, const json_t *file, uint32_t rows,
                       struct hd_error *err)
{
    const json_t *config = json_object_get(file, "config");
    const json_t *listed = json_object_get(file, "special_tokens");
    const char *pattern = json_string_value(json_object_get(config, "pattern"));
    json_int_t specials, size;

    if (!pattern || !get_count(config, "default_num_special_tokens", &specials) ||
        !get_count(config, "default_vocab_size", &size) || size < specials)
        return hd_fail(err, HD_E_FORMAT,
                       "config has no pattern, default_vocab_size and "
                       "default_num_special_tokens");
    json_t *old = json_is_array(listed) ? NULL : old_specials();
    put_specials(t, old ? old : listed, specials);
    json_decref(old);
    put_ranks(t, json_object_get(file, "vocab"), specials, size - specials);
    t->bos = id_of(t, (size_t)specials, "<s>");
    t->eos = id_of(t, (size_t)specials, "</s>");
    t->adds_bos = t->bos >= 0;
    int rc = hd_tokens_check(t, "it", err);
    return rc < 0 ? rc : build(core, t, &pattern, 1, rows, err);
}

int hd_read_tekken(struct hdt **core, struct hd_tokens *t, struct hd_str file, const json_t *config,
                   uint32_t rows, struct hd_error *err)
{
    json_error_t why;
    json_t *o = json_loadb(file.data, file.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    int rc = json_is_object(o) ? read_tekken(core, t, o, rows, err)
                               : hd_fail(err, HD_E_FORMAT, "line %d: %s", why.line, why.text);

    (void)config; /* the file has all tokens */
    json_decref(o);
    return rc;
}
