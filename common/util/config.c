/* config.c - the YAML: libyaml's events, one at a time, and nothing but what the table allows. */
#include "common/util/config_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define NAME_MAX_SHOWN 80 /* how much of a wrong name an error repeats */

struct reader {
    const char *name; /* of the file, for errors */
    const char *text;
    size_t len;
    const struct hd_config_key *keys;
    void *config;
    struct hd_error *err;
    yaml_parser_t parser;
    yaml_event_t event; /* the latest one */
    bool has_event;
    bool section_seen[HD_CONFIG_MAX_KEYS]; /* at the section's first key */
    bool key_seen[HD_CONFIG_MAX_KEYS];
};

/* Puts "FILE:LINE:COLUMN: " before the error that is in r->err. Marks count from 0. */
static int at_mark(struct reader *r, yaml_mark_t m)
{
    struct hd_error text = *r->err;
    hd_fail(r->err, text.code, "%s:%zu:%zu: %s", r->name, m.line + 1, m.column + 1, text.text);
    return text.code;
}

static int fail_at(struct reader *r, yaml_mark_t m, const char *what)
{
    hd_fail(r->err, HD_E_CONFIG, "%s", what);
    return at_mark(r, m);
}

static int fail_here(struct reader *r, const char *what)
{
    return fail_at(r, r->event.start_mark, what);
}

/* ---- Events -------------------------------------------------------------------------------- */

/* True when the line of the mark is indented with a tab somewhere before it. */
static bool tab_before(const struct reader *r, yaml_mark_t m)
{
    const char *line = r->text, *end = r->text + r->len;
    for (size_t i = 0; i < m.line && line; i++) {
        line = memchr(line, '\n', (size_t)(end - line));
        line = line ? line + 1 : NULL;
    }
    if (!line)
        return false;
    while (line < end && *line == ' ')
        line++;
    return line < end && *line == '\t';
}

static int syntax_error(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    yaml_mark_t m = p->problem_mark;
    if (p->error == YAML_MEMORY_ERROR)
        return hd_fail(r->err, HD_E_NOMEM, "%s: out of memory", r->name);
    if (p->error == YAML_READER_ERROR)
        return hd_fail(r->err, HD_E_CONFIG, "%s: %s at byte %zu; save the file as UTF-8", r->name,
                       p->problem, p->problem_offset + 1);
    if (tab_before(r, m))
        return fail_at(r, m, "the line begins with a tab; indent with spaces");
    hd_fail(r->err, HD_E_CONFIG, "%s; mend the YAML here", p->problem);
    return at_mark(r, m);
}

static int check_plain(struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return fail_here(r, "anchors and aliases are not used here; write the value itself");
    if (tag)
        return fail_here(r, "tags are not used here; write the value alone");
    return 0;
}

/* The next event, in r->event. */
static int next(struct reader *r)
{
    yaml_event_t *e = &r->event;
    if (r->has_event)
        yaml_event_delete(e);
    r->has_event = false;
    if (!yaml_parser_parse(&r->parser, e))
        return syntax_error(r);
    r->has_event = true;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return check_plain(r, e->data.alias.anchor, NULL);
    case YAML_SCALAR_EVENT:
        return check_plain(r, e->data.scalar.anchor, e->data.scalar.tag);
    case YAML_MAPPING_START_EVENT:
        return check_plain(r, e->data.mapping_start.anchor, e->data.mapping_start.tag);
    case YAML_SEQUENCE_START_EVENT:
        return check_plain(r, e->data.sequence_start.anchor, e->data.sequence_start.tag);
    default:
        return 0;
    }
}

static struct hd_config_scalar scalar(const struct reader *r)
{
    return (struct hd_config_scalar){
        .text = (const char *)r->event.data.scalar.value,
        .len = r->event.data.scalar.length,
        .quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE,
    };
}

/* A plain nothing: "key:" alone, "~" or "null". */
static bool is_null(const struct hd_config_scalar *s)
{
    return !s->quoted && (s->len == 0 || strcmp(s->text, "~") == 0 || strcmp(s->text, "null") == 0);
}

/* Takes the name at the head of a mapping's entry into `name`, which has `size` bytes. */
static int take_name(struct reader *r, char *name, size_t size)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_here(r, "a name was expected here; write name: value");
    struct hd_config_scalar s = scalar(r);
    int rc = hd_config_printable(&s, r->err);
    if (rc == 0 && s.len >= size)
        rc = hd_fail(r->err, HD_E_CONFIG, "the name \"%.*s...\" is too long; check its spelling",
                     NAME_MAX_SHOWN, s.text);
    if (rc < 0)
        return at_mark(r, r->event.start_mark);
    memcpy(name, s.text, s.len + 1);
    return 0;
}

/* ---- Tables -------------------------------------------------------------------------------- */

static int read_values(struct reader *r, uint32_t *values, size_t *n)
{
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return fail_here(r, "a list of whole numbers was expected; write [0, 1, 2]");
    for (*n = 0;; ++*n) {
        int rc = next(r);
        if (rc < 0)
            return rc;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_here(r, "a whole number was expected; write [0, 1, 2]");
        if (*n == HD_CONFIG_MAX_VALUES) {
            hd_fail(r->err, HD_E_CONFIG, "the list has more than %d numbers; shorten it",
                    HD_CONFIG_MAX_VALUES);
            return at_mark(r, r->event.start_mark);
        }
        struct hd_config_scalar s = scalar(r);
        rc = hd_config_table_value(&s, &values[*n], r->err);
        if (rc < 0)
            return at_mark(r, r->event.start_mark);
    }
}

static int read_table(struct reader *r, const struct hd_config_key *key)
{
    char name[256];
    uint32_t values[HD_CONFIG_MAX_VALUES];
    size_t n = 0;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(r, "a table was expected; write name: [0, 1, 2] lines below");
    for (;;) {
        int rc = next(r);
        if (rc < 0)
            return rc;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        yaml_mark_t mark = r->event.start_mark;
        rc = take_name(r, name, sizeof name);
        if (rc == 0)
            rc = next(r);
        if (rc == 0)
            rc = read_values(r, values, &n);
        if (rc < 0)
            return rc;
        rc = key->add(r->config, name, values, n, r->err);
        if (rc < 0)
            return at_mark(r, mark);
    }
}

/* [one, two] */
static int read_words(struct reader *r, const struct hd_config_key *key)
{
    hd_config_no_words(key, r->config);
    for (;;) {
        int rc = next(r);
        if (rc < 0 || r->event.type == YAML_SEQUENCE_END_EVENT)
            return rc;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_here(r, "a word was expected; write [one, two]");
        struct hd_config_scalar s = scalar(r);
        rc = hd_config_add_words(key, &s, r->config, r->err);
        if (rc < 0)
            return at_mark(r, r->event.start_mark);
    }
}

/* ---- Sections and keys --------------------------------------------------------------------- */

static int read_value(struct reader *r, const struct hd_config_key *key)
{
    int rc = next(r);
    if (rc < 0)
        return rc;
    if (key->type == HD_CONFIG_TABLE)
        return read_table(r, key);
    if (key->type == HD_CONFIG_WORDS && r->event.type == YAML_SEQUENCE_START_EVENT)
        return read_words(r, key);
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_here(r, "a single value was expected; write it behind the colon");
    struct hd_config_scalar s = scalar(r);
    if (is_null(&s))
        return fail_here(r, "there is no value; write one, or remove the key");
    rc = hd_config_assign(key, &s, r->config, r->err);
    return rc < 0 ? at_mark(r, r->event.start_mark) : 0;
}

static int unknown_key(struct reader *r, const char *section, const char *key)
{
    char list[300] = "";
    for (const struct hd_config_key *k = r->keys; k->section; k++)
        if (strcmp(k->section, section) == 0) {
            size_t n = strlen(list);
            snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", k->key);
        }
    hd_fail(r->err, HD_E_CONFIG, "unknown key \"%.*s\" in section \"%s\"; it has %s",
            NAME_MAX_SHOWN, key, section, list);
    return at_mark(r, r->event.start_mark);
}

static int read_key(struct reader *r, const char *section)
{
    char name[256];
    int rc = take_name(r, name, sizeof name);
    if (rc < 0)
        return rc;
    const struct hd_config_key *key = hd_config_find(r->keys, section, name);
    if (!key)
        return unknown_key(r, section, name);
    if (r->key_seen[key - r->keys]) {
        hd_fail(r->err, HD_E_CONFIG, "key \"%s\" is given twice in section \"%s\"; remove one",
                name, section);
        return at_mark(r, r->event.start_mark);
    }
    r->key_seen[key - r->keys] = true;
    return read_value(r, key);
}

/* The section's first key in the table, or -1. */
static int find_section(const struct reader *r, const char *section)
{
    for (int i = 0; r->keys[i].section; i++)
        if (strcmp(r->keys[i].section, section) == 0)
            return i;
    return -1;
}

static int unknown_section(struct reader *r, const char *section)
{
    char list[300] = "";
    for (int i = 0; r->keys[i].section; i++)
        if (find_section(r, r->keys[i].section) == i) {
            size_t n = strlen(list);
            snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", r->keys[i].section);
        }
    hd_fail(r->err, HD_E_CONFIG, "unknown section \"%.*s\"; there are %s", NAME_MAX_SHOWN, section,
            list);
    return at_mark(r, r->event.start_mark);
}

static int read_section(struct reader *r)
{
    char name[256];
    int rc = take_name(r, name, sizeof name);
    if (rc < 0)
        return rc;
    int index = find_section(r, name);
    if (index < 0)
        return unknown_section(r, name);
    if (r->section_seen[index]) {
        hd_fail(r->err, HD_E_CONFIG, "section \"%s\" is given twice; put its keys together", name);
        return at_mark(r, r->event.start_mark);
    }
    r->section_seen[index] = true;
    rc = next(r);
    if (rc < 0)
        return rc;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(r, "a section was expected; write its key: value lines below, indented");
    while ((rc = next(r)) == 0 && r->event.type != YAML_MAPPING_END_EVENT) {
        rc = read_key(r, name);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int read_document(struct reader *r)
{
    int rc = next(r);
    if (rc < 0)
        return rc;
    if (r->event.type == YAML_SCALAR_EVENT) {
        struct hd_config_scalar s = scalar(r);
        if (is_null(&s)) /* "---" and nothing behind it */
            return next(r);
    }
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(r, "sections were expected; write section: and its keys below, indented");
    while ((rc = next(r)) == 0 && r->event.type != YAML_MAPPING_END_EVENT) {
        rc = read_section(r);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : next(r);
}

/* At most one document; a file of comments has none. */
static int read_stream(struct reader *r)
{
    int rc = next(r); /* the stream's start */
    if (rc == 0)
        rc = next(r);
    if (rc == 0 && r->event.type == YAML_DOCUMENT_START_EVENT) {
        rc = read_document(r);
        if (rc == 0)
            rc = next(r);
        if (rc == 0 && r->event.type == YAML_DOCUMENT_START_EVENT)
            return fail_here(r, "a second document begins; keep one in the file");
    }
    return rc;
}

int hd_config_parse(const char *name, const char *text, size_t len,
                    const struct hd_config_key *keys, void *config, struct hd_error *err)
{
    struct hd_error own;
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return hd_fail(err, HD_E_NOMEM, "%s: out of memory", name);
    *r = (struct reader){.name = name,
                         .text = text,
                         .len = len,
                         .keys = keys,
                         .config = config,
                         .err = err ? err : &own};
    while (keys->section)
        keys++;
    assert(keys - r->keys <= HD_CONFIG_MAX_KEYS);
    int rc = HD_E_NOMEM;
    if (!yaml_parser_initialize(&r->parser)) {
        hd_fail(err, rc, "%s: out of memory", name);
        goto err_after_reader;
    }
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
    rc = read_stream(r);
    if (r->has_event)
        yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
err_after_reader:
    free(r);
    return rc;
}
