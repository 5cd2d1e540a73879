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

/* The bytes of smollm.gguf and a path for changed ones. */
static struct file load(void)
{
    struct file f = {.path = "/tmp/hydac-gguf-XXXXXX", .data = malloc(ROOM)};
    char path[PATH_MAX];
    FILE *in = fopen(fixture_path(path, "smollm.gguf"), "rb");
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

static int open_bytes(const struct file *f, const char *data, size_t len, struct hd_tokenizer **t,
                      struct hd_error *err)
{
    FILE *out = fopen(f->path, "wb");

    cr_assert_not_null(out);
    cr_assert_eq(fwrite(data, 1, len, out), len);
    fclose(out);
    return fixture_open_gguf(t, f->path, err);
}

/* The first `from` becomes `to` (as long); the file is refused, and the sentence says `says`. */
static void expect_refusal(const char *from, const char *to, int code, const char *says)
{
    struct file f = load();
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
    cr_expect_eq(hd_tokenizer_open(&t, &m, &err), HD_E_FORMAT);
    cr_expect(strstr(err.text, "100 rows"), "%s", err.text);
    hd_gguf_close(m.gguf);
}

Test(text_gguf, damaged_files_never_crash)
{
    struct file f = load();
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
