/* Folders that are incomplete, foreign or damaged. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const files[] = {"tokenizer.json", "tokenizer_config.json",
                                    "generation_config.json", "config.json", "chat_template.jinja"};

static char *in_folder(char *path, const char *folder, const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *folder, const char *name, const char *data, size_t len)
{
    char path[PATH_MAX];
    FILE *f = fopen(in_folder(path, folder, name), "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, len, f), len);
    fclose(f);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    write_bytes(folder, name, text, strlen(text));
}

static char *new_folder(void)
{
    char *folder = strdup("/tmp/hydac-text-XXXXXX");

    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

static void remove_folder(char *folder)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        remove(in_folder(path, folder, files[i]));
    rmdir(folder);
    free(folder);
}

/* A valid tokenizer.json of three tokens, after `change` has been laid over it. */
static void write_tokenizer(const char *folder, const char *change)
{
    static const char base[] =
        "{\"added_tokens\": [], \"normalizer\": null,"
        " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false,"
        " \"trim_offsets\": true}, \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
        "false, \"trim_offsets\": true},"
        " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2},"
        " \"merges\": [\"a b\"]}}";
    json_t *root = json_loads(base, 0, NULL), *over = json_loads(change, 0, NULL);
    char *text;

    cr_assert(root && over, "%s", change);
    json_object_update_recursive(root, over);
    text = json_dumps(root, 0);
    write_text(folder, "tokenizer.json", text);
    free(text);
    json_decref(root);
    json_decref(over);
}

static void expect_change(const char *change, int code)
{
    char *folder = new_folder();
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    int rc;

    write_tokenizer(folder, change);
    rc = fixture_open_folder(&t, folder, &err);
    cr_expect_eq(rc, code, "%s: %d %s", change, rc, err.text);
    cr_expect_eq(rc < 0, t == NULL);
    cr_expect_eq(rc < 0, err.text[0] != '\0', "%s", change);
    hd_tokenizer_free(t);
    remove_folder(folder);
}

Test(text_folder, what_the_reference_reads_is_served)
{
    expect_change("{}", 0);
    expect_change("{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": []}}", 0);
    expect_change("{\"normalizer\": {\"type\": \"NFC\"}}", 0);
    expect_change("{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{}]}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"type\": \"Unheard\"}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"byte_fallback\": true}}", 0);
    expect_change("{\"model\": {\"dropout\": 0.0}}", 0);
    expect_change("{\"model\": {\"dropout\": 0.1}}", HD_E_UNSUPPORTED);
    expect_change("{\"pre_tokenizer\": {\"type\": \"Unheard\"}}", HD_E_FORMAT);
    expect_change("{\"pre_tokenizer\": {\"add_prefix_space\": true}}", 0);
    expect_change("{\"pre_tokenizer\": null}", 0);
    expect_change("{\"decoder\": {\"type\": \"CTC\", \"pad_token\": \"<pad>\", "
                  "\"word_delimiter_token\": \"|\", \"cleanup\": true}}",
                  HD_E_UNSUPPORTED);
    expect_change("{\"version\": \"2.0\"}", HD_E_UNSUPPORTED);
}

Test(text_folder, pre_tokenizers_are_the_references)
{
    static const char form[] = "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": "
                               "[%s{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                               "\"trim_offsets\": true}]}}";
    static const struct {
        const char *stages;
        int code;
    } rows[] = {
        {"", 0},
        {"{\"type\": \"Digits\", \"individual_digits\": false},", 0},
        {"{\"type\": \"Split\", \"pattern\": {\"String\": \"(a\"}, \"behavior\": \"Removed\", "
         "\"invert\": true},",
         0},
        {"{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}, \"behavior\": \"Isolated\", "
         "\"invert\": false},",
         HD_E_FORMAT},
        {"{\"type\": \"Split\", \"behavior\": \"Isolated\"},", HD_E_FORMAT},
        {"{\"type\": \"Whitespace\"},", 0},
        {"7,", HD_E_FORMAT},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char change[512];

        snprintf(change, sizeof change, form, rows[i].stages);
        expect_change(change, rows[i].code);
    }
}

Test(text_folder, contradictions_are_refused)
{
    expect_change("{\"model\": {\"vocab\": {\"c\": -1}}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"vocab\": {\"c\": \"3\"}}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"vocab\": {\"c\": 2047}}}", 0);
    expect_change("{\"model\": {\"vocab\": 1}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"merges\": 1}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"merges\": [\"ab\"]}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"merges\": [\"a c\"]}}", HD_E_FORMAT);
    expect_change("{\"model\": {\"merges\": [[\"a\", \"b\"]]}}", 0);
    expect_change("{\"model\": {\"merges\": [[\"a\"]]}}", HD_E_FORMAT);
    expect_change("{\"added_tokens\": [{\"id\": 3}]}", HD_E_FORMAT);
    expect_change("{\"added_tokens\": [7]}", HD_E_FORMAT);
}

#define ADDED(id, text)                                                                            \
    "{\"id\": " id ", \"content\": \"" text "\", \"special\": true, \"normalized\": false, "       \
    "\"lstrip\": false, \"rstrip\": false, \"single_word\": false}"

/* A tokenizer from the folder's files; its warnings are in `w`. */
static struct hd_tokenizer *open_with_warnings(const char *folder, uint32_t rows,
                                               struct hd_warnings *w)
{
    struct hd_model m = {.shape.vocab = rows, .bos = -1, .eos = -1, .folder = (char *)folder};
    struct hd_tokenizer *t;
    struct hd_error err = {0};

    cr_assert_eq(hd_tokenizer_open(&t, &m, w, &err), 0, "%s", err.text);
    return t;
}

/* The embedding has 4 rows, the added token id 4. */
Test(text_folder, a_token_without_a_row_is_left_out_and_named)
{
    char *folder = new_folder();
    struct hd_warnings w = {0};
    int32_t *ids;
    size_t n;

    write_tokenizer(folder, "{\"added_tokens\": [" ADDED("3", "<s>") ", " ADDED("4", "abab") "]}");
    struct hd_tokenizer *t = open_with_warnings(folder, 4, &w);
    cr_expect_eq(w.n, 1);
    cr_expect(strstr(w.text[0], "added token 4 (\"abab\")"), "%s", w.text[0]);
    cr_assert_eq(hd_tokenizer_encode(t, "<s>ababb", 8, true, &ids, &n), 0);
    cr_assert_eq(n, 4);
    cr_expect_arr_eq(ids, ((int32_t[]){3, 2, 2, 1}), sizeof(int32_t[4]));
    cr_expect_eq(hd_tokenizer_vocab(t), 4);
    free(ids);
    hd_tokenizer_free(t);
    remove_folder(folder);
}

Test(text_folder, a_text_that_needs_a_token_without_a_row_is_refused)
{
    char *folder = new_folder();
    struct hd_warnings w = {0};
    int32_t *ids;
    size_t n;

    write_tokenizer(folder, "{\"model\": {\"vocab\": {\"c\": 7}}}");
    struct hd_tokenizer *t = open_with_warnings(folder, 7, &w);
    cr_expect_eq(w.n, 1);
    cr_expect_eq(hd_tokenizer_encode(t, "abc", 3, true, &ids, &n), HD_E_RANGE);
    cr_expect_null(ids);
    cr_expect_eq(hd_tokenizer_encode(t, "ab", 2, true, &ids, &n), 0);
    free(ids);
    hd_tokenizer_free(t);
    remove_folder(folder);
}

/* transformers adds the tokens of tokenizer_config.json to those of tokenizer.json. */
Test(text_folder, the_config_may_describe_tokens_anew)
{
    char *folder = new_folder();
    int32_t *ids;
    size_t n;

    write_tokenizer(folder, "{\"added_tokens\": [" ADDED("3", "<s>") "]}");
    write_text(folder, "tokenizer_config.json",
               "{\"added_tokens_decoder\": {\"3\": {\"content\": \"<s>\", \"special\": true, "
               "\"rstrip\": true}, \"4\": {\"content\": \"<x>\", \"special\": true}}}");
    struct hd_tokenizer *t = open_with_warnings(folder, 5, NULL);
    cr_assert_eq(hd_tokenizer_encode(t, "<s>  a<x>", 9, true, &ids, &n), 0);
    cr_assert_eq(n, 3);
    cr_expect_arr_eq(ids, ((int32_t[]){3, 0, 4}), sizeof(int32_t[3]));
    free(ids);
    cr_assert_eq(hd_tokenizer_encode(t, "<x>a", 4, false, &ids, &n), 0);
    cr_expect_eq(n, 1);
    cr_expect_eq(ids[0], 0);
    free(ids);
    hd_tokenizer_free(t);
    remove_folder(folder);
}

static void expect_affixes(const char *single, int code, bool bos, int32_t suffix)
{
    char *folder = new_folder(), change[1024];
    struct hd_tokenizer *t;
    struct hd_error err = {0};

    snprintf(change, sizeof change,
             "{\"added_tokens\": [" ADDED("3", "<s>") ", " ADDED(
                 "4", "</s>") "], \"post_processor\": {\"type\": \"TemplateProcessing\", "
                              "\"single\": [%s], \"pair\": [{\"Sequence\": {\"id\": \"A\", "
                              "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}], "
                              "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [3], "
                              "\"tokens\": [\"<s>\"]}, \"</s>\": {\"id\": \"</s>\", \"ids\": [4], "
                              "\"tokens\": [\"</s>\"]}}}}",
             single);
    write_tokenizer(folder, change);
    write_text(folder, "tokenizer_config.json",
               "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    cr_assert_eq(fixture_open_folder(&t, folder, &err), code, "%s", err.text);
    if (t) {
        cr_expect_eq(hd_tokenizer_adds_bos(t), bos);
        cr_expect_eq(hd_tokenizer_suffix(t), suffix);
    }
    hd_tokenizer_free(t);
    remove_folder(folder);
}

Test(text_folder, the_post_processor_says_what_stands_around_a_text)
{
#define A   "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"
#define BOS "{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}"
#define EOS "{\"SpecialToken\": {\"id\": \"</s>\", \"type_id\": 0}}"
    expect_affixes(A, 0, false, -1);
    expect_affixes(BOS ", " A, 0, true, -1);
    expect_affixes(BOS ", " A ", " EOS, 0, true, 4);
    expect_affixes(A ", " BOS, 0, false, 3); /* whatever it is */
    expect_affixes(EOS ", " A, HD_E_UNSUPPORTED, false, -1);
    expect_affixes(A ", " EOS ", " EOS, HD_E_UNSUPPORTED, false, -1);
}

Test(text_folder, without_a_tokenizer_is_not_found)
{
    struct hd_model nothing = {.bos = -1};
    char *folder = new_folder();
    struct hd_tokenizer *t;
    struct hd_error err = {0};
    char path[PATH_MAX];

    cr_expect_eq(fixture_open_folder(&t, folder, &err), HD_E_NOTFOUND);
    cr_expect(strstr(err.text, "tokenizer.json"));
    cr_expect_eq(hd_tokenizer_open(&t, &nothing, NULL, &err), HD_E_NOTFOUND);
    cr_expect_null(t);
    /* A FIFO in its place is not waited for. */
    cr_assert_eq(mkfifo(in_folder(path, folder, "tokenizer.json"), 0600), 0);
    cr_expect_eq(fixture_open_folder(&t, folder, &err), HD_E_IO);
    remove_folder(folder);
}

Test(text_folder, side_files_say_where_a_turn_ends)
{
    char *folder = new_folder();
    struct hd_tokenizer *t;
    struct hd_error err = {0};

    write_tokenizer(folder, "{\"added_tokens\": [" ADDED("3", "<s>") ", " ADDED("4", "</s>") "]}");
    write_text(folder, "tokenizer_config.json",
               "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"</s>\", "
               "\"add_bos_token\": true, \"chat_template\": 5}");
    write_text(folder, "generation_config.json", "{\"eos_token_id\": [1, 99, -4, \"x\"]}");
    write_text(folder, "config.json", "{\"eos_token_id\": 2}");
    cr_assert_eq(fixture_open_folder(&t, folder, &err), 0, "%s", err.text);
    cr_expect_eq(hd_tokenizer_bos(t), 3);
    cr_expect_eq(hd_tokenizer_eos(t), 4);
    cr_expect(hd_tokenizer_adds_bos(t));
    cr_expect_eq(hd_tokenizer_vocab(t), 5);
    for (int32_t id = 0; id < 6; id++)
        cr_expect_eq(hd_tokenizer_is_stop(t, id), id == 1 || id == 2 || id == 4, "id %d", id);
    hd_tokenizer_free(t);
    write_text(folder, "tokenizer_config.json", "[");
    cr_expect_eq(fixture_open_folder(&t, folder, &err), HD_E_FORMAT);
    remove_folder(folder);
}

Test(text_folder, a_jinja_file_goes_before_the_config)
{
    char *folder = new_folder();
    struct hd_tokenizer *t;
    struct turn m = {"user", "a"};
    int32_t *ids;
    size_t n;
    struct hd_error err = {0};

    write_tokenizer(folder, "{}");
    write_text(folder, "tokenizer_config.json", "{\"chat_template\": \"[INST]\"}");
    write_text(folder, "chat_template.jinja", "{{ messages[0].content }}b");
    cr_assert_eq(fixture_open_folder(&t, folder, &err), 0, "%s", err.text);
    cr_assert_eq(encode_turns(t, &m, 1, &ids, &n, &err), 0, "%s", err.text);
    cr_expect_eq(n, 1);
    cr_expect_eq(ids[0], 2);
    free(ids);
    hd_tokenizer_free(t);
    remove_folder(folder);
}

Test(text_folder, llama3_begins_with_bos)
{
    struct hd_tokenizer *t = fixture_folder("llama3"), *s = fixture_folder("smollm");

    cr_expect(hd_tokenizer_adds_bos(t));
    cr_expect_geq(hd_tokenizer_bos(t), 0);
    cr_expect_not(hd_tokenizer_adds_bos(s));
    cr_expect_eq(hd_tokenizer_bos(s), 1);
    cr_expect_eq(hd_tokenizer_eos(s), 2);
    cr_expect(hd_tokenizer_is_stop(s, 0) && hd_tokenizer_is_stop(s, 2));
    hd_tokenizer_free(t);
    hd_tokenizer_free(s);
}

/* ---- Damage ---------------------------------------------------------------------------------*/

/* Each either opens and encodes, or is refused with a sentence. */
Test(text_folder, damaged_files_never_crash)
{
    char *folder = new_folder(), path[PATH_MAX], source[PATH_MAX];
    char *data = malloc(1 << 16), *copy = malloc(1 << 16);
    uint64_t state = 11;
    size_t opened = 0;

    fixture_path(source, "smollm/tokenizer.json");
    FILE *f = fopen(source, "rb");
    cr_assert(f && data && copy);
    size_t full = fread(data, 1, 1 << 16, f);
    fclose(f);
    for (int round = 0; round < 400; round++) {
        struct hd_tokenizer *t;
        struct hd_error err = {0};
        size_t len = full;

        memcpy(copy, data, full);
        damage(copy, &len, &state);
        write_bytes(folder, "tokenizer.json", copy, len);
        if (fixture_open_folder(&t, folder, &err) < 0) {
            cr_assert(err.text[0], "round %d", round);
            cr_assert_null(t);
            continue;
        }
        opened++;
        (void)round_trips(t, "The quick brown fox", 19);
        hd_tokenizer_free(t);
    }
    cr_expect_gt(opened, 0);
    remove(in_folder(path, folder, "tokenizer.json"));
    remove_folder(folder);
    free(data);
    free(copy);
}
