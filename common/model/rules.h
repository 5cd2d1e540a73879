/* rules.h - unread means refused: what may stand in a model's file beside what the loader reads.
 *
 * A container has a table of all settings that hydac knows. A setting that is not in it, or that
 * has another value than its row understands, may change what the model computes: the file is
 * refused with the setting's name and value. Internal to common/model. */
#ifndef HD_MODEL_RULES_H
#define HD_MODEL_RULES_H

#include "common/model/model_impl.h"

enum hd_rule_kind {
    HD_RULE_READ,   /* the loader reads it and judges its value */
    HD_RULE_NOTE,   /* bookkeeping, training, sampling, drafts: changes no logit */
    HD_RULE_VALUE,  /* a number or a truth value, `a` or `b`: as if it were not there */
    HD_RULE_WORDS,  /* one of `text`, separated by '|' */
    HD_RULE_WINDOW, /* 0, or no shorter than the context: every position sees all before it */
    HD_RULE_SCALE,  /* 0, or 1 / sqrt(head size): the usual scale of attention */
    HD_RULE_EMPTY,  /* a list without anything in it */
    HD_RULE_WARN,   /* taken all the same, with the warning in `text` */
    HD_RULE_NEVER,  /* refused whatever it says; `text` is what to do */
};

struct hd_rule {
    const char *name;
    enum hd_rule_kind kind;
    double a, b;
    const char *text;
};

/* Rows of a table; one with name NULL ends it. */
/* clang-format off */
#define HD_READ(name)          {(name), HD_RULE_READ, 0, 0, NULL}
#define HD_NOTE(name)          {(name), HD_RULE_NOTE, 0, 0, NULL}
#define HD_IS(name, a)         {(name), HD_RULE_VALUE, (a), (a), NULL}
#define HD_EITHER(name, a, b)  {(name), HD_RULE_VALUE, (a), (b), NULL}
#define HD_WORDS(name, words)  {(name), HD_RULE_WORDS, 0, 0, (words)}
#define HD_WINDOW(name)        {(name), HD_RULE_WINDOW, 0, 0, NULL}
#define HD_SCALE(name)         {(name), HD_RULE_SCALE, 0, 0, NULL}
#define HD_EMPTY(name)         {(name), HD_RULE_EMPTY, 0, 0, NULL}
#define HD_WARN(name, text)    {(name), HD_RULE_WARN, 0, 0, (text)}
#define HD_NEVER(name, text)   {(name), HD_RULE_NEVER, 0, 0, (text)}
#define HD_RULES_END           {NULL, HD_RULE_NOTE, 0, 0, NULL}
/* clang-format on */

/* One value as a file says it; of a list each element is asked for by itself. */
struct hd_said {
    enum { HD_SAID_NUMBER, HD_SAID_WORD, HD_SAID_OTHER } kind;
    double number; /* a truth value is 0 or 1 */
    struct hd_str word;
};

/* NULL: not in the table. */
const struct hd_rule *hd_rule_find(const struct hd_rule *table, struct hd_str name);
/* A family's own table (may be NULL) says that the loader reads it: what it does not say so of is
 * left to the rules, as if it were not there. */
bool hd_rule_reads(const struct hd_rule *own, const char *name);
/* Whether the rule understands this value in a model of these hyper-parameters. */
bool hd_rule_accepts(const struct hd_rule *r, const struct hd_said *v, const struct hd_hyper *h);

/* Something that a file says, for sentences about it. */
struct hd_setting {
    const char *what; /* "key", "field" */
    struct hd_str name;
    const char *value; /* as text */
};
/* HD_E_UNSUPPORTED, with name, value, what would be understood (`r` may be NULL: unknown) and what
 * to do. */
int hd_rule_refuse(const struct hd_rule *r, const struct hd_setting *s, struct hd_error *err);

/* `n` bytes from a file made printable: a NUL-terminated copy of at most size - 1 bytes. */
void hd_printable(char *out, size_t size, struct hd_str s);

/* The containers' tables. */
extern const struct hd_rule hd_gguf_rules[];   /* behind the family's name */
extern const struct hd_rule hd_config_rules[]; /* fields of config.json */
extern const struct hd_rule hd_rope_rules[];   /* of rope_parameters and rope_scaling in it */

/* All keys of a GGUF file. HD_E_UNSUPPORTED; `err` without the file's name. */
int hd_gguf_check_keys(const struct hd_gguf *g, const struct hd_hyper *h, struct hd_warnings *w,
                       struct hd_error *err);

#endif
