/* Small templates in which minijinja by itself differs from jinja2: the same text, or both refuse.
 */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* What is made of a template; NULL: it is refused. The caller frees it. */
static char *render(struct hd_tokenizer *t, const char *source, const char *json, size_t *len,
                    struct hd_error *err)
{
    char *text = NULL;

    if (hdt_set_template(t->core, (struct hd_str){source, strlen(source)}, (struct hd_str){"{}", 2},
                         err) < 0 ||
        hdt_render(t->core, (struct hd_str){json, strlen(json)}, 0, &text, len, err) < 0)
        return NULL;
    return text ? text : calloc(1, 1);
}

Test(text_jinja, small_templates_are_rendered_as_jinja2_does)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    json_t *fixture = fixture_json("jinja.json"), *rows = json_object_get(fixture, "rows"), *row;
    json_t *chat = json_pack("{s[], sO}", "messages", "vars", json_object_get(fixture, "vars"));
    char *json = json_dumps(chat, JSON_COMPACT | JSON_REAL_PRECISION(17));
    size_t i, refused = 0;

    json_array_foreach(rows, i, row)
    {
        const char *source = json_string_value(json_array_get(row, 0));
        const char *want = json_string_value(json_array_get(row, 1));
        struct hd_error err = {0};
        size_t len = 0;
        char *text = render(t, source, json, &len, &err);

        cr_expect_eq(text != NULL, want != NULL, "%s: %s", source, text ? "not refused" : err.text);
        if (text && want)
            cr_expect(len == strlen(want) && memcmp(text, want, len) == 0, "%s: %.*s, wanted: %s",
                      source, (int)len, text, want);
        refused += !want;
        free(text);
    }
    cr_expect_gt(i, 140);
    cr_expect_gt(refused, 50);
    free(json);
    json_decref(chat);
    json_decref(fixture);
    hd_tokenizer_free(t);
}

Test(text_jinja, a_loop_over_none_names_itself)
{
    struct hd_tokenizer *t = fixture_folder("smollm");
    struct hd_error err = {0};
    size_t len;

    cr_expect_null(render(t, "\n{% for x in none %}{% endfor %}", "{\"messages\":[]}", &len, &err));
    cr_expect(strstr(err.text, "none is not iterable (line 2 of the template)"), "%s", err.text);
    hd_tokenizer_free(t);
}
