/* config_impl.h - what the configuration's own files share. */
#ifndef HD_UTIL_CONFIG_IMPL_H
#define HD_UTIL_CONFIG_IMPL_H

#include "common/util/config.h"

/* A scalar as it was written. */
struct hd_config_scalar {
    const char *text;
    size_t len;
    bool quoted; /* then it is a string, whatever it looks like */
};

/* The key, or NULL. */
const struct hd_config_key *hd_config_find(const struct hd_config_key *keys, const char *section,
                                           const char *key);
/* Refuses control characters: they would also end up in error sentences. Text only, as below. */
int hd_config_printable(const struct hd_config_scalar *s, struct hd_error *err);
/* WORDS: no words yet, and one more: those of a scalar with commas between them. Text only. */
void hd_config_no_words(const struct hd_config_key *key, void *config);
int hd_config_add_words(const struct hd_config_key *key, const struct hd_config_scalar *s,
                        void *config, struct hd_error *err);
/* Checks the scalar against the key and stores it. The error is text only, without the place. Not
 * for TABLE. */
int hd_config_assign(const struct hd_config_key *key, const struct hd_config_scalar *s,
                     void *config, struct hd_error *err);
/* "1 to 64" of a UINT or REAL, "1M to 16T" of a SIZE; "" of any other. */
void hd_config_range(const struct hd_config_key *key, char *buf, size_t size);
/* A 32-bit unsigned integer of a TABLE. */
int hd_config_table_value(const struct hd_config_scalar *s, uint32_t *value, struct hd_error *err);

#endif
