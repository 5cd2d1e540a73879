/* tokens.c - grows a vocabulary token by token; every text is a copy. */
#include "common/text/tokens.h"

#include "common/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct hd_tokens *t, size_t id)
{
    size_t room = t->room ? t->room : 1024;

    while (room <= id)
        room *= 2;
    if (room == t->room)
        return true;
    struct hdt_entry *entries = realloc(t->entries, room * sizeof *entries);
    t->entries = entries ? entries : t->entries;
    float *scores = realloc(t->scores, room * sizeof *scores);
    t->scores = scores ? scores : t->scores;
    if (!entries || !scores)
        return false;
    memset(entries + t->room, 0, (room - t->room) * sizeof *entries);
    memset(scores + t->room, 0, (room - t->room) * sizeof *scores);
    t->room = room;
    return true;
}

void hd_tokens_put(struct hd_tokens *t, size_t id, struct hd_str text, int kind, float score)
{
    if (t->failed)
        return;
    if (id >= HD_MAX_VOCAB) {
        t->failed = HD_E_LIMIT;
        return;
    }
    char *copy = make_room(t, id) ? malloc(text.len + 1) : NULL;
    if (!copy) {
        t->failed = HD_E_NOMEM;
        return;
    }
    if (t->entries[id].kind != HD_TOKEN_ABSENT) {
        free(copy);
        t->failed = HD_E_FORMAT;
        return;
    }
    memcpy(copy, text.data, text.len);
    t->entries[id] = (struct hdt_entry){{copy, text.len}, kind};
    t->scores[id] = score;
    t->n = id >= t->n ? id + 1 : t->n;
}

/* The letter of a byte: itself where it can be printed, else those from U+0100 on in their order.
 */
static unsigned letter_of(unsigned byte)
{
    unsigned others = 0;

    for (unsigned b = 0; b <= byte; b++) {
        bool printed = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        if (b == byte && printed)
            return b;
        others += !printed;
    }
    return 0xFF + others;
}

void hd_tokens_put_bytes(struct hd_tokens *t, size_t id, struct hd_str bytes, float score)
{
    char *text = malloc(bytes.len * 2 + 1);
    size_t n = 0;

    for (size_t i = 0; text && i < bytes.len; i++) {
        unsigned c = letter_of((uint8_t)bytes.data[i]);
        if (c >= 0x80)
            text[n++] = (char)(0xC0 | c >> 6);
        text[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3F) : c);
    }
    if (text)
        hd_tokens_put(t, id, (struct hd_str){text, n}, HD_TOKEN_NORMAL, score);
    else if (!t->failed)
        t->failed = HD_E_NOMEM;
    free(text);
}

void hd_tokens_put_config(struct hd_tokens *t, const json_t *config)
{
    json_t *added = json_object_get(config, "added_tokens_decoder"), *v;
    const char *key;

    json_object_foreach(added, key, v)
    {
        const json_t *text = json_object_get(v, "content");
        bool special = json_is_true(json_object_get(v, "special"));
        char *end;
        unsigned long id = strtoul(key, &end, 10);

        if (!json_is_string(text) || *key < '0' || *key > '9' || *end)
            t->failed = t->failed ? t->failed : HD_E_FORMAT;
        else if (id >= t->n || t->entries[id].kind == HD_TOKEN_ABSENT)
            hd_tokens_put(t, id, (struct hd_str){json_string_value(text), json_string_length(text)},
                          special ? HD_TOKEN_CONTROL : HD_TOKEN_USER, 0);
    }
}

void hd_tokens_free(struct hd_tokens *t)
{
    for (size_t i = 0; i < t->n; i++)
        free((char *)(uintptr_t)t->entries[i].text.data);
    free(t->entries);
    free(t->scores);
    *t = (struct hd_tokens){0};
}

int hd_tokens_check(const struct hd_tokens *t, const char *file, struct hd_error *err)
{
    if (t->failed == HD_E_NOMEM)
        return hd_fail(err, HD_E_NOMEM, "no memory for %s", file);
    if (t->failed == HD_E_LIMIT)
        return hd_fail(err, HD_E_LIMIT, "%s has a token above %d, the limit", file, HD_MAX_VOCAB);
    if (t->failed || t->n == 0)
        return hd_fail(err, HD_E_FORMAT, "%s is damaged: two tokens have one id, or none is there",
                       file);
    return 0;
}

static int digit_of(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

bool hd_base64_decode(struct hd_str text, char *out, size_t *len)
{
    size_t n = text.len, pad = 0;

    while (pad < 2 && n > pad && text.data[n - pad - 1] == '=')
        pad++;
    if (n == 0 || n % 4 != 0)
        return false;
    *len = 0;
    for (size_t i = 0; i < n; i += 4) {
        size_t digits = i + 4 == n ? 4 - pad : 4;
        uint32_t word = 0;

        for (size_t j = 0; j < 4; j++) {
            int d = j < digits ? digit_of(text.data[i + j]) : 0;
            if (d < 0)
                return false;
            word = word << 6 | (uint32_t)d;
        }
        for (size_t j = 0; j + 1 < digits; j++)
            out[(*len)++] = (char)(word >> (16 - 8 * j) & 255);
    }
    return true;
}
