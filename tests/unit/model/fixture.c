/* fixture.c - writes what a test needs into a folder and removes it with the test. */
#include "fixture.h"

#include "common/model/synth.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[256];

void folder_init(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/hydac-model-XXXXXX", base && *base ? base : "/tmp");
    cr_assert_not_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    return remove(path);
}

void folder_fini(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *in_folder(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *p = paths[next++ % 8];

    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

uint8_t *file_read(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");

    cr_assert_not_null(f, "%s", path);
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*len + 1);
    cr_assert_eq(fread(data, 1, *len, f), *len);
    fclose(f);
    return data;
}

void file_write(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fwrite(data, 1, len, f), len);
    cr_assert_eq(fclose(f), 0);
}

void file_write_text(const char *path, const char *text)
{
    file_write(path, text, strlen(text));
}

const char *make_synth(const char *shape, enum hd_dtype type, uint64_t seed)
{
    char name[96];
    struct hd_error err = {0};

    snprintf(name, sizeof name, "%s-%d-%u.gguf", shape, (int)type, (unsigned)seed);
    struct hd_synth_options o = {
        .shape = shape, .type = type, .seed = seed, .out = in_folder(name)};
    cr_assert_eq(hd_synth_write(&o, &err), 0, "%s", err.text);
    return o.out;
}

struct hd_model *open_ok(const char *path)
{
    struct hd_model *m = NULL;
    struct hd_error err = {0};

    cr_assert_eq(hd_model_open(&m, path, &err), 0, "%s", err.text);
    cr_assert_not_null(m);
    return m;
}

struct hd_model *open_warned(const char *path, const char *words)
{
    struct hd_model *m = open_ok(path);

    cr_assert_eq(m->warnings.n, words != NULL, "%s", m->warnings.text[0]);
    cr_assert(!words || strstr(m->warnings.text[0], words), "%s", m->warnings.text[0]);
    return m;
}

void open_fails(const char *path, int code, const char *word)
{
    struct hd_model *m = NULL;
    struct hd_error err = {0};
    int rc = hd_model_open(&m, path, &err);

    cr_assert_eq(rc, code, "%s: %s instead of %s: %s", path, hd_error_name(rc), hd_error_name(code),
                 err.text);
    cr_assert_null(m);
    cr_assert_eq(err.code, code);
    cr_assert_not_null(strstr(err.text, word), "\"%s\" is not in \"%s\"", word, err.text);
}

uint64_t random_at(uint64_t seed, uint64_t i)
{
    uint64_t x = seed * 0xD1342543DE82EF95u + (i + 1) * 0x9E3779B97F4A7C15u;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
