/* A tokenizer of each kind on 500 nasty texts, and on every character that Unicode 15 and 16 added,
 * against hashes of the reference's ids (tests/fixtures/text/make_kinds.py). */
#include "fixture.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kind {
    char name[16];   /* in nasty.json */
    char folder[32]; /* "" = none */
    char gguf[32];   /* likewise */
};

/* FNV-1a, 64 bits. */
static uint64_t digest(const int32_t *ids, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u;

    for (size_t i = 0; i < n * 4; i++)
        h = (h ^ ((uint32_t)ids[i / 4] >> i % 4 * 8 & 0xFF)) * 0x100000001B3u;
    return h;
}

static void expect_digest(const struct hd_tokenizer *t, const char *text, size_t len,
                          const char *want)
{
    char got[17];
    int32_t *ids;
    size_t n;

    cr_assert_eq(hd_tokenizer_encode(t, text, len, true, &ids, &n), 0);
    snprintf(got, sizeof got, "%016" PRIx64, digest(ids, n));
    cr_expect_eq(memcmp(got, want, 16), 0, "%zu ids of \"%.*s\"", n, (int)(len < 400 ? len : 400),
                 text);
    free(ids);
}

static size_t put_char(char *out, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};

    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* "X's " for each character of the ranges; malloc'ed. */
static char *all_of_ranges(const json_t *ranges, size_t *len)
{
    char *text = malloc(1 << 18);
    const json_t *range;
    size_t i;

    cr_assert_not_null(text);
    *len = 0;
    json_array_foreach(ranges, i, range)
    {
        uint32_t last = (uint32_t)json_integer_value(json_array_get(range, 1));

        for (uint32_t c = (uint32_t)json_integer_value(json_array_get(range, 0)); c <= last; c++) {
            *len += put_char(text + *len, c);
            memcpy(text + *len, "'s ", 3);
            *len += 3;
            cr_assert_lt(*len, (1u << 18) - 8);
        }
    }
    return text;
}

/* Whether any text comes back from its ids: nothing is normalised, nothing unknown. */
static bool gives_back(const char *kind)
{
    static const char *const kinds[] = {"smollm",    "llama3", "gpt4o",   "default",
                                        "deepseek3", "tekken", "tiktoken"};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

static void check(struct hd_tokenizer *t, const char *kind)
{
    json_t *fixture = fixture_json("nasty.json"), *texts = json_object_get(fixture, "texts"), *text;
    const json_t *want = json_object_get(json_object_get(fixture, "kinds"), kind);
    const char *hashes = json_string_value(json_object_get(want, "ids"));
    size_t i, len;
    char *all = all_of_ranges(json_object_get(fixture, "ranges"), &len);

    cr_assert_geq(json_array_size(texts), 500);
    json_array_foreach(texts, i, text)
    {
        const char *s = json_string_value(text);
        size_t n = json_string_length(text);

        /* SentencePiece's library ends a text at NUL. */
        if (strncmp(kind, "sp", 2) == 0 && strlen(s) < n)
            n = 0;
        expect_digest(t, s, n, hashes + i * 16);
        cr_expect(!gives_back(kind) || round_trips(t, s, n), "%s: %s", kind, s);
    }
    expect_digest(t, all, len, json_string_value(json_object_get(want, "ranges")));
    free(all);
    json_decref(fixture);
    hd_tokenizer_free(t);
}

ParameterizedTestParameters(text_kinds, give_the_reference_ids)
{
    static struct kind kinds[] = {
        {"smollm", "smollm", "smollm.gguf"},
        {"llama3", "llama3", ""},
        {"qwen2", "kinds/qwen2", "kinds/qwen2.gguf"},
        {"gpt4o", "kinds/gpt4o", "kinds/gpt4o.gguf"},
        {"default", "kinds/default", "kinds/default.gguf"},
        {"deepseek3", "kinds/deepseek3", "kinds/deepseek3.gguf"},
        {"byte_fallback", "kinds/byte_fallback", ""},
        {"unigram", "kinds/unigram", ""},
        {"word_piece", "kinds/word_piece", ""},
        {"spm", "", "kinds/spm.gguf"},
        {"sp_bpe", "kinds/sp_bpe", ""},
        {"sp_unigram", "kinds/sp_unigram", ""},
        {"sp_map", "kinds/sp_map", ""},
        {"tekken", "kinds/tekken", ""},
    };

    return cr_make_param_array(struct kind, kinds, sizeof kinds / sizeof *kinds);
}

ParameterizedTest(struct kind *k, text_kinds, give_the_reference_ids)
{
    char path[PATH_MAX];
    struct hd_error err = {0};
    struct hd_tokenizer *t;

    if (k->folder[0])
        check(fixture_folder(k->folder), k->name);
    if (!k->gguf[0])
        return;
    cr_assert_eq(fixture_open_gguf(&t, fixture_path(path, k->gguf), &err), 0, "%s", err.text);
    check(t, k->name);
}

/* Llama 3's tokenizer.model: the ranks of tekken.json, and others up to its number that begin with
 * bytes which no text has. */
static void write_ranks(const char *path)
{
    json_t *tekken = fixture_json("kinds/tekken/tekken.json"), *word;
    FILE *f = fopen(path, "w");
    size_t i;

    cr_assert_not_null(f);
    json_array_foreach(json_object_get(tekken, "vocab"), i, word)
        fprintf(f, "%s %zu\n", json_string_value(json_object_get(word, "token_bytes")), i);
    for (i = json_array_size(json_object_get(tekken, "vocab")); i < 128000; i++)
        fprintf(f, "//79%08zx %zu\n", i, i);
    cr_assert_eq(fclose(f), 0);
    json_decref(tekken);
}

Test(text_kinds, ranks_of_tiktoken_give_the_reference_ids)
{
    static const char begin[] = "<|begin_of_text|>";
    char folder[] = "/tmp/hydac-kinds-XXXXXX", path[64];
    struct hd_model m = {.shape.vocab = 128256, .bos = -1, .eos = -1, .folder = folder};
    struct hd_error err = {0};
    struct hd_tokenizer *t;
    int32_t *ids;
    size_t n;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    write_ranks(path);
    cr_assert_eq(hd_tokenizer_open(&t, &m, NULL, &err), 0, "%s", err.text);
    cr_expect(hd_tokenizer_adds_bos(t));
    cr_expect(round_trips(t, "two  blanks, \xF0\x9F\x98\x80 \xE4\xB8\x89\n", 22));
    cr_assert_eq(hd_tokenizer_encode(t, begin, sizeof begin - 1, true, &ids, &n), 0);
    cr_expect(n == 1 && ids[0] == 128000);
    free(ids);
    cr_assert_eq(hd_tokenizer_encode(t, begin, sizeof begin - 1, false, &ids, &n), 0);
    cr_expect(n > 1 && ids[0] < 128000);
    free(ids);
    check(t, "tiktoken");
    /* Ranks of others are refused by their number. */
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs("AA== 0\nAQ== 1\n", f) >= 0 && fclose(f) == 0);
    cr_expect_eq(hd_tokenizer_open(&t, &m, NULL, &err), HD_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "2 ranks"), "%s", err.text);
    remove(path);
    rmdir(folder);
}

/* Every character comes back where the vocabulary has its bytes. */
Test(text_kinds, byte_tokens_come_back)
{
    static const char text[] = " two  blanks, \xF0\x9F\x98\x80 \xE4\xB8\x89\n";
    char path[PATH_MAX];
    struct hd_tokenizer *t = fixture_folder("kinds/byte_fallback");
    int32_t *ids;
    size_t n;

    /* The first blank is what the tokenizer puts in front. */
    cr_assert_eq(hd_tokenizer_encode(t, text, sizeof text - 1, false, &ids, &n), 0);
    cr_expect_eq(hd_tokenizer_piece(t, ids[0], false).data[0], ' ');
    free(ids);
    cr_expect(hd_tokenizer_adds_bos(t));
    hd_tokenizer_free(t);
    cr_assert_eq(fixture_open_gguf(&t, fixture_path(path, "kinds/spm.gguf"), NULL), 0);
    cr_expect(hd_tokenizer_adds_bos(t));
    cr_assert_eq(hd_tokenizer_encode(t, text + 1, sizeof text - 2, false, &ids, &n), 0);
    for (size_t i = 0, at = 0; i < n; i++) {
        struct hd_str p = hd_tokenizer_piece(t, ids[i], false);

        cr_assert(at + p.len < sizeof text && memcmp(text + at, p.data, p.len) == 0);
        at += p.len;
    }
    free(ids);
    hd_tokenizer_free(t);
}
