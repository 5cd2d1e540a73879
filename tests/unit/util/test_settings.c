/* What holds for every row of the two daemons' tables of settings. */
#include "leader/daemon/config.h"
#include "worker/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct daemon {
    const struct hd_config_key *keys;
    size_t size; /* of its struct */
};

static size_t field_size(const struct hd_config_key *k)
{
    switch (k->type) {
    case HD_CONFIG_STRING:
    case HD_CONFIG_WORDS:
        return k->size;
    case HD_CONFIG_BOOL:
        return sizeof(bool);
    case HD_CONFIG_ENUM:
        return sizeof(int);
    case HD_CONFIG_TABLE:
        return 0;
    default:
        return sizeof(uint64_t);
    }
}

/* A value that is not all zeros in the struct. */
static void other_value(const struct hd_config_key *k, char *text, size_t size)
{
    if (k->type == HD_CONFIG_BOOL)
        snprintf(text, size, "true");
    else if (k->type == HD_CONFIG_ENUM)
        snprintf(text, size, "%s", k->words[1]);
    else if (k->type == HD_CONFIG_STRING || k->type == HD_CONFIG_WORDS)
        snprintf(text, size, "x");
    else
        snprintf(text, size, "%.15g", k->max);
}

/* The bytes that setting it changes are those of its own field. */
static void check_place(const struct daemon *d, const struct hd_config_key *k)
{
    char *config = calloc(1, d->size), name[128], value[64];
    struct hd_error err = {0};
    snprintf(name, sizeof name, "%s.%s", k->section, k->key);
    other_value(k, value, sizeof value);
    cr_assert_eq(hd_config_set(name, value, d->keys, config, &err), 0, "%s: %s", name, err.text);
    size_t first = 0, last = d->size;
    while (first < d->size && config[first] == 0)
        first++;
    while (last > first && config[last - 1] == 0)
        last--;
    cr_expect_lt(first, last, "%s has no effect", name);
    cr_expect(first >= k->offset && last <= k->offset + field_size(k), "%s", name);
    free(config);
}

/* No field has two keys, none is outside of its struct, each has its sentence. */
static void check_row(const struct daemon *d, const struct hd_config_key *k)
{
    cr_expect(k->help && k->help[0] && k->help[strlen(k->help) - 1] != '.', "%s.%s", k->section,
              k->key);
    cr_expect(k->preset || k->unset || k->type == HD_CONFIG_TABLE, "%s.%s: no default", k->section,
              k->key);
    cr_expect_leq(k->offset + field_size(k), d->size);
    for (const struct hd_config_key *o = d->keys; o < k; o++) {
        cr_expect(o->type == HD_CONFIG_TABLE || k->type == HD_CONFIG_TABLE ||
                      o->offset != k->offset,
                  "%s.%s and %s.%s", o->section, o->key, k->section, k->key);
        cr_expect(strcmp(o->section, k->section) != 0 || strcmp(o->key, k->key) != 0);
        cr_expect(!o->flag || !k->flag || strcmp(o->flag, k->flag) != 0, "%s", k->flag);
    }
}

static void check_table(const struct daemon *d)
{
    size_t n = 0;
    for (const struct hd_config_key *k = d->keys; k->section; k++, n++) {
        check_row(d, k);
        if (k->type != HD_CONFIG_TABLE)
            check_place(d, k);
    }
    cr_expect_leq(n, HD_CONFIG_MAX_KEYS);
}

Test(settings, leader)
{
    check_table(&(struct daemon){hd_leader_settings, sizeof(struct hd_leader_config)});
}

Test(settings, worker)
{
    check_table(&(struct daemon){hd_worker_settings, sizeof(struct hd_worker_config)});
}
