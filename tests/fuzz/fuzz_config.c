/* fuzz_config.c - a YAML configuration, with a key of each type; and, from the same bytes, keys. */
#include "common/util/config.h"
#include "common/util/secret.h"
#include "fuzz.h"

#include <string.h>

struct config {
    char string[32], words[16];
    uint64_t uint, size;
    double real;
    bool flag;
    int word;
};

static int add(void *config, const char *name, const uint32_t *values, size_t n,
               struct hd_error *err)
{
    FUZZ_CHECK(n <= HD_CONFIG_MAX_VALUES);
    return strlen(name) > 8 ? hd_fail(err, HD_E_CONFIG, "the name is too long") : 0;
}

#define AT(field) offsetof(struct config, field)

static const char *const words[] = {"one", "two", NULL};
static const struct hd_config_key keys[] = {
    {"a", "string", HD_CONFIG_STRING, AT(string), sizeof((struct config *)0)->string},
    {"a", "uint", HD_CONFIG_UINT, AT(uint), .min = 1, .max = 100},
    {"b", "size", HD_CONFIG_SIZE, AT(size), .min = 1024, .max = 1e12},
    {"b", "real", HD_CONFIG_REAL, AT(real), .min = -1, .max = 1},
    {"b", "flag", HD_CONFIG_BOOL, AT(flag)},
    {"c", "word", HD_CONFIG_ENUM, AT(word), .words = words},
    {"c", "table", HD_CONFIG_TABLE, .add = add},
    {"c", "words", HD_CONFIG_WORDS, AT(words), sizeof((struct config *)0)->words},
    {0},
};

static void try_keys(const uint8_t *data, size_t size)
{
    char text[HD_API_KEY_SIZE + 2] = "";
    struct hd_key key;
    struct hd_error err = {0};
    size_t len = size < sizeof text - 1 ? size : sizeof text - 1;
    if (hd_key_parse(&key, (const char *)data, size, &err) == 0)
        FUZZ_CHECK(size >= 2 * HD_KEY_BYTES); /* any number of line ends may follow */
    memcpy(text, data, len);
    if (hd_api_key_check(text, &len, &err) == 0)
        FUZZ_CHECK(len >= HD_API_KEY_MIN && len < HD_API_KEY_SIZE && text[len] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c = {.uint = 1, .size = 1024};
    struct hd_error err = {0};
    int rc = hd_config_parse("fuzz.yaml", (const char *)data, size, keys, &c, &err);
    FUZZ_CHECK(rc == 0 || err.text[0]);
    FUZZ_CHECK(rc < 0 || (c.uint >= 1 && c.uint <= 100 && c.real >= -1 && c.real <= 1));
    FUZZ_CHECK(memchr(c.string, 0, sizeof c.string));
    try_keys(data, size);
    return 0;
}
