/* Stop strings in a stream: whatever the pieces, the same text is shown. */
#include "leader/api/text.h"

#include <criterion/criterion.h>
#include <string.h>

/* Feeds `text` in two cuts; gives what is shown and whether a stop was hit. */
static bool feed(const char *text, size_t a, size_t b, const char *const *stops, size_t n,
                 struct hd_text *out)
{
    char piece[64];
    size_t cuts[4] = {0, a, b, strlen(text)};
    struct hd_stops s = {.n = n};
    for (size_t i = 0; i < n; i++)
        s.list[i] = stops[i];
    for (int i = 0; i < 3; i++) {
        memcpy(piece, text + cuts[i], cuts[i + 1] - cuts[i]);
        piece[cuts[i + 1] - cuts[i]] = '\0';
        cr_assert_geq(hd_stops_push(&s, piece, out), 0);
    }
    bool hit = s.met != NULL;
    cr_assert_eq(hd_stops_finish(&s, out), 0);
    hd_stops_deinit(&s);
    return hit;
}

static void check_all_cuts(const char *text, const char *const *stops, size_t n, const char *want,
                           bool hit)
{
    for (size_t a = 0; a <= strlen(text); a++)
        for (size_t b = a; b <= strlen(text); b++) {
            struct hd_text out = {0};
            cr_assert_eq(feed(text, a, b, stops, n, &out), hit);
            cr_assert_str_eq(hd_text_str(&out), want, "cut at %zu and %zu", a, b);
            hd_text_deinit(&out);
        }
}

Test(stops, cut_across_pieces)
{
    const char *stops[] = {"STOP"};
    check_all_cuts("go on STOP not this", stops, 1, "go on ", true);
}

Test(stops, near_misses_are_shown)
{
    const char *stops[] = {"STOP", "\n\n"};
    check_all_cuts("STO ST\nSSTO", stops, 2, "STO ST\nSSTO", false);
}

Test(stops, overlapping_beginnings)
{
    const char *stops[] = {"aab"};
    check_all_cuts("aaaab", stops, 1, "aa", true);
}

Test(stops, whole_characters_are_held)
{
    const char *stops[] = {"é!"};
    check_all_cuts("caf\xC3\xA9!x", stops, 1, "caf", true);
}

Test(stops, nothing_to_look_for)
{
    check_all_cuts("abc", NULL, 0, "abc", false);
}
