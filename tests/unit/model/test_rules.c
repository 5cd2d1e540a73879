/* Unread means refused: every row of the tables of keys and fields, through whole files. */
#include "fixture.h"

#include "common/model/arch.h"
#include "common/model/rules.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(rules, .init = folder_init, .fini = folder_fini, .timeout = 120);

#define CONTEXT 128  /* of the small model */
#define SCALE   0.25 /* 1 / sqrt of its head size */
#define NEITHER 7.5  /* no row understands it */

/* A number that the row understands, by its index; false when there is no such. */
static bool understood(const struct hd_rule *r, int i, double *v)
{
    const double windows[] = {0, CONTEXT, CONTEXT + 1}, scales[] = {0, SCALE},
                 values[] = {r->a, r->b};

    if (r->kind == HD_RULE_VALUE && i < 2)
        *v = values[i];
    else if (r->kind == HD_RULE_WINDOW && i < 3)
        *v = windows[i];
    else if (r->kind == HD_RULE_SCALE && i < 2)
        *v = scales[i];
    else
        return false;
    return true;
}

/* The refusal names the file, the setting and its value. */
static void refuses(const char *path, const char *name, const char *value)
{
    struct hd_model *m = NULL;
    struct hd_error err = {0};

    cr_assert_eq(hd_model_open(&m, path, &err), HD_E_UNSUPPORTED, "%s = %s: %s", name, value,
                 err.text);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    cr_assert_not_null(strstr(err.text, name), "%s", err.text);
    cr_assert_not_null(strstr(err.text, value), "%s: %s", value, err.text);
}

static bool is_number(const struct hd_rule *r)
{
    return r->kind == HD_RULE_VALUE || r->kind == HD_RULE_WINDOW || r->kind == HD_RULE_SCALE;
}

/* ---- GGUF -----------------------------------------------------------------------------------*/

static const char *with_key(struct added_key k)
{
    return small_gguf(&(struct twist){.add = k, .drop_key = k.key});
}

static void check_numbers(const struct hd_rule *r, const char *key)
{
    double v;

    for (int i = 0; understood(r, i, &v); i++) {
        hd_model_close(open_warned(with_key((struct added_key){key, GGUF_F32, v, NULL}), NULL));
        if (v == 0 || v == 1)
            hd_model_close(
                open_warned(with_key((struct added_key){key, GGUF_BOOL, v, NULL}), NULL));
        if (v >= 0 && v == floor(v))
            hd_model_close(open_warned(with_key((struct added_key){key, GGUF_U32, v, NULL}), NULL));
    }
    refuses(with_key((struct added_key){key, GGUF_F32, NEITHER, NULL}), key, "7.5");
    refuses(with_key((struct added_key){key, GGUF_U32, CONTEXT - 1, NULL}), key, "127");
    refuses(with_key((struct added_key){key, GGUF_STRING, 0, "no"}), key, "\"no\"");
    if (r->kind == HD_RULE_VALUE && r->a == r->b && r->a != 1)
        refuses(with_key((struct added_key){key, GGUF_BOOL, 1, NULL}), key, "true");
}

static void check_key(const struct hd_rule *r)
{
    char key[128];

    snprintf(key, sizeof key, "llama.%s", r->name);
    if (is_number(r)) {
        check_numbers(r, key);
    } else if (r->kind == HD_RULE_WORDS) {
        char first[64];

        snprintf(first, sizeof first, "%.*s", (int)strcspn(r->text, "|"), r->text);
        hd_model_close(open_ok(with_key((struct added_key){key, GGUF_STRING, 0, first})));
        refuses(with_key((struct added_key){key, GGUF_STRING, 0, "other"}), key, "\"other\"");
        refuses(with_key((struct added_key){key, GGUF_U32, 0, NULL}), key, "is 0");
    } else if (r->kind == HD_RULE_NOTE) {
        hd_model_close(
            open_warned(with_key((struct added_key){key, GGUF_F32, NEITHER, NULL}), NULL));
    } else { /* read, so nonsense is noticed */
        struct hd_model *m = NULL;
        struct hd_error err = {0};

        cr_assert_eq(r->kind, HD_RULE_READ, "%s", key);
        cr_assert_lt(
            hd_model_open(&m, with_key((struct added_key){key, GGUF_STRING, 0, "x"}), &err), 0,
            "%s", key);
        cr_assert_not_null(strstr(err.text, key), "%s", err.text);
    }
}

Test(rules, every_key_of_a_gguf)
{
    size_t n = 0;

    for (const struct hd_rule *r = hd_gguf_rules; r->name; r++, n++)
        if (strcmp(r->name, "expert_count") != 0) /* makes a Llama a Mixtral (test_model.c) */
            check_key(r);
    cr_assert_gt(n, 50);
}

/* A list is what each of its elements is. */
Test(rules, lists_of_a_gguf)
{
    const char *key = "llama.attention.sliding_window";

    hd_model_close(open_ok(with_key((struct added_key){key, GGUF_ARRAY, CONTEXT, ""})));
    refuses(with_key((struct added_key){key, GGUF_ARRAY, 0, "1234567"}), key, "a list of 2");
    key = "llama.attention.head_count";
    hd_model_close(open_ok(with_key((struct added_key){key, GGUF_ARRAY, 4, "four"})));
    open_fails(with_key((struct added_key){key, GGUF_ARRAY, 4, "three"}), HD_E_UNSUPPORTED,
               "key llama.attention.head_count differs from layer to layer");
}

Test(rules, keys_that_nobody_knows)
{
    static const char *const refused[] = {"llama.no_such_thing",
                                          "llama.attention.no_such_thing",
                                          "llama.rope.scaling.no_such_thing",
                                          "rope.scaling.factor",
                                          "attention.causal",
                                          "adapter.lora.alpha",
                                          "llama."};
    static const char *const fine[] = {"general.no_such_thing", "tokenizer.ggml.no_such_thing",
                                       "quantize.imatrix.file"};

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        refuses(with_key((struct added_key){refused[i], GGUF_U32, 3, NULL}), refused[i], "is 3");
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        hd_model_close(open_warned(with_key((struct added_key){fine[i], GGUF_U32, 3, NULL}), NULL));
    hd_model_close(open_warned(with_key((struct added_key){"somebody.version", GGUF_U32, 3, NULL}),
                               "1 keys are neither"));
}

Test(rules, types_of_a_gguf_that_are_no_model)
{
    static const struct {
        const char *type, *word;
    } cases[] = {{"adapter", "a LoRA adapter"},
                 {"mmproj", "an encoder of images"},
                 {"imatrix", "a matrix for quantizing"},
                 {"new", "general.type is \"new\""}};

    for (size_t i = 0; i < 4; i++)
        open_fails(with_key((struct added_key){"general.type", GGUF_STRING, 0, cases[i].type}),
                   HD_E_UNSUPPORTED, cases[i].word);
    hd_model_close(open_ok(with_key((struct added_key){"general.type", GGUF_STRING, 0, "model"})));
}

/* ---- config.json ----------------------------------------------------------------------------*/

static const char base[] =
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 64,"
    " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 96,"
    " \"vocab_size\": 48, \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-05,"
    " \"tie_word_embeddings\": true}";

/* A folder whose config.json has this field besides, in RoPE's parameters if `rope` gives them. */
static const char *with_field(const char *name, json_t *value, const char *rope)
{
    json_t *config = json_loads(base, 0, NULL), *o = config;

    if (rope) {
        o = json_loads(rope, 0, NULL);
        json_object_set_new(config, "rope_parameters", o);
    }
    if (name)
        json_object_set_new(o, name, value);
    char *text = json_dumps(config, JSON_INDENT(2));
    const char *path = small_folder(&(struct twist){.config = text});
    free(text);
    json_decref(config);
    return path;
}

static void field_fails(const char *name, json_t *value, const char *rope, const char *shown)
{
    const char *path = with_field(name, value, rope);

    refuses(path, name, shown);
}

static void check_field_numbers(const struct hd_rule *r, const char *rope)
{
    double v;

    for (int i = 0; understood(r, i, &v); i++) {
        hd_model_close(open_warned(with_field(r->name, json_real(v), rope), NULL));
        if (v == 0 || v == 1)
            hd_model_close(open_warned(with_field(r->name, json_boolean(v != 0), rope), NULL));
        if (v == floor(v))
            hd_model_close(
                open_warned(with_field(r->name, json_integer((json_int_t)v), rope), NULL));
    }
    field_fails(r->name, json_real(NEITHER), rope, "7.5");
    field_fails(r->name, json_integer(CONTEXT - 1), rope, "127");
    field_fails(r->name, json_string("no"), rope, "\"no\"");
    field_fails(r->name, json_pack("{s:i}", "a", 1), rope, "{\"a\":1}");
    hd_model_close(open_ok(with_field(r->name, json_array(), rope)));
}

static void check_read(const struct hd_rule *r, const char *rope)
{
    struct hd_model *m = NULL;
    struct hd_error err = {0};
    bool in_rope = strcmp(r->name, "original_max_position_embeddings") == 0;
    json_t *nonsense = json_pack("[s]", "x");
    const char *path = with_field(r->name, nonsense, rope);

    if (in_rope && !rope) { /* read where there is a scaling */
        json_t *o = json_loads(base, 0, NULL);
        json_object_set_new(o, "rope_parameters", json_object());
        json_object_set_new(o, r->name, json_string("x"));
        char *text = json_dumps(o, 0);
        path = small_folder(&(struct twist){.config = text});
        free(text);
        json_decref(o);
    }
    cr_assert_lt(hd_model_open(&m, path, &err), 0, "%s", r->name);
    cr_assert(strstr(err.text, r->name) || strstr(err.text, "rope_type"), "%s: %s", r->name,
              err.text);
}

static void check_field(const struct hd_rule *r, const char *rope)
{
    hd_model_close(open_warned(r->kind == HD_RULE_READ ? with_field(NULL, NULL, rope)
                                                       : with_field(r->name, json_null(), rope),
                               NULL));
    if (is_number(r)) {
        check_field_numbers(r, rope);
    } else if (r->kind == HD_RULE_WORDS) {
        json_t *word = json_stringn(r->text, strcspn(r->text, "|"));

        hd_model_close(open_ok(with_field(r->name, word, rope)));
        field_fails(r->name, json_pack("[s]", "other"), rope, "[\"other\"]");
        field_fails(r->name, json_integer(0), rope, "is 0");
    } else if (r->kind == HD_RULE_NOTE) {
        hd_model_close(open_warned(with_field(r->name, json_real(NEITHER), rope), NULL));
    } else if (r->kind == HD_RULE_WARN) {
        hd_model_close(
            open_warned(with_field(r->name, json_object(), rope), "a program of its own"));
    } else if (r->kind == HD_RULE_NEVER) {
        field_fails(r->name, json_object(), rope, "{}");
    } else {
        check_read(r, rope);
    }
}

Test(rules, every_field_of_a_config)
{
    size_t n = 0;

    for (const struct hd_rule *r = hd_config_rules; r->name; r++, n++) {
        struct hd_str name = {r->name, strlen(r->name)};
        const struct hd_rule *own = hd_rule_find(hd_arch_of_hf("llama")->hf_rules, name);

        check_field(own ? own : r, NULL);
    }
    cr_assert_gt(n, 100);
}

Test(rules, every_field_of_rope)
{
    size_t n = 0;

    for (const struct hd_rule *r = hd_rope_rules; r->name; r++, n++)
        check_field(r, "{\"rope_theta\": 10000}");
    cr_assert_gt(n, 8);
}

Test(rules, fields_that_nobody_knows)
{
    const char *rope = "{\"rope_theta\": 10000}";

    field_fails("no_such_thing", json_true(), NULL, "is true");
    field_fails("no_such_thing", json_pack("[i]", 3), rope, "[3]");
    field_fails("beta_fast", json_integer(32), rope, "is 32");
    field_fails("full_attention", json_object(), rope, "{}");
    hd_model_close(open_warned(with_field("no_such_thing", json_null(), NULL), NULL));
}

/* A window that is switched off may have any size. */
Test(rules, a_window_that_is_not_used)
{
    char config[1024];

    snprintf(config, sizeof config, "%.*s, \"sliding_window\": 16, \"use_sliding_window\": false}",
             (int)strlen(base) - 1, base);
    hd_model_close(open_ok(small_folder(&(struct twist){.config = config})));
    snprintf(config, sizeof config, "%.*s, \"sliding_window\": 16, \"use_sliding_window\": true}",
             (int)strlen(base) - 1, base);
    refuses(small_folder(&(struct twist){.config = config}), "sliding_window", "16");
}

/* ---- RoPE, both containers ------------------------------------------------------------------*/

static void check_linear(const char *path, double factor)
{
    struct hd_model *m = open_warned(path, NULL);

    for (int i = 0; i < 8; i++)
        cr_assert_float_eq(m->rope_freq[i], pow(10000, -i / 8.0) / factor, 1e-14, "%s", path);
    hd_model_close(m);
}

Test(rules, linear_rope_scaling_of_a_gguf)
{
    static const char *const keys[] = {"llama.rope.scale_linear", "llama.rope.scaling.factor"};

    for (int i = 0; i < 2; i++) {
        check_linear(with_key((struct added_key){keys[i], GGUF_F32, 4, NULL}), 4);
        check_linear(with_key((struct added_key){keys[i], GGUF_F32, 1, NULL}), 1);
        check_linear(with_key((struct added_key){keys[i], GGUF_F32, 0, NULL}), 1);
        open_fails(with_key((struct added_key){keys[i], GGUF_F32, 0.5, NULL}), HD_E_RANGE, "0.5");
        open_fails(with_key((struct added_key){keys[i], GGUF_F32, NAN, NULL}), HD_E_RANGE, "nan");
    }
    /* Type "linear" comes with factor 4 in the small model. */
    struct twist both = {.swap_key = "llama.rope.scaling.type",
                         .text = "linear",
                         .add = {keys[0], GGUF_F32, 4, NULL}};
    check_linear(small_gguf(&both), 4);
    both.add.number = 8;
    open_fails(small_gguf(&both), HD_E_UNSUPPORTED, "contradict");
}

Test(rules, rope_scaling_of_a_config)
{
    check_linear(with_field("factor", json_real(4), "{\"rope_type\": \"linear\"}"), 4);
    check_linear(with_field("factor", json_integer(4), "{\"type\": \"linear\"}"), 4);
    check_linear(
        with_field("type", json_string("linear"), "{\"rope_type\": \"linear\", \"factor\": 2}"), 2);
    check_linear(with_field("factor", json_real(1), "{\"rope_type\": \"default\"}"), 1);
    open_fails(with_field("type", json_string("linear"), "{\"rope_type\": \"llama3\"}"),
               HD_E_UNSUPPORTED, "rope_type and type");
    open_fails(with_field("factor", json_real(4), "{}"), HD_E_UNSUPPORTED,
               "field factor of RoPE is 4");
    open_fails(
        with_field("low_freq_factor", json_real(4), "{\"rope_type\": \"linear\", \"factor\": 4}"),
        HD_E_UNSUPPORTED, "low_freq_factor");
    open_fails(with_field(NULL, NULL, "{\"rope_type\": \"linear\"}"), HD_E_RANGE, "factor");
}

/* The old name and the new one may both be there if they say the same. */
Test(rules, two_objects_of_rope)
{
    static const char *const then[] = {"{\"factor\": 4, \"type\": \"linear\"}",
                                       "{\"factor\": 2, \"type\": \"linear\"}"};
    char config[1024];

    for (int i = 0; i < 2; i++) {
        snprintf(config, sizeof config, "%.*s, \"rope_scaling\": %s, \"rope_parameters\": %s}",
                 (int)strlen(base) - 1, base, then[i], then[0]);
        if (i == 0)
            check_linear(small_folder(&(struct twist){.config = config}), 4);
        else
            open_fails(small_folder(&(struct twist){.config = config}), HD_E_UNSUPPORTED,
                       "both given and differ");
    }
}
