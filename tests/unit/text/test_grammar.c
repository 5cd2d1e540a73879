/* Grammars: what they allow, what is refused, and that the mask is a function of the tokens. */
#include "fixture.h"

#include "common/model/synth.h"
#include "common/text/grammar.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct hd_model *model;
static struct hd_tokenizer *t;

static void open_tiny(void)
{
    char folder[] = "/tmp/hydac-grammar-XXXXXX", path[64];
    struct hd_error err = {0};

    cr_assert_not_null(mkdtemp(folder));
    stpcpy(stpcpy(path, folder), "/tiny.gguf");
    struct hd_synth_options o = {.shape = "tiny", .type = HD_F32, .seed = 1, .out = path};
    cr_assert_eq(hd_synth_write(&o, &err), 0, "%s", err.text);
    cr_assert_eq(hd_model_open(&model, path, &err), 0, "%s", err.text);
    cr_assert_eq(hd_tokenizer_open(&t, model, NULL, &err), 0, "%s", err.text);
    unlink(path);
    rmdir(folder);
}

static void close_tiny(void)
{
    hd_tokenizer_free(t);
    hd_model_close(model);
}

TestSuite(text_grammar, .init = open_tiny, .fini = close_tiny);

static struct hd_grammar *open_grammar(enum hd_grammar_kind kind, const char *text)
{
    struct hd_grammar *g = NULL;
    struct hd_error err = {0};
    cr_assert_eq(hd_grammar_open(&g, t, kind, text, strlen(text), &err), 0, "%s", err.text);
    return g;
}

static bool allows(const uint32_t *mask, int32_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

/* Which ids may come next, [vocab / 32]. */
static uint32_t *mask_of(struct hd_grammar *g)
{
    size_t vocab = hd_tokenizer_vocab(t);
    uint32_t *mask = calloc((vocab + 31) / 32, sizeof *mask);
    struct hd_error err = {0};
    cr_assert_eq(hd_grammar_mask(g, mask, vocab, &err), 0, "%s", err.text);
    return mask;
}

/* Whether `text` goes all the way: each id must be one of the mask's. */
static bool says(struct hd_grammar *g, const char *text)
{
    struct hd_error err = {0};
    int32_t *ids;
    size_t n;
    bool ok = true;
    cr_assert_eq(hd_tokenizer_encode(t, text, strlen(text), false, &ids, &n), 0);
    for (size_t i = 0; ok && i < n; i++) {
        uint32_t *mask = mask_of(g);
        ok = allows(mask, ids[i]);
        free(mask);
        if (ok)
            cr_assert_eq(hd_grammar_take(g, ids[i], &err), 0, "%s", err.text);
    }
    free(ids);
    return ok;
}

/* Whether `text` goes all the way, and whether the answer may end there. */
static bool goes(enum hd_grammar_kind kind, const char *grammar, const char *text, bool *whole)
{
    struct hd_grammar *g = open_grammar(kind, grammar);
    bool ok = says(g, text);
    if (ok) {
        uint32_t *mask = mask_of(g);
        *whole = allows(mask, hd_tokenizer_eos(t));
        free(mask);
    }
    hd_grammar_free(g);
    return ok;
}

Test(text_grammar, what_matches)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
        "\"integer\"}},\"required\":[\"name\",\"age\"],\"additionalProperties\":false}";
    static const struct {
        enum hd_grammar_kind kind;
        const char *grammar, *text;
        bool goes, whole;
    } cases[] = {
        {HD_GRAMMAR_JSON_SCHEMA, schema, "{\"name\":\"Ann\",\"age\":3}", true, true},
        {HD_GRAMMAR_JSON_SCHEMA, schema, "{\"name\":\"Ann\"", true, false},
        {HD_GRAMMAR_JSON_SCHEMA, schema, "{\"name\":\"Ann\"}", false, false},
        {HD_GRAMMAR_JSON_SCHEMA, schema, "{\"name\":7", false, false},
        {HD_GRAMMAR_JSON_SCHEMA, schema, "Sure! {", false, false},
        {HD_GRAMMAR_REGEX, "[0-9]{2}:[0-9]{2}", "12:45", true, true},
        {HD_GRAMMAR_REGEX, "[0-9]{2}:[0-9]{2}", "12:4", true, false},
        {HD_GRAMMAR_REGEX, "[0-9]{2}:[0-9]{2}", "1a", false, false},
        {HD_GRAMMAR_LARK, "start: \"yes\" | \"no\"", "no", true, true},
        {HD_GRAMMAR_LARK, "start: \"yes\" | \"no\"", "nope", false, false},
        {HD_GRAMMAR_LARK, "root ::= \"yes\" | no-way # one\nno-way::= [n-p\\]] ( \"\\x6f\" | )",
         "no", true, true},
        {HD_GRAMMAR_LARK, "root ::= (\"a\" | \"b\"\n)+ end\nend ::= .{2,3}", "ab", true, false},
        {HD_GRAMMAR_LARK, "root ::= (\"a\" | \"b\"\n)+ end\nend ::= .{2,3}", "ab\n?", true, true},
        {HD_GRAMMAR_LARK, "root ::= [^a-c]* \"a\"?", "xyza", true, true},
        {HD_GRAMMAR_LARK, "root ::= [^a-c]* \"a\"?", "xyzb", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool whole = false;
        bool went = goes(cases[i].kind, cases[i].grammar, cases[i].text, &whole);
        cr_expect_eq(went, cases[i].goes, "%s: %s", cases[i].grammar, cases[i].text);
        cr_expect_eq(whole, cases[i].whole, "%s: %s", cases[i].grammar, cases[i].text);
    }
}

/* When nothing may follow only the ends of an answer are left, each of them. */
Test(text_grammar, a_whole_answer_ends)
{
    struct hd_grammar *g = open_grammar(HD_GRAMMAR_REGEX, "a");
    struct hd_error err = {0};
    int32_t *ids;
    size_t n;
    cr_assert_eq(hd_tokenizer_encode(t, "a", 1, false, &ids, &n), 0);
    cr_assert_eq(hd_grammar_take(g, ids[0], &err), 0, "%s", err.text);
    uint32_t *mask = mask_of(g);
    for (int32_t id = 0; id < (int32_t)hd_tokenizer_vocab(t); id++)
        cr_assert_eq(allows(mask, id), hd_tokenizer_is_stop(t, id), "token %d", id);
    free(mask);
    free(ids);
    hd_grammar_free(g);
}

/* A copy says one thing and the other another; what must come is known, and what may. */
Test(text_grammar, what_is_forced_and_what_is_allowed)
{
    static const char schema[] = "{\"enum\":[{\"colour\":\"green\"},{\"colour\":\"grey\"}]}";
    struct hd_grammar *a = open_grammar(HD_GRAMMAR_JSON_SCHEMA, schema), *b;
    int32_t *ids, forced[16];
    size_t n;
    cr_assert(says(a, "{\""));
    size_t m = hd_grammar_forced(a, forced, 16);
    cr_assert_gt(m, 0);
    char text[64] = "";
    for (size_t i = 0; i < m; i++) {
        struct hd_str piece = hd_tokenizer_piece(t, forced[i], false);
        strncat(text, piece.data, piece.len);
    }
    cr_assert_eq(strncmp(text, "colour\"", 7), 0, "%s", text);
    cr_assert_eq(hd_grammar_forced(a, forced, 1), 1);
    cr_assert_eq(hd_grammar_allows(a, forced, 1), 1);
    cr_assert_eq(hd_tokenizer_encode(t, "colour\": \"gruen", 16, false, &ids, &n), 0);
    size_t allowed = hd_grammar_allows(a, ids, n);
    cr_assert(allowed > 0 && allowed < n, "%zu of %zu", allowed, n);
    cr_assert_eq(hd_grammar_fork(&b, a, NULL), 0);
    cr_assert_lt(hd_grammar_take(b, ids[n - 1], NULL), 0, "and ends the copy only");
    hd_grammar_free(b);
    cr_assert_eq(hd_grammar_fork(&b, a, NULL), 0);
    cr_assert(says(a, "colour\": \"green\"}"));
    cr_assert(says(b, "colour\": \"grey\"}"));
    hd_grammar_free(a);
    hd_grammar_free(b);
    free(ids);
}

/* The same tokens, the same mask: also in another grammar of the same text, and asked for twice. */
Test(text_grammar, masks_are_a_function_of_the_tokens)
{
    static const char schema[] = "{\"type\":\"array\",\"items\":{\"enum\":[1,\"b\",null]}}";
    struct hd_grammar *a = open_grammar(HD_GRAMMAR_JSON_SCHEMA, schema);
    struct hd_grammar *b = open_grammar(HD_GRAMMAR_JSON_SCHEMA, schema);
    size_t bytes = (hd_tokenizer_vocab(t) + 31) / 32 * sizeof(uint32_t);
    struct hd_error err = {0};
    int32_t *ids;
    size_t n;
    cr_assert_eq(hd_tokenizer_encode(t, "[1,\"b\",null]", 12, false, &ids, &n), 0);
    for (size_t i = 0; i < n; i++) {
        uint32_t *first = mask_of(a), *again = mask_of(a), *other = mask_of(b);
        cr_assert_eq(memcmp(first, again, bytes), 0);
        cr_assert_eq(memcmp(first, other, bytes), 0);
        free(first);
        free(again);
        free(other);
        cr_assert_eq(hd_grammar_take(a, ids[i], &err), 0);
        cr_assert_eq(hd_grammar_take(b, ids[i], &err), 0);
    }
    free(ids);
    hd_grammar_free(a);
    hd_grammar_free(b);
}

/* Each with a sentence. */
Test(text_grammar, what_is_refused)
{
    static const struct {
        enum hd_grammar_kind kind;
        const char *text;
    } bad[] = {
        {HD_GRAMMAR_JSON_SCHEMA, "{\"type\":"},
        {HD_GRAMMAR_JSON_SCHEMA, "{\"type\":\"wizard\"}"},
        {HD_GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#/definitions/nothing\"}"},
        {HD_GRAMMAR_JSON_SCHEMA, "{\"not\":{\"type\":\"string\"}}"},
        {HD_GRAMMAR_JSON_SCHEMA, "false"},
        {HD_GRAMMAR_REGEX, "(a"},
        {HD_GRAMMAR_REGEX, "(?=a)b"},
        {HD_GRAMMAR_LARK, "start: nothing"},
        {HD_GRAMMAR_LARK, "\xFF"},
        {HD_GRAMMAR_LARK, "root ::= nothing"},
        {HD_GRAMMAR_LARK, "rood ::= \"a\""},
        {HD_GRAMMAR_LARK, "root ::= \"a"},
        {HD_GRAMMAR_LARK, "root ::= (\"a\""},
        {HD_GRAMMAR_LARK, "root ::= * \"a\""},
        {HD_GRAMMAR_LARK, "root ::= <think>"},
        {HD_GRAMMAR_LARK, "root ::= [a"},
        {HD_GRAMMAR_LARK, "root ::= \"a\"{x}"},
        {HD_GRAMMAR_LARK, ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hd_grammar *g = NULL;
        struct hd_error err = {0};
        int rc = hd_grammar_open(&g, t, bad[i].kind, bad[i].text, strlen(bad[i].text), &err);
        cr_expect_eq(rc, HD_E_FORMAT, "%s: %d", bad[i].text, rc);
        cr_expect(err.text[0] != '\0', "%s", bad[i].text);
        cr_expect_null(g);
    }
}

/* ---- Grammars that hold behind a mark ----*/

/* `text` is said token by token; whether it goes, and whether a token is forbidden behind it. */
static bool goes_waiting(const struct hd_grammar_wait *w, const char *text, bool *held)
{
    static const char call[] = "start: \"{\" /[0-9]/ \"}\"";
    struct hd_grammar *g = open_grammar(HD_GRAMMAR_LARK, call);
    struct hd_error err = {0};
    cr_assert_eq(hd_grammar_wait(g, w, &err), 0, "%s", err.text);
    bool ok = says(g, text);
    *held = hd_grammar_holds(g);
    hd_grammar_free(g);
    return ok;
}

Test(text_grammar, behind_a_mark_it_holds)
{
    struct hd_grammar_mark mark = {"<call>", false}, first = {"{1", true};
    struct hd_grammar_wait once = {.marks = &mark, .n = 1};
    struct hd_grammar_wait again = {.marks = &mark, .n = 1, .again = true};
    struct hd_grammar_wait begins = {.marks = &first, .n = 1};
    struct hd_grammar_wait thinks = {.marks = &mark, .n = 1, .thoughts = true};
    struct hd_grammar_wait inside = {.marks = &mark, .n = 1, .thoughts = true, .inside = true};
    const struct {
        const struct hd_grammar_wait *w;
        const char *text;
        bool goes, held;
    } cases[] = {
        {&once, "", true, false},
        {&once, "a {x} b < c <cal", true, false},
        {&once, "so <call>", true, true},
        {&once, "so <call>{7", true, true},
        {&once, "so <<call>{7}", true, true},
        {&once, "so <call>x", false, true},
        {&once, "so <call>{7} more", false, true},
        {&again, "so <call>{7} more <call>{8}", true, false},
        {&again, "so <call>{7} more <call>{y}", false, true},
        {&begins, " \n{1}", true, true},
        {&begins, "{2", true, false},
        {&begins, "{1x", false, true},
        {&begins, "x {1x", true, false},
        {&thinks, "<think><call>x</think> <call>{7}", true, true},
        {&thinks, "<call>x", false, true},
        {&inside, "<call>x</think><call>{x", false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool held, went = goes_waiting(cases[i].w, cases[i].text, &held);
        cr_expect_eq(went, cases[i].goes, "%zu: %s", i, cases[i].text);
        cr_expect_eq(held, cases[i].held, "%zu: %s", i, cases[i].text);
    }
}
