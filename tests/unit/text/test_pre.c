/* Pre-splitters by the names that GGUF files give them, on texts whose pieces another engine has
 * found (tests/fixtures/text/make_pre.py). */
#include "common/text/pre_type.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define BYTES      256
#define MAX_PIECES 128

/* GPT-2's alphabet: the bytes that stand for themselves, and the others as U+0100 and on. */
static size_t put_byte(char *out, unsigned byte)
{
    bool own = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    unsigned c = byte, others = 0;
    for (unsigned b = 0; b < byte && !own; b++)
        others += !((b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD));
    c = own ? c : 256 + others;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
}

/* A vocabulary of all bytes and of the pieces that are wanted: another cut gives other ids. */
struct words {
    struct hdt_entry entries[BYTES + MAX_PIECES];
    char text[BYTES + MAX_PIECES][512];
    int32_t want[MAX_PIECES]; /* ids, piece by piece */
    size_t n, n_want;
};

static int32_t word_of(struct words *w, const char *piece, size_t len)
{
    char *text = w->text[w->n];
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += put_byte(text + n, (unsigned char)piece[i]);
    for (size_t i = 0; i < w->n; i++)
        if (w->entries[i].text.len == n && memcmp(w->entries[i].text.data, text, n) == 0)
            return (int32_t)i;
    w->entries[w->n] = (struct hdt_entry){.text = {text, n}, .kind = HD_TOKEN_NORMAL};
    return (int32_t)w->n++;
}

static void check(const char *name, const char *text, const json_t *pieces)
{
    const struct hd_pre_type *pre = hd_pre_type_find((struct hd_str){name, strlen(name)});
    struct words *w = calloc(1, sizeof *w);
    struct hd_tokenizer *t = NULL;
    struct hd_error err = {0};
    int32_t *ids;
    size_t n;

    cr_assert(pre && w, "%s", name);
    for (unsigned b = 0; b < BYTES; b++)
        word_of(w, (char[]){(char)b}, 1);
    for (size_t i = 0; i < json_array_size(pieces); i++) {
        const json_t *p = json_array_get(pieces, i);
        w->want[w->n_want++] = word_of(w, json_string_value(p), json_string_length(p));
    }
    struct hd_vocab_source s = {.parts = {.entries = w->entries,
                                          .n_entries = w->n,
                                          .patterns = pre->patterns,
                                          .ignore_merges = true,
                                          .nfc = pre->nfc,
                                          .unk = -1},
                                .bos = -1,
                                .eos = -1};
    while (pre->patterns[s.parts.n_patterns])
        s.parts.n_patterns++;
    cr_assert_eq(hd_tokenizer_build(&t, &s, &err), 0, "%s: %s", name, err.text);
    cr_assert_eq(hd_tokenizer_encode(t, text, strlen(text), false, &ids, &n), 0);
    cr_expect_eq(n, w->n_want, "%s: %zu pieces, not %zu, of %s", name, n, w->n_want, text);
    for (size_t i = 0; i < n && i < w->n_want; i++)
        if (ids[i] != w->want[i]) {
            cr_expect_fail("%s: piece %zu is not \"%s\"", name, i,
                           json_string_value(json_array_get(pieces, i)));
            break;
        }
    free(ids);
    hd_tokenizer_free(t);
    free(w);
}

Test(text_pre, cuts_as_another_engine_does)
{
    json_t *all = fixture_json("pre.json");
    const json_t *texts = json_object_get(all, "texts"), *cases = json_object_get(all, "cases");
    size_t names = 0;

    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *of = json_array_get(cases, c), *list = json_object_get(of, "names");
        for (size_t i = 0; i < json_array_size(list); i++, names++)
            for (size_t k = 0; k < json_array_size(texts); k++)
                check(json_string_value(json_array_get(list, i)),
                      json_string_value(json_array_get(texts, k)),
                      json_array_get(json_object_get(of, "pieces"), k));
    }
    cr_assert_gt(names, 50);
    json_decref(all);
}
