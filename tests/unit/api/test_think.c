/* What a model thinks, told apart from what it answers, however the text is cut. */
#include "leader/api/think.h"

#include <criterion/criterion.h>
#include <string.h>

#define TEMPLATE "{{ '<think>' }}"

struct parts {
    struct hd_text answer, thought;
};

/* What was told goes out at once, as in a stream. */
static void move(struct hd_text *to, struct hd_text *from)
{
    cr_assert_eq(hd_text_add(to, hd_text_str(from), from->len), 0);
    hd_text_clear(from);
}

/* The text in pieces of `size` bytes. */
static struct parts split(const char *opened, const char *text, size_t size)
{
    struct parts p = {0}, now = {0};
    struct hd_think t;
    hd_think_init(&t, TEMPLATE, opened);
    cr_assert(t.on);
    for (size_t i = 0; i < strlen(text); i += size) {
        char piece[64] = {0};
        strncpy(piece, text + i, size);
        cr_assert_eq(hd_think_push(&t, piece, &now.answer, &now.thought), 0);
        move(&p.answer, &now.answer);
        move(&p.thought, &now.thought);
    }
    cr_assert_eq(hd_think_finish(&t, &p.answer, &p.thought), 0);
    hd_think_deinit(&t);
    hd_text_deinit(&now.answer);
    hd_text_deinit(&now.thought);
    return p;
}

Test(think, told_apart_in_any_pieces)
{
    static const struct {
        const char *opened, *text, *thought, *answer;
    } cases[] = {
        {"", "plain", "", "plain"},
        {"", "<think> a b  c </think> d  e", "a b  c", "d  e"},
        {"", "<think>\nwhy\n</think>\n\nso", "why", "so"},
        {"", "\n <think>a</think>b</think>", "a", "b</think>"},
        {"", "<thin air", "", "<thin air"},
        {"", "<think></think>x", "", "x"},
        {"", "<think>never ends </thin", "never ends </thin", ""},
        {"a<think>\n", "why\n</think>\n\nso <think>", "why", "so <think>"},
        {"<think>\n\n</think>\n\n", "so", "", "so"},
        {"", "x <think>y</think>", "", "x <think>y</think>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t size = 1; size < 20; size++) {
            struct parts p = split(cases[i].opened, cases[i].text, size);
            cr_assert_str_eq(hd_text_str(&p.thought), cases[i].thought, "%zu, by %zu", i, size);
            cr_assert_str_eq(hd_text_str(&p.answer), cases[i].answer, "%zu, by %zu", i, size);
            hd_text_deinit(&p.thought);
            hd_text_deinit(&p.answer);
        }
}

Test(think, other_templates_have_no_thoughts)
{
    struct hd_think t;
    hd_think_init(&t, "{{ messages }}", "<think>");
    cr_assert_not(t.on);
}
