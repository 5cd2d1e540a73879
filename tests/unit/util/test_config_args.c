/* The command line: same table, same checks. */
#include "common/util/config.h"
#include "temp_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    uint64_t count;
    char path[16], ports[16];
    bool quiet;
};

static int add(void *config, const char *name, const uint32_t *values, size_t n,
               struct hd_error *err)
{
    return 0;
}

#define AT(field) offsetof(struct settings, field)
static const struct hd_config_key keys[] = {
    {"a", "count", HD_CONFIG_UINT, AT(count), .min = 1, .max = 100, .flag = "--count",
     .preset = "5",
     .help = "how many, which is said in so many words that one line is not enough "
             "for them, whatever is done"},
    {"a", "path", HD_CONFIG_STRING, AT(path), .size = 16, .arg = "PATH", .preset = "",
     .help = "where"},
    {"b", "table", HD_CONFIG_TABLE, .add = add, .unset = "the usual", .help = "what"},
    {0},
};
static const struct hd_config_flag flags[] = {
    {"--ports", HD_CONFIG_STRING, AT(ports), 16, .arg = "FILE", .help = "write ports"},
    {"--quiet", HD_CONFIG_BOOL, AT(quiet), .help = "say nothing"},
    {0},
};

/* `line` is cut at its blanks. */
static int run(const char *words, struct settings *s, struct hd_error *err)
{
    char copy[256], *argv[16] = {"program"}, *save = NULL;
    struct hd_config_line line = {.keys = keys, .flags = flags, .argc = 1, .argv = argv};
    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[line.argc++] = w;
    return hd_config_args(&line, s, err);
}

Test(config_args, set)
{
    struct settings s = {0};
    struct hd_error err = {0};
    cr_assert_eq(hd_config_set("a.count", "7", keys, &s, &err), 0);
    cr_assert_eq(s.count, 7);
    cr_assert_eq(hd_config_set("a.count", "101", keys, &s, &err), HD_E_CONFIG);
    cr_assert_str_eq(err.text, "--a.count: 101 is out of range; give 1 to 100");
    cr_assert_eq(hd_config_set("a.nothing", "1", keys, &s, &err), HD_E_CONFIG);
    cr_assert_str_eq(err.text, "--a.nothing: there is no such setting; see --help");
    cr_assert_eq(hd_config_set("count", "1", keys, &s, &err), HD_E_CONFIG);
    cr_assert_eq(hd_config_set("b.table", "1", keys, &s, &err), HD_E_CONFIG);
    cr_assert_str_eq(err.text, "--b.table: this is a table; give it in the configuration file");
    cr_assert_eq(s.count, 7);
}

Test(config_args, flags_of_every_kind)
{
    struct settings s = {.count = 5};
    struct hd_error err = {0};
    cr_assert_eq(run("", &s, &err), 0);
    cr_assert_eq(s.count, 5);
    cr_assert_eq(run("--count 6 --a.path=x=y --ports p --quiet", &s, &err), 0, "%s", err.text);
    cr_assert_eq(s.count, 6);
    cr_assert_str_eq(s.path, "x=y");
    cr_assert_str_eq(s.ports, "p");
    cr_assert(s.quiet);
    cr_assert_eq(run("--count=7 --a.count 8", &s, &err), 0); /* the last one counts */
    cr_assert_eq(s.count, 8);
    cr_assert_eq(run("--a.path --count --count 9", &s, &err), 0); /* a value may look like a flag */
    cr_assert_str_eq(s.path, "--count");
    cr_assert_eq(s.count, 9);
}

Test(config_args, outcomes)
{
    struct settings s = {.count = 5};
    struct hd_error err = {0};
    cr_assert_eq(run("--count 6 --help --config nowhere", &s, &err), HD_CONFIG_HELP);
    cr_assert_eq(run("--version --help", &s, &err), HD_CONFIG_VERSION);
    cr_assert_eq(s.count, 5);
    cr_assert_eq(err.code, 0);
}

Test(config_args, wrong_lines)
{
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"count", "\"count\" is not a flag; see --help"},
        {"-h", "\"-h\" is not a flag; see --help"},
        {"--cout 5", "--cout: there is no such flag; see --help"},
        {"--", "--: there is no such flag; see --help"},
        {"--a.cout 5", "--a.cout: there is no such setting; see --help"},
        {"--count", "--count: the value is missing; write --count VALUE"},
        {"--config", "--config: the value is missing; write --config VALUE"},
        {"--count 0", "--a.count: 0 is out of range; give 1 to 100"},
        {"--count=", "--a.count: \"\" is not a whole number; give 1 to 100"},
        {"--quiet=true", "--quiet takes no value; write it alone"},
        {"--help=all", "--help takes no value; write it alone"},
        {"--ports 0123456789012345", "--ports: the value has 16 bytes; give at most 15"},
        {"--config x --config y", "--config is given twice; give one file"},
        {"--config /nonexistent/f", "cannot read /nonexistent/f: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s = {0};
        struct hd_error err = {0};
        cr_expect_lt(run(cases[i].line, &s, &err), 0, "accepted: %s", cases[i].line);
        cr_expect_str_eq(err.text, cases[i].error);
    }
}

Test(config_args, flags_go_over_the_file)
{
    struct temp_file f;
    struct settings s = {.count = 5, .path = "default"};
    struct hd_error err = {0};
    char line[200];
    temp_file_init(&f, "a: {count: 50, path: file}\n", 27);
    snprintf(line, sizeof line, "--count 6 --config %s", f.path);
    cr_assert_eq(run(line, &s, &err), 0, "%s", err.text);
    cr_assert_eq(s.count, 6);
    cr_assert_str_eq(s.path, "file");
    snprintf(line, sizeof line, "--config=%s --count 7", f.path);
    cr_assert_eq(run(line, &s, &err), 0, "%s", err.text);
    cr_assert_eq(s.count, 7);
    temp_file_deinit(&f);
}

/* To the letter: hydac.yaml(5) is made from this form. */
Test(config_args, help)
{
    static const char expected[] =
        "Usage: program\n"
        "\nFlags:\n\n"
        "  --config FILE\n"
        "        settings in YAML; flags go over them, wherever they stand\n"
        "  --ports FILE\n        write ports\n"
        "  --quiet\n        say nothing\n"
        "  --help\n        print this and exit\n"
        "  --version\n        print the version and exit\n"
        "\nSettings, each a line of the file (section: {key: VALUE}) and a flag,\n"
        "--section.key VALUE; some have a short flag besides:\n\n"
        "  a.count N (--count)\n"
        "        how many, which is said in so many words that one line is not enough for them, "
        "whatever is\n"
        "        done; 1 to 100; default 5\n"
        "  a.path PATH\n        where; default: none\n"
        "  b.table {...}\n        what; default: the usual\n";
    const struct hd_config_line line = {.keys = keys, .flags = flags, .about = "Usage: program\n"};
    char *said = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&said, &n);
    hd_config_print_help(f, &line);
    fclose(f);
    cr_expect_str_eq(said, expected);
    free(said);
}

Test(config_args, presets)
{
    struct settings s = {.count = 1, .path = "other", .ports = "kept"};
    hd_config_presets(keys, &s);
    cr_assert_eq(s.count, 5);
    cr_assert_str_eq(s.path, "");
    cr_assert_str_eq(s.ports, "kept");
}
