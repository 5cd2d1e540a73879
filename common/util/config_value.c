/* config_value.c - one scalar, checked and stored. */
#include "common/util/config_impl.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of a wrong value an error repeats. */
#define SHOWN 80

static int show(const struct hd_config_scalar *s)
{
    return (int)(s->len < SHOWN ? s->len : SHOWN);
}

static bool consists_of(const struct hd_config_scalar *s, const char *allowed)
{
    return s->len > 0 && strspn(s->text, allowed) >= s->len;
}

static bool is(const struct hd_config_scalar *s, const char *word)
{
    return strlen(word) == s->len && memcmp(s->text, word, s->len) == 0;
}

/* Digits to a number; false when it does not fit 64 bits. */
static bool to_u64(const char *digits, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(digits[i] - '0'), &v))
            return false;
    *out = v;
    return true;
}

/* "4294967296" as "4G": the way a person would write it. */
static void size_text(char *buf, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"", "K", "M", "G", "T"};
    size_t u = 0;
    while (u + 1 < sizeof units / sizeof *units && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        u++;
    }
    snprintf(buf, size, "%llu%s", (unsigned long long)bytes, units[u]);
}

void hd_config_range(const struct hd_config_key *key, char *buf, size_t size)
{
    char min[32], max[32];
    buf[0] = '\0';
    if (key->type == HD_CONFIG_SIZE) {
        size_text(min, sizeof min, (uint64_t)key->min);
        size_text(max, sizeof max, (uint64_t)key->max);
        snprintf(buf, size, "%s to %s", min, max);
    } else if (key->type == HD_CONFIG_UINT || key->type == HD_CONFIG_REAL) {
        snprintf(buf, size, "%.15g to %.15g", key->min, key->max);
    }
}

static int out_of_range(const struct hd_config_key *key, const struct hd_config_scalar *s,
                        struct hd_error *err)
{
    char range[80];
    hd_config_range(key, range, sizeof range);
    return hd_fail(err, HD_E_CONFIG, "%.*s is out of range; give %s", show(s), s->text, range);
}

int hd_config_printable(const struct hd_config_scalar *s, struct hd_error *err)
{
    for (size_t i = 0; i < s->len; i++)
        if ((unsigned char)s->text[i] < ' ' || s->text[i] == 0x7f)
            return hd_fail(err, HD_E_CONFIG, "there is a control character at byte %zu; remove it",
                           i + 1);
    return 0;
}

static int assign_string(const struct hd_config_key *key, const struct hd_config_scalar *s,
                         char *to, struct hd_error *err)
{
    if (s->len >= key->size)
        return hd_fail(err, HD_E_CONFIG, "the value has %zu bytes; give at most %zu", s->len,
                       key->size - 1);
    memcpy(to, s->text, s->len);
    to[s->len] = '\0';
    return 0;
}

static int assign_uint(const struct hd_config_key *key, const struct hd_config_scalar *s,
                       uint64_t *to, struct hd_error *err)
{
    uint64_t v;
    if (s->quoted || !consists_of(s, "0123456789"))
        return hd_fail(err, HD_E_CONFIG, "\"%.*s\" is not a whole number; give %.15g to %.15g",
                       show(s), s->text, key->min, key->max);
    if (!to_u64(s->text, s->len, &v) || (double)v < key->min || (double)v > key->max)
        return out_of_range(key, s, err);
    *to = v;
    return 0;
}

static int assign_size(const struct hd_config_key *key, const struct hd_config_scalar *s,
                       uint64_t *to, struct hd_error *err)
{
    struct hd_config_scalar digits = *s;
    const char *units = "KMGT", *unit = s->len ? strchr(units, s->text[s->len - 1]) : NULL;
    if (unit && *unit)
        digits.len--;
    uint64_t v, factor = unit && *unit ? UINT64_C(1) << (10 * (unit - units + 1)) : 1;
    if (s->quoted || !consists_of(&digits, "0123456789"))
        return hd_fail(err, HD_E_CONFIG, "\"%.*s\" is not a size; write bytes, or 512M, 4G",
                       show(s), s->text);
    if (!to_u64(digits.text, digits.len, &v) || __builtin_mul_overflow(v, factor, &v) ||
        (double)v < key->min || (double)v > key->max)
        return out_of_range(key, s, err);
    *to = v;
    return 0;
}

static int assign_real(const struct hd_config_key *key, const struct hd_config_scalar *s,
                       double *to, struct hd_error *err)
{
    char *end = NULL;
    double v = NAN;
    if (!s->quoted && consists_of(s, "0123456789.eE+-"))
        v = strtod(s->text, &end);
    if (!end || end != s->text + s->len)
        return hd_fail(err, HD_E_CONFIG, "\"%.*s\" is not a number; give %.15g to %.15g", show(s),
                       s->text, key->min, key->max);
    if (!isfinite(v) || v < key->min || v > key->max)
        return out_of_range(key, s, err);
    *to = v;
    return 0;
}

static int assign_bool(const struct hd_config_scalar *s, bool *to, struct hd_error *err)
{
    bool yes = is(s, "true");
    if (s->quoted || (!yes && !is(s, "false")))
        return hd_fail(err, HD_E_CONFIG, "\"%.*s\" is not true or false; write one of these",
                       show(s), s->text);
    *to = yes;
    return 0;
}

static int assign_enum(const struct hd_config_key *key, const struct hd_config_scalar *s, int *to,
                       struct hd_error *err)
{
    char list[200] = "";
    for (int i = 0; key->words[i]; i++) {
        if (is(s, key->words[i])) {
            *to = i;
            return 0;
        }
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", key->words[i]);
    }
    return hd_fail(err, HD_E_CONFIG, "\"%.*s\" is not known here; write one of %s", show(s),
                   s->text, list);
}

void hd_config_no_words(const struct hd_config_key *key, void *config)
{
    ((char *)config + key->offset)[0] = '\0';
}

/* A word of `len` bytes behind those that are there. */
static int add_word(const struct hd_config_key *key, const char *word, size_t len, char *to,
                    struct hd_error *err)
{
    size_t n = strlen(to);
    if (len == 0 || memchr(word, ' ', len))
        return hd_fail(err, HD_E_CONFIG, "a word is empty or has a space in it; write [one, two]");
    if (n + (n > 0) + len >= key->size)
        return hd_fail(err, HD_E_CONFIG, "the list has more than %zu bytes; shorten it",
                       key->size - 1);
    if (n > 0)
        to[n++] = ' ';
    memcpy(to + n, word, len);
    to[n + len] = '\0';
    return 0;
}

int hd_config_add_words(const struct hd_config_key *key, const struct hd_config_scalar *s,
                        void *config, struct hd_error *err)
{
    int rc = hd_config_printable(s, err);
    for (size_t at = 0; rc == 0; at++) {
        size_t len = strcspn(s->text + at, ",");
        rc = add_word(key, s->text + at, len, (char *)config + key->offset, err);
        at += len;
        if (at >= s->len)
            break;
    }
    return rc;
}

static int assign_words(const struct hd_config_key *key, const struct hd_config_scalar *s,
                        void *config, struct hd_error *err)
{
    hd_config_no_words(key, config);
    return s->len == 0 ? 0 : hd_config_add_words(key, s, config, err);
}

int hd_config_assign(const struct hd_config_key *key, const struct hd_config_scalar *s,
                     void *config, struct hd_error *err)
{
    void *to = (char *)config + key->offset;
    int rc = hd_config_printable(s, err);
    if (rc < 0)
        return rc;
    switch (key->type) {
    case HD_CONFIG_STRING:
        return assign_string(key, s, to, err);
    case HD_CONFIG_UINT:
        return assign_uint(key, s, to, err);
    case HD_CONFIG_REAL:
        return assign_real(key, s, to, err);
    case HD_CONFIG_BOOL:
        return assign_bool(s, to, err);
    case HD_CONFIG_ENUM:
        return assign_enum(key, s, to, err);
    case HD_CONFIG_SIZE:
        return assign_size(key, s, to, err);
    case HD_CONFIG_WORDS:
        return assign_words(key, s, config, err);
    case HD_CONFIG_TABLE:
        break;
    }
    return hd_fail(err, HD_E_CONFIG, "this is a table; give it in the configuration file");
}

void hd_config_presets(const struct hd_config_key *keys, void *config)
{
    for (; keys->section; keys++) {
        struct hd_error err = {0};
        if (!keys->preset)
            continue;
        struct hd_config_scalar s = {.text = keys->preset, .len = strlen(keys->preset)};
        int rc = hd_config_assign(keys, &s, config, &err);
        assert(rc == 0 && "a preset is a value that its key takes");
        (void)rc;
    }
}

int hd_config_table_value(const struct hd_config_scalar *s, uint32_t *value, struct hd_error *err)
{
    static const struct hd_config_key u32 = {.type = HD_CONFIG_UINT, .max = UINT32_MAX};
    uint64_t v = 0;
    int rc = assign_uint(&u32, s, &v, err);
    *value = (uint32_t)v;
    return rc;
}

const struct hd_config_key *hd_config_find(const struct hd_config_key *keys, const char *section,
                                           const char *key)
{
    for (; keys->section; keys++)
        if (strcmp(keys->section, section) == 0 && strcmp(keys->key, key) == 0)
            return keys;
    return NULL;
}
