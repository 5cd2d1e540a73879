/* config.h - strict YAML configuration from a table, through libyaml.
 *
 * The file is a mapping of sections, each a mapping of scalars (or of sequences, for
 * HD_CONFIG_TABLE). Everything unexpected is one error "FILE:LINE:COLUMN: what; what to do":
 * an unknown section or key, a key given twice, a wrong type, a value out of range, a second
 * document, an alias. Values not in the file keep what the struct held (the defaults). */
#ifndef HD_UTIL_CONFIG_H
#define HD_UTIL_CONFIG_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hd_config_type {
    HD_CONFIG_STRING, /* char[size] in the struct */
    HD_CONFIG_UINT,   /* uint64_t; min..max */
    HD_CONFIG_REAL,   /* double; min..max */
    HD_CONFIG_BOOL,   /* bool: true | false */
    HD_CONFIG_ENUM,   /* int: index into `words` */
    HD_CONFIG_SIZE,   /* uint64_t bytes: "512M", "4G", "65536"; min..max */
    HD_CONFIG_TABLE,  /* mapping name -> sequence of unsigned integers, through `add` */
};

struct hd_config_key {
    const char *section, *key;
    enum hd_config_type type;
    size_t offset; /* in the struct */
    size_t size;   /* STRING: size of the array */
    double min, max;
    const char *const *words; /* ENUM: NULL-terminated */
    /* TABLE: called for each entry; returns 0 or fills err (text only, without the place). */
    int (*add)(void *config, const char *name, const uint32_t *values, size_t n,
               struct hd_error *err);
};

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

#endif
