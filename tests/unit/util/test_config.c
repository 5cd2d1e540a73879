/* The strict reader: what is right arrives, what is wrong is named with its place. */
#include "common/util/config.h"
#include "temp_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct settings {
    char path[8];
    uint64_t count, bytes;
    double ratio;
    bool on;
    int color;
    char names[12];
    int entries;
    char last[16];
    uint32_t values[HD_CONFIG_MAX_VALUES];
    size_t n;
};

static const char *const colors[] = {"red", "green", NULL};

static int add(void *config, const char *name, const uint32_t *values, size_t n,
               struct hd_error *err)
{
    struct settings *s = config;
    if (strcmp(name, "bad") == 0)
        return hd_fail(err, HD_E_CONFIG, "no such thing");
    s->entries++;
    snprintf(s->last, sizeof s->last, "%s", name);
    memcpy(s->values, values, n * sizeof *values);
    s->n = n;
    return 0;
}

#define AT(field) offsetof(struct settings, field)
static const struct hd_config_key keys[] = {
    {"a", "path", HD_CONFIG_STRING, AT(path), .size = sizeof((struct settings *)0)->path},
    {"a", "count", HD_CONFIG_UINT, AT(count), .min = 1, .max = 100},
    {"b", "ratio", HD_CONFIG_REAL, AT(ratio), .min = -1, .max = 1},
    {"b", "on", HD_CONFIG_BOOL, AT(on)},
    {"b", "color", HD_CONFIG_ENUM, AT(color), .words = colors},
    {"b", "bytes", HD_CONFIG_SIZE, AT(bytes), .min = 1024, .max = 4294967296.0},
    {"c", "table", HD_CONFIG_TABLE, .add = add},
    {"d", "names", HD_CONFIG_WORDS, AT(names), .size = sizeof((struct settings *)0)->names},
    {0},
};

static int parse(const char *text, struct settings *s, struct hd_error *err)
{
    return hd_config_parse("f.yaml", text, strlen(text), keys, s, err);
}

static struct settings good(const char *text)
{
    struct settings s = {.path = "old", .count = 5};
    struct hd_error err = {0};
    cr_assert_eq(parse(text, &s, &err), 0, "%s", err.text);
    return s;
}

Test(config, every_type)
{
    struct settings s = good("# a comment\n"
                             "a:\n"
                             "  path: \"x y\"\n"
                             "  count: 100\n"
                             "b: {ratio: -2.5e-1, on: true, color: green, bytes: 4M}\n"
                             "c:\n"
                             "  table:\n"
                             "    w1: [0, 4294967295]\n"
                             "    w2:\n"
                             "    - 7\n"
                             "    - 8\n"
                             "    - 9\n");
    cr_assert_str_eq(s.path, "x y");
    cr_assert_eq(s.count, 100);
    cr_assert_eq(s.ratio, -0.25);
    cr_assert(s.on);
    cr_assert_eq(s.color, 1);
    cr_assert_eq(s.bytes, 4u << 20);
    cr_assert_eq(s.entries, 2);
    cr_assert_str_eq(s.last, "w2");
    cr_assert_eq(s.n, 3);
    cr_assert_eq(s.values[2], 9);
}

Test(config, lists_of_words)
{
    cr_assert_str_eq(good("d: {names: [one, 'two', 3]}").names, "one two 3");
    cr_assert_str_eq(good("d: {names: one}").names, "one");
    cr_assert_str_eq(good("d: {names: 'one,two'}").names, "one two");
    cr_assert_str_eq(good("d: {names: []}").names, "");
    cr_assert_str_eq(good("d: {names: ''}").names, "");
    cr_assert_str_eq(good("d: {names: [12345678901]}").names, "12345678901");
    static const char *const wrong[] = {
        "d: {names: [one, [two]]}",      "d: {names: ['one two']}",  "d: {names: [one, '']}",
        "d: {names: [one, two, three]}", "d: {names: 123456789012}", "d: {names: 'one,'}",
        "d: {names: {one: two}}",        "d: {names: [\"a\\tb\"]}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct settings s = {0};
        struct hd_error err = {0};
        cr_expect_eq(parse(wrong[i], &s, &err), HD_E_CONFIG, "accepted: %s", wrong[i]);
        cr_expect_eq(strncmp(err.text, "f.yaml:1:", 9), 0, "%s", err.text);
    }
}

Test(config, what_is_not_there_stays)
{
    static const char *const empty[] = {"", "# nothing\n", "---\n", "--- {}\n", "a: {}\n", "\n\n"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        struct settings s = good(empty[i]);
        cr_assert_str_eq(s.path, "old");
        cr_assert_eq(s.count, 5);
    }
    cr_assert_eq(good("c: {table: {}}").entries, 0);
    cr_assert_eq(good("c: {table: {w: []}}").entries, 1);
}

Test(config, values_at_their_limits)
{
    cr_assert_eq(good("a: {count: 1}").count, 1);
    cr_assert_eq(good("a: {count: 007}").count, 7);
    cr_assert_str_eq(good("a: {path: seven77}").path, "seven77");
    cr_assert_str_eq(good("a: {path: ''}").path, "");
    cr_assert_str_eq(good("a: {path: 12}").path, "12");
    cr_assert_str_eq(good("a: {path: ~/x}").path, "~/x");
    cr_assert_eq(good("b: {ratio: 1}").ratio, 1);
    cr_assert_eq(good("b: {bytes: 1024}").bytes, 1024);
    cr_assert_eq(good("b: {bytes: 1K}").bytes, 1024);
    cr_assert_eq(good("b: {bytes: 4G}").bytes, UINT64_C(4) << 30);
    cr_assert_eq(good("b: {color: \"red\"}").color, 0);
    cr_assert_not(good("b: {on: false}").on);
}

struct wrong {
    const char *text, *error;
};

static void check_wrong(const struct wrong *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct settings s = {0};
        struct hd_error err = {0};
        cr_expect_eq(parse(cases[i].text, &s, &err), HD_E_CONFIG, "accepted: %s", cases[i].text);
        cr_expect_str_eq(err.text, cases[i].error);
        cr_expect_eq(err.code, HD_E_CONFIG);
    }
}

Test(config, wrong_names)
{
    static const struct wrong cases[] = {
        {"z:\n  x: 1\n", "f.yaml:1:1: unknown section \"z\"; there are a, b, c, d"},
        {"a:\n  path: x\n  counts: 2\n",
         "f.yaml:3:3: unknown key \"counts\" in section \"a\"; it has path, count"},
        {"a:\n  count: 1\n  path: x\n  count: 2\n",
         "f.yaml:4:3: key \"count\" is given twice in section \"a\"; remove one"},
        {"a: {count: 1}\nb: {on: true}\na: {path: x}\n",
         "f.yaml:3:1: section \"a\" is given twice; put its keys together"},
        {"b: {<<: {on: true}}\n",
         "f.yaml:1:5: unknown key \"<<\" in section \"b\"; it has ratio, on, color, bytes"},
        {"[a]: 1\n", "f.yaml:1:1: a name was expected here; write name: value"},
        {"\"a\\nb\": 1\n", "f.yaml:1:1: there is a control character at byte 2; remove it"},
    };
    check_wrong(cases, sizeof cases / sizeof *cases);
}

Test(config, wrong_shapes)
{
    static const struct wrong cases[] = {
        {"hello\n",
         "f.yaml:1:1: sections were expected; write section: and its keys below, indented"},
        {"- a\n",
         "f.yaml:1:1: sections were expected; write section: and its keys below, indented"},
        {"a: 5\n",
         "f.yaml:1:4: a section was expected; write its key: value lines below, indented"},
        {"a:\nb:\n  on: true\n",
         "f.yaml:1:3: a section was expected; write its key: value lines below, indented"},
        {"a:\n  count: [1]\n",
         "f.yaml:2:10: a single value was expected; write it behind the colon"},
        {"a:\n  count:\n  path: x\n",
         "f.yaml:2:9: there is no value; write one, or remove the key"},
        {"a: {path: ~}\n", "f.yaml:1:11: there is no value; write one, or remove the key"},
        {"a: {path: null}\n", "f.yaml:1:11: there is no value; write one, or remove the key"},
        {"c: {table: 5}\n", "f.yaml:1:12: a table was expected; write name: [0, 1, 2] lines below"},
        {"c: {table: {w: 5}}\n",
         "f.yaml:1:16: a list of whole numbers was expected; write [0, 1, 2]"},
        {"c: {table: {w: [[1]]}}\n", "f.yaml:1:17: a whole number was expected; write [0, 1, 2]"},
        {"c: {table: {w: [1, x]}}\n",
         "f.yaml:1:20: \"x\" is not a whole number; give 0 to 4294967295"},
        {"c: {table: {w: [4294967296]}}\n",
         "f.yaml:1:17: 4294967296 is out of range; give 0 to 4294967295"},
        {"c:\n  table:\n    ok: [1]\n    bad: [2]\n", "f.yaml:4:5: no such thing"},
        {"a: {count: 1}\n---\nb: {on: true}\n",
         "f.yaml:2:1: a second document begins; keep one in the file"},
    };
    check_wrong(cases, sizeof cases / sizeof *cases);
}

Test(config, wrong_values)
{
    static const struct wrong cases[] = {
        {"a: {count: 0}\n", "f.yaml:1:12: 0 is out of range; give 1 to 100"},
        {"a: {count: 101}\n", "f.yaml:1:12: 101 is out of range; give 1 to 100"},
        {"a: {count: 99999999999999999999}\n",
         "f.yaml:1:12: 99999999999999999999 is out of range; give 1 to 100"},
        {"a: {count: -1}\n", "f.yaml:1:12: \"-1\" is not a whole number; give 1 to 100"},
        {"a: {count: 1.5}\n", "f.yaml:1:12: \"1.5\" is not a whole number; give 1 to 100"},
        {"a: {count: 0x10}\n", "f.yaml:1:12: \"0x10\" is not a whole number; give 1 to 100"},
        {"a: {count: \"8\"}\n", "f.yaml:1:12: \"8\" is not a whole number; give 1 to 100"},
        {"a: {path: eight888}\n", "f.yaml:1:11: the value has 8 bytes; give at most 7"},
        {"a: {path: \"a\\0b\"}\n",
         "f.yaml:1:11: there is a control character at byte 2; remove it"},
        {"b: {ratio: 1.001}\n", "f.yaml:1:12: 1.001 is out of range; give -1 to 1"},
        {"b: {ratio: 1e999}\n", "f.yaml:1:12: 1e999 is out of range; give -1 to 1"},
        {"b: {ratio: .nan}\n", "f.yaml:1:12: \".nan\" is not a number; give -1 to 1"},
        {"b: {ratio: 1e}\n", "f.yaml:1:12: \"1e\" is not a number; give -1 to 1"},
        {"b: {on: yes}\n", "f.yaml:1:9: \"yes\" is not true or false; write one of these"},
        {"b: {color: blue}\n", "f.yaml:1:12: \"blue\" is not known here; write one of red, green"},
        {"b: {bytes: 1023}\n", "f.yaml:1:12: 1023 is out of range; give 1K to 4G"},
        {"b: {bytes: 4097M}\n", "f.yaml:1:12: 4097M is out of range; give 1K to 4G"},
        {"b: {bytes: 18014398509481985K}\n",
         "f.yaml:1:12: 18014398509481985K is out of range; give 1K to 4G"},
        {"b: {bytes: 4GB}\n", "f.yaml:1:12: \"4GB\" is not a size; write bytes, or 512M, 4G"},
        {"b: {bytes: M}\n", "f.yaml:1:12: \"M\" is not a size; write bytes, or 512M, 4G"},
    };
    check_wrong(cases, sizeof cases / sizeof *cases);
}

Test(config, wrong_yaml)
{
    static const struct wrong cases[] = {
        {"a:\n\tcount: 1\n", "f.yaml:2:1: the line begins with a tab; indent with spaces"},
        {"a: {count: 1\n", "f.yaml:2:1: did not find expected ',' or '}'; mend the YAML here"},
        {"a:\n  count: 1\n path: x\n", "f.yaml:3:2: did not find expected key; mend the YAML here"},
        {"a: &x {count: 1}\n",
         "f.yaml:1:4: anchors and aliases are not used here; write the value itself"},
        {"a: {path: *x}\n",
         "f.yaml:1:11: anchors and aliases are not used here; write the value itself"},
        {"a: {count: !!int 5}\n", "f.yaml:1:12: tags are not used here; write the value alone"},
        {"a: !t {count: 5}\n", "f.yaml:1:4: tags are not used here; write the value alone"},
        {"a: {path: \"\xff\"}\n",
         "f.yaml: invalid leading UTF-8 octet at byte 12; save the file as UTF-8"},
    };
    check_wrong(cases, sizeof cases / sizeof *cases);
}

/* One more than an entry holds. */
Test(config, list_to_the_number)
{
    char text[32 + HD_CONFIG_MAX_VALUES * 4] = "c: {table: {w: [";
    size_t n = strlen(text);
    for (int i = 0; i < HD_CONFIG_MAX_VALUES; i++)
        n += (size_t)sprintf(text + n, "%s7", i ? ", " : "");
    strcpy(text + n, "]}}");
    struct settings s = good(text);
    cr_assert_eq(s.n, HD_CONFIG_MAX_VALUES);
    strcpy(text + n, ", 7]}}");
    struct hd_error err = {0};
    cr_assert_eq(parse(text, &s, &err), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "more than 128 numbers"), "%s", err.text);
}

Test(config, damaged_text_is_refused_or_read)
{
    static const char text[] =
        "a: {path: \"x\", count: 3}\nb:\n  ratio: 0.5\nc: {table: {w: [1]}}\n";
    for (size_t cut = 0; cut < sizeof text - 1; cut++)
        for (int byte = 0; byte < 256; byte++) {
            char copy[sizeof text];
            struct settings s = {0};
            struct hd_error err = {0};
            memcpy(copy, text, sizeof text);
            copy[cut] = (char)byte;
            int rc = hd_config_parse("f", copy, sizeof text - 1, keys, &s, &err);
            cr_assert(rc == 0 || rc == HD_E_CONFIG);
            cr_assert_eq(err.code, rc);
            cr_assert_null(strpbrk(err.text, "\n\r"));
        }
}

Test(config, file)
{
    struct temp_file f;
    struct settings s = {0};
    struct hd_error err = {0};
    char want[200];
    temp_file_init(&f, "a:\n  count: 200\n", 16);
    cr_assert_eq(hd_config_load(f.path, keys, &s, &err), HD_E_CONFIG);
    snprintf(want, sizeof want, "%s:2:10: 200 is out of range; give 1 to 100", f.path);
    cr_assert_str_eq(err.text, want);
    cr_assert_eq(hd_config_load(f.dir, keys, &s, &err), HD_E_IO);
    cr_assert_not_null(strstr(err.text, "is not a file"), "%s", err.text);
    temp_file_deinit(&f);
    cr_assert_eq(hd_config_load(f.path, keys, &s, &err), HD_E_IO);
    snprintf(want, sizeof want, "cannot read %s: No such file or directory", f.path);
    cr_assert_str_eq(err.text, want);
}

Test(config, file_that_is_a_pipe)
{
    struct temp_file f;
    struct settings s = {0};
    struct hd_error err = {0};
    temp_file_init(&f, "", 0);
    unlink(f.path);
    cr_assert_eq(mkfifo(f.path, 0600), 0);
    cr_assert_eq(hd_config_load(f.path, keys, &s, &err), HD_E_IO); /* and does not hang */
    temp_file_deinit(&f);
}

Test(config, file_to_the_byte)
{
    char *text = malloc(HD_CONFIG_MAX_FILE + 1);
    struct temp_file f;
    struct settings s = {0};
    struct hd_error err = {0};
    memset(text, '\n', HD_CONFIG_MAX_FILE + 1);
    temp_file_init(&f, text, HD_CONFIG_MAX_FILE);
    cr_assert_eq(hd_config_load(f.path, keys, &s, &err), 0, "%s", err.text);
    temp_file_deinit(&f);
    temp_file_init(&f, text, HD_CONFIG_MAX_FILE + 1);
    cr_assert_eq(hd_config_load(f.path, keys, &s, &err), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "more than 1048576 bytes"), "%s", err.text);
    temp_file_deinit(&f);
    free(text);
}
