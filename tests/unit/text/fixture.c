/* fixture.c - opens what make.py has made, once, and compares ids and texts case by case. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *fixture_path(char *buf, const char *name)
{
    snprintf(buf, PATH_MAX, "%s/%s", TEXT_FIXTURES, name);
    return buf;
}

int fixture_open_folder(struct hd_tokenizer **out, const char *folder, struct hd_error *err)
{
    struct hd_model m = {.shape.vocab = FIXTURE_VOCAB, .bos = -1, .eos = -1};

    m.folder = (char *)folder;
    return hd_tokenizer_open(out, &m, NULL, err);
}

int fixture_open_gguf(struct hd_tokenizer **out, const char *path, struct hd_error *err)
{
    struct hd_model m = {.shape.vocab = HD_MAX_VOCAB, .bos = -1, .eos = -1};
    int rc = hd_gguf_open(&m.gguf, path, err);

    *out = NULL;
    if (rc < 0)
        return rc;
    rc = hd_tokenizer_open(out, &m, NULL, err);
    hd_gguf_close(m.gguf);
    return rc;
}

struct hd_tokenizer *fixture_folder(const char *name)
{
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    char path[PATH_MAX];

    cr_assert_eq(fixture_open_folder(&t, fixture_path(path, name), &err), 0, "%s", err.text);
    return t;
}

json_t *fixture_json(const char *name)
{
    json_error_t why;
    char path[PATH_MAX];
    json_t *j = json_load_file(fixture_path(path, name), JSON_ALLOW_NUL, &why);

    cr_assert_not_null(j, "%s: %s", name, why.text);
    return j;
}

static void expect_ids(const json_t *row, const int32_t *ids, size_t n)
{
    const json_t *want = json_object_get(row, "ids");
    char *shown = json_dumps(row, JSON_COMPACT);

    cr_expect_eq(n, json_array_size(want), "%zu ids: %s", n, shown);
    for (size_t i = 0; i < n && i < json_array_size(want); i++)
        cr_assert_eq(ids[i], json_integer_value(json_array_get(want, i)), "id %zu is %d: %s", i,
                     ids[i], shown);
    free(shown);
}

size_t check_cases(const struct hd_tokenizer *t, const json_t *fixture)
{
    const json_t *cases = json_object_get(fixture, "cases"), *row;
    size_t i;

    json_array_foreach(cases, i, row)
    {
        const json_t *text = json_object_get(row, "text");
        int32_t *ids;
        size_t n;

        cr_assert_eq(hd_tokenizer_encode(t, json_string_value(text), json_string_length(text),
                                         json_is_true(json_object_get(row, "special")), &ids, &n),
                     0);
        expect_ids(row, ids, n);
        free(ids);
    }
    return json_array_size(cases);
}

char *json_of_turns(const struct turn *m, size_t n)
{
    json_t *list = json_array(), *o;
    char *text;

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "role", m[i].role, "content", m[i].content));
    o = json_pack("{s:o}", "messages", list);
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

int encode_turns(const struct hd_tokenizer *t, const struct turn *m, size_t n, int32_t **ids,
                 size_t *n_ids, struct hd_error *err)
{
    char *json = json_of_turns(m, n);
    int rc = hd_chat_encode(t, json, strlen(json), ids, n_ids, err);

    free(json);
    return rc;
}

size_t check_chats(const struct hd_tokenizer *t, const json_t *fixture)
{
    const json_t *chats = json_object_get(fixture, "chats"), *row;
    size_t i;

    json_array_foreach(chats, i, row)
    {
        struct hd_error err = {0};
        char *json = json_dumps(row, JSON_COMPACT); /* with more members, which are nobody's */
        int32_t *ids;
        size_t n;

        cr_assert_eq(hd_chat_encode(t, json, strlen(json), &ids, &n, &err), 0, "%s", err.text);
        expect_ids(row, ids, n);
        free(json);
        free(ids);
    }
    return json_array_size(chats);
}

bool round_trips(const struct hd_tokenizer *t, const char *text, size_t len)
{
    int32_t *ids;
    size_t n, at = 0;
    bool same = true;

    cr_assert_eq(hd_tokenizer_encode(t, text, len, false, &ids, &n), 0);
    for (size_t i = 0; same && i < n; i++) {
        struct hd_str p = hd_tokenizer_piece(t, ids[i], false);

        same = p.len <= len - at && memcmp(p.data, text + at, p.len) == 0;
        at += p.len;
    }
    free(ids);
    return same && at == len;
}

uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void damage(char *data, size_t *len, uint64_t *state)
{
    for (uint64_t n = 1 + next_random(state) % 3; n > 0 && *len > 0; n--) {
        size_t at = next_random(state) % *len;

        switch (next_random(state) % 4) {
        case 0: /* cut off */
            *len = at;
            break;
        case 1: /* a structural character somewhere */
            data[at] = "{}[]\",:0-e"[next_random(state) % 10];
            break;
        case 2: /* any byte */
            data[at] = (char)next_random(state);
            break;
        default: /* a piece repeated elsewhere */
            memmove(data + at, data + *len / 2, (*len - at) / 8 < 40 ? (*len - at) / 8 : 40);
        }
    }
}
