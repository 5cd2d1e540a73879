/* config.h - strict YAML configuration, the command line and --help from one table, through
 * libyaml.
 *
 * The file is a mapping of sections, each a mapping of scalars (or of sequences, for
 * HD_CONFIG_TABLE and HD_CONFIG_WORDS). Everything unexpected is one error "FILE:LINE:COLUMN: what;
 * what to do": an unknown section or key, a key given twice, a wrong type, a value out of range, a
 * second document, an alias, a tag. Values not in the file keep what the struct held (the
 * defaults); after an error the struct is partly filled and not to be used. */
#ifndef HD_UTIL_CONFIG_H
#define HD_UTIL_CONFIG_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HD_CONFIG_MAX_FILE   (1u << 20) /* bytes: a configuration is a page or two */
#define HD_CONFIG_MAX_KEYS   64         /* keys in a table */
#define HD_CONFIG_MAX_VALUES 128        /* integers in one entry of a TABLE */

enum hd_config_type {
    HD_CONFIG_STRING, /* char[size] in the struct */
    HD_CONFIG_UINT,   /* uint64_t; min..max */
    HD_CONFIG_REAL,   /* double; min..max */
    HD_CONFIG_BOOL,   /* bool: true | false */
    HD_CONFIG_ENUM,   /* int: index into `words` */
    HD_CONFIG_SIZE,   /* uint64_t bytes: "512M", "4G", "65536"; min..max */
    HD_CONFIG_WORDS,  /* char[size]: words with one space between them; [a, b] or a,b */
    HD_CONFIG_TABLE,  /* mapping name -> sequence of unsigned integers, through `add` */
};

struct hd_config_key {
    const char *section, *key;
    enum hd_config_type type;
    size_t offset; /* in the struct */
    size_t size;   /* STRING, WORDS: size of the array */
    double min, max;
    const char *const *words; /* ENUM: NULL-terminated */
    /* TABLE: called for each entry; returns 0 or fills err (text only, without the place). */
    int (*add)(void *config, const char *name, const uint32_t *values, size_t n,
               struct hd_error *err);

    const char *preset; /* the default, as in a file; NULL: what the struct holds without us */
    const char *unset;  /* the default in words, where `preset` does not say it */
    const char *help;   /* what it is: a sentence without its end; range and default come behind */
    const char *flag;   /* a short flag besides --section.key: "--model"; NULL: none */
    const char *arg;    /* STRING: what it is called in --help: "PATH" */
};

/* Writes every `preset` of the table into `config`; what has none is left alone. */
void hd_config_presets(const struct hd_config_key *keys, void *config);

/* Reads `path` into `config`. `keys` ends with a NULL section. HD_E_CONFIG or HD_E_IO. */
int hd_config_load(const char *path, const struct hd_config_key *keys, void *config,
                   struct hd_error *err);
/* One value from the command line ("section.key", "value"), by the same table and checks; the
 * error says "--section.key: ...". Not for TABLE. */
int hd_config_set(const char *name, const char *value, const struct hd_config_key *keys,
                  void *config, struct hd_error *err);
/* Same as hd_config_load from memory; `name` stands for the file in errors. */
int hd_config_parse(const char *name, const char *text, size_t len,
                    const struct hd_config_key *keys, void *config, struct hd_error *err);

/* ---- The command line: "--section.key VALUE" for every key of the table except HD_CONFIG_TABLE,
 * short flags for some of them, and values that only a flag can give. "--flag=VALUE" is the same as
 * "--flag VALUE". */
struct hd_config_flag {
    const char *flag;         /* "--ports-file" */
    enum hd_config_type type; /* STRING, or BOOL, which takes no value: the flag alone says true */
    size_t offset, size;
    const char *arg, *help; /* as of a key */
};

struct hd_config_line {
    const struct hd_config_key *keys;   /* ends with a NULL section */
    const struct hd_config_flag *flags; /* ends with a NULL flag: what is no setting */
    const char *about; /* the first lines of --help, each ended: usage, what it is */
    int argc;
    char **argv; /* argv[0] is the program and is skipped */
};

#define HD_CONFIG_HELP    1 /* outcome: --help was given; nothing was read */
#define HD_CONFIG_VERSION 2 /* outcome: --version was given; nothing was read */

/* Reads the file that --config names, if any, then the flags, whatever their order on the line.
 * 0, HD_CONFIG_HELP, HD_CONFIG_VERSION, HD_E_CONFIG or what hd_config_load returns. */
int hd_config_args(const struct hd_config_line *line, void *config, struct hd_error *err);
/* --help: what `about` says, then every flag and every setting with its range and default. */
void hd_config_print_help(FILE *to, const struct hd_config_line *line);

#endif
