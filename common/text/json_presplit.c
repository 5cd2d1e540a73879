#include "common/text/json_presplit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define IDS_INSTEAD "prompts must be given as token ids"

static int add_pattern(struct hd_json_presplit *p, char *pattern, struct hd_error *err)
{
    if (!pattern)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for a pre-split pattern");
    if (p->n == HD_PRESPLIT_MAX) {
        free(pattern);
        return hd_fail(err, HD_E_LIMIT, "tokenizer: tokenizer.json has more than %d pre-tokenizers",
                       HD_PRESPLIT_MAX);
    }
    p->patterns[p->n++] = pattern;
    return 0;
}

/* A pattern that matches exactly this text; NULL without memory. */
static char *quoted(const char *text)
{
    char *out = malloc(strlen(text) * 2 + 1);
    size_t n = 0;

    for (; out && *text; text++) {
        if (ispunct((unsigned char)*text))
            out[n++] = '\\';
        out[n++] = *text;
    }
    if (out)
        out[n] = '\0';
    return out;
}

static int add_split(struct hd_json_presplit *p, const json_t *stage, struct hd_error *err)
{
    const json_t *pattern = json_object_get(stage, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *text = json_string_value(json_object_get(pattern, "String"));
    const char *behavior = json_string_value(json_object_get(stage, "behavior"));

    if (!regex && !text)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: tokenizer.json has a Split without a pattern");
    if (!behavior || strcmp(behavior, "Isolated") != 0 ||
        json_is_true(json_object_get(stage, "invert")))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "tokenizer: tokenizer.json has a Split that is inverted or of behavior "
                       "\"%.40s\", only Isolated is supported; " IDS_INSTEAD,
                       behavior ? behavior : "?");
    return add_pattern(p, regex ? strdup(regex) : quoted(text), err);
}

/* ByteLevel's own job, bytes to the alphabet, is what the vocabulary does when it is loaded. */
static int add_byte_level(struct hd_json_presplit *p, const json_t *stage, struct hd_error *err)
{
    if (json_is_true(json_object_get(stage, "add_prefix_space")))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "tokenizer: tokenizer.json sets add_prefix_space, which is not "
                       "supported; " IDS_INSTEAD);
    if (json_is_false(json_object_get(stage, "use_regex")))
        return 0;
    return add_pattern(p, strdup(hd_pattern_gpt2), err);
}

static int add_stage(struct hd_json_presplit *p, const json_t *stage, bool last,
                     struct hd_error *err)
{
    const char *type = json_string_value(json_object_get(stage, "type"));

    if (!type)
        return hd_fail(err, HD_E_FORMAT,
                       "tokenizer: tokenizer.json has a pre-tokenizer without a type");
    if (last != (strcmp(type, "ByteLevel") == 0))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "tokenizer: tokenizer.json's pre-tokenizer does not end with ByteLevel (not "
                       "byte-level BPE), which is not supported; " IDS_INSTEAD);
    if (last)
        return add_byte_level(p, stage, err);
    if (strcmp(type, "Split") == 0)
        return add_split(p, stage, err);
    if (strcmp(type, "Digits") == 0)
        return add_pattern(p,
                           strdup(json_is_true(json_object_get(stage, "individual_digits"))
                                      ? "\\p{N}"
                                      : "\\p{N}+"),
                           err);
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "tokenizer: tokenizer.json has a pre-tokenizer \"%.40s\", which is not "
                   "supported; " IDS_INSTEAD,
                   type);
}

int hd_json_presplit_read(struct hd_json_presplit *p, const json_t *pre_tokenizer,
                          struct hd_error *err)
{
    const json_t *list = json_object_get(pre_tokenizer, "pretokenizers");
    size_t n = json_array_size(list);
    int rc = 0;

    memset(p, 0, sizeof *p);
    if (!list)
        return add_stage(p, pre_tokenizer, true, err);
    if (n == 0)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: tokenizer.json has an empty pre-tokenizer");
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_stage(p, json_array_get(list, i), i + 1 == n, err);
    return rc;
}

void hd_json_presplit_deinit(struct hd_json_presplit *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->patterns[i]);
    memset(p, 0, sizeof *p);
}
