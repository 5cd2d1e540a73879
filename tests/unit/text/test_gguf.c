/* GGUF metadata that is foreign, inconsistent or damaged. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM ((size_t)1 << 16)

struct file {
    char path[32];
    char *data; /* [ROOM] */
    size_t len;
};

/* The bytes of a fixture and a path for changed ones. */
static struct file load(const char *name)
{
    struct file f = {.path = "/tmp/hydac-gguf-XXXXXX", .data = malloc(ROOM)};
    char path[PATH_MAX];
    FILE *in = fopen(fixture_path(path, name), "rb");
    int fd = mkstemp(f.path);

    cr_assert(in && f.data && fd >= 0);
    f.len = fread(f.data, 1, ROOM, in);
    fclose(in);
    close(fd);
    return f;
}

static void unload(struct file *f)
{
    unlink(f->path);
    free(f->data);
}

static void save(const struct file *f, const char *data, size_t len)
{
    FILE *out = fopen(f->path, "wb");

    cr_assert_not_null(out);
    cr_assert_eq(fwrite(data, 1, len, out), len);
    fclose(out);
}

static int open_bytes(const struct file *f, const char *data, size_t len, struct hd_tokenizer **t,
                      struct hd_error *err)
{
    save(f, data, len);
    return fixture_open_gguf(t, f->path, err);
}

/* The first `from` becomes `to` (as long); the file is refused, and the sentence says `says`. */
static void expect_refusal(const char *from, const char *to, int code, const char *says)
{
    struct file f = load("smollm.gguf");
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    char *at = memmem(f.data, f.len, from, strlen(from));

    cr_assert_not_null(at, "%s", from);
    memcpy(at, to, strlen(from));
    cr_expect_eq(open_bytes(&f, f.data, f.len, &t, &err), code, "%s: %s", from, err.text);
    cr_expect(strstr(err.text, says), "%s", err.text);
    cr_expect_null(t);
    unload(&f);
}

Test(text_gguf, foreign_tokenizers_are_refused)
{
    expect_refusal("gpt2", "bert", HD_E_UNSUPPORTED, "bert");
    expect_refusal("smollm", "unknow", HD_E_UNSUPPORTED, "unknow");
    expect_refusal("tokenizer.ggml.model", "tokenizer.ggml.mode_", HD_E_NOTFOUND, "token ids");
}

Test(text_gguf, missing_or_wrong_lists_are_refused)
{
    expect_refusal("tokenizer.ggml.tokens", "tokenizer.ggml.tokenz", HD_E_FORMAT, "tokens");
    expect_refusal("tokenizer.ggml.merges", "tokenizer.ggml.mergez", HD_E_FORMAT, "merges");
}

Test(text_gguf, more_tokens_than_the_embedding_are_refused)
{
    struct hd_model m = {.shape.vocab = 100, .bos = -1, .eos = -1};
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    char path[PATH_MAX];

    cr_assert_eq(hd_gguf_open(&m.gguf, fixture_path(path, "smollm.gguf"), &err), 0);
    cr_expect_eq(hd_tokenizer_open(&t, &m, NULL, &err), HD_E_FORMAT);
    cr_expect(strstr(err.text, "100 rows"), "%s", err.text);
    hd_gguf_close(m.gguf);
}

/* The first `from` becomes `to` (as long); the file is served, and a warning says `says`. */
#define expect_warning(file, from, to, says) warns(file, from, to, sizeof(from) - 1, says)
static void warns(const char *file, const char *from, const char *to, size_t len, const char *says)
{
    struct hd_model m = {.shape.vocab = HD_MAX_VOCAB, .bos = -1, .eos = -1};
    struct hd_warnings w = {0};
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    struct file f = load(file);
    char *at = memmem(f.data, f.len, from, len);

    cr_assert_not_null(at, "%s", from);
    memcpy(at, to, len);
    save(&f, f.data, f.len);
    cr_assert_eq(hd_gguf_open(&m.gguf, f.path, &err), 0, "%s", err.text);
    cr_assert_eq(hd_tokenizer_open(&t, &m, &w, &err), 0, "%s", err.text);
    cr_expect_eq(w.n, 1);
    cr_expect(strstr(w.text[0], says), "%s", w.text[0]);
    hd_tokenizer_free(t);
    hd_gguf_close(m.gguf);
    unload(&f);
}

Test(text_gguf, a_default_splitter_is_a_warning)
{
    /* Its ids are those of kinds/default in test_kinds.c. */
    expect_warning("smollm.gguf", "tokenizer.ggml.pre", "tokenizer.ggml.prx", "default");
    expect_warning("kinds/default.gguf", "general.architecture", "general.architecture", "default");
}

Test(text_gguf, an_end_that_is_no_token_is_a_warning)
{
    /* key, type (4: u32), value 2 becomes 2^32 - 1 */
    expect_warning("smollm.gguf", "eos_token_id\4\0\0\0\2\0\0\0",
                   "eos_token_id\4\0\0\0\xFF\xFF\xFF\xFF", "eos_token_id");
}

Test(text_gguf, a_template_that_cannot_be_used_is_a_warning)
{
    expect_warning("smollm.gguf", "{% for message in", "{% fir message in", "chat template");
}

/* An added token whose id is the vocabulary's size. */
Test(text_gguf, a_token_without_a_row_is_left_out_and_named)
{
    struct hd_model m = {.bos = -1, .eos = -1};
    struct hd_warnings w = {0};
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    char path[PATH_MAX];
    int32_t *ids;
    size_t n;

    cr_assert_eq(hd_gguf_open(&m.gguf, fixture_path(path, "kinds/tail.gguf"), &err), 0);
    m.shape.vocab = 500;
    cr_assert_eq(hd_tokenizer_open(&t, &m, &w, &err), 0, "%s", err.text);
    cr_expect_eq(w.n, 1);
    cr_expect(strstr(w.text[0], "token 500 (\"<tail>\")"), "%s", w.text[0]);
    cr_assert_eq(hd_tokenizer_encode(t, "<tail>", 6, true, &ids, &n), 0);
    cr_expect_gt(n, 1);
    cr_expect_eq(hd_tokenizer_vocab(t), 500);
    free(ids);
    hd_tokenizer_free(t);
    hd_gguf_close(m.gguf);
}

Test(text_gguf, damaged_files_never_crash)
{
    struct file f = load("smollm.gguf");
    char *copy = malloc(ROOM);
    uint64_t state = 5;
    size_t opened = 0;

    cr_assert_not_null(copy);
    for (int round = 0; round < 400; round++) {
        struct hd_tokenizer *t;
        struct hd_error err = {0};
        size_t len = f.len;

        memcpy(copy, f.data, f.len);
        damage(copy, &len, &state);
        if (open_bytes(&f, copy, len, &t, &err) < 0) {
            cr_assert(err.text[0], "round %d", round);
            continue;
        }
        opened++;
        (void)round_trips(t, "The quick brown fox", 19);
        hd_tokenizer_free(t);
    }
    cr_expect_gt(opened, 0);
    free(copy);
    unload(&f);
}
