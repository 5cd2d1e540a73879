/* config_args.c - the command line, by the same table as the file. */
#include "common/util/config_impl.h"

#include <stdio.h>
#include <string.h>

#define NAME_SIZE 128 /* bytes of the longest "section.key" and its NUL */

int hd_config_set(const char *name, const char *value, const struct hd_config_key *keys,
                  void *config, struct hd_error *err)
{
    struct hd_error text = {0};
    struct hd_config_scalar s = {.text = value, .len = strlen(value)};
    char section[NAME_SIZE];
    const char *dot = strchr(name, '.');
    const struct hd_config_key *key = NULL;
    if (dot && (size_t)(dot - name) < sizeof section) {
        memcpy(section, name, (size_t)(dot - name));
        section[dot - name] = '\0';
        key = hd_config_find(keys, section, dot + 1);
    }
    if (!key)
        return hd_fail(err, HD_E_CONFIG, "--%.200s: there is no such setting; see --help", name);
    int rc = hd_config_assign(key, &s, config, &text);
    return rc < 0 ? hd_fail(err, rc, "--%s: %s", name, text.text) : 0;
}

/* One flag of the line. */
struct argument {
    const struct hd_config_flag *flag; /* one that is no setting */
    const struct hd_config_key *key;   /* the setting of a short flag; both NULL: --section.key */
    char name[NAME_SIZE];              /* as typed, without dashes and value */
    const char *value;                 /* NULL: a flag that takes none */
};

static bool takes_value(const struct argument *a)
{
    return !a->flag || a->flag->type != HD_CONFIG_BOOL;
}

static void find_flag(const struct hd_config_line *line, struct argument *a)
{
    a->flag = NULL;
    a->key = NULL;
    for (const struct hd_config_flag *f = line->flags; f->flag && !a->flag; f++)
        if (strcmp(f->flag + 2, a->name) == 0)
            a->flag = f;
    for (const struct hd_config_key *k = line->keys; k->section && !a->key; k++)
        if (k->flag && strcmp(k->flag + 2, a->name) == 0)
            a->key = k;
}

/* Splits argv[*i] and, when the value stands apart, takes argv[*i + 1] too. */
static int take_argument(const struct hd_config_line *line, int *i, struct argument *a,
                         struct hd_error *err)
{
    const char *arg = line->argv[(*i)++];
    if (strncmp(arg, "--", 2) != 0)
        return hd_fail(err, HD_E_CONFIG, "\"%.200s\" is not a flag; see --help", arg);
    const char *equals = strchr(arg, '=');
    size_t len = equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2);
    if (len >= sizeof a->name)
        return hd_fail(err, HD_E_CONFIG, "\"%.200s\" is not a flag; see --help", arg);
    memcpy(a->name, arg + 2, len);
    a->name[len] = '\0';
    find_flag(line, a);
    a->value = equals ? equals + 1 : NULL;

    bool bare = strcmp(a->name, "help") == 0 || strcmp(a->name, "version") == 0;
    if (!bare && !a->flag && !a->key && strcmp(a->name, "config") != 0 && !strchr(a->name, '.'))
        return hd_fail(err, HD_E_CONFIG, "--%s: there is no such flag; see --help", a->name);
    if (bare || !takes_value(a))
        return a->value ? hd_fail(err, HD_E_CONFIG, "--%s takes no value; write it alone", a->name)
                        : 0;
    if (!a->value && *i == line->argc)
        return hd_fail(err, HD_E_CONFIG, "--%s: the value is missing; write --%s VALUE", a->name,
                       a->name);
    if (!a->value)
        a->value = line->argv[(*i)++];
    return 0;
}

/* First look at the line: is it sound, which file, is help or the version wanted? */
static int survey(const struct hd_config_line *line, const char **path, struct hd_error *err)
{
    struct argument a;
    for (int i = 1; i < line->argc;) {
        int rc = take_argument(line, &i, &a, err);
        if (rc < 0)
            return rc;
        if (strcmp(a.name, "help") == 0)
            return HD_CONFIG_HELP;
        if (strcmp(a.name, "version") == 0)
            return HD_CONFIG_VERSION;
        if (strcmp(a.name, "config") != 0)
            continue;
        if (*path)
            return hd_fail(err, HD_E_CONFIG, "--config is given twice; give one file");
        *path = a.value;
    }
    return 0;
}

/* A value that only a flag can give. */
static int set_own(const struct argument *a, void *config, struct hd_error *err)
{
    const char *value = a->value ? a->value : "true";
    struct hd_config_key key = {
        .type = a->flag->type, .offset = a->flag->offset, .size = a->flag->size};
    struct hd_config_scalar s = {.text = value, .len = strlen(value)};
    struct hd_error text = {0};
    int rc = hd_config_assign(&key, &s, config, &text);
    return rc < 0 ? hd_fail(err, rc, "--%s: %s", a->name, text.text) : 0;
}

/* The setting of a short flag or of --section.key. */
static int set_key(const struct hd_config_line *line, const struct argument *a, void *config,
                   struct hd_error *err)
{
    char name[NAME_SIZE];
    if (!a->key)
        return hd_config_set(a->name, a->value, line->keys, config, err);
    snprintf(name, sizeof name, "%s.%s", a->key->section, a->key->key);
    return hd_config_set(name, a->value, line->keys, config, err);
}

static int apply(const struct hd_config_line *line, void *config, struct hd_error *err)
{
    struct argument a;
    for (int i = 1; i < line->argc;) {
        int rc = take_argument(line, &i, &a, err);
        if (rc < 0)
            return rc;
        if (strcmp(a.name, "config") == 0)
            continue;
        rc = a.flag ? set_own(&a, config, err) : set_key(line, &a, config, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int hd_config_args(const struct hd_config_line *line, void *config, struct hd_error *err)
{
    const char *path = NULL;
    int rc = survey(line, &path, err);
    if (rc != 0)
        return rc;
    if (path)
        rc = hd_config_load(path, line->keys, config, err);
    return rc < 0 ? rc : apply(line, config, err);
}
