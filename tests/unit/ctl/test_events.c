/* test_events.c - server-sent events from pieces of any size. */
#include "leader/ctl/events.h"

#include "common/util/error.h"

#include <criterion/criterion.h>
#include <string.h>

static void count(void *arg, const json_t *event)
{
    *(json_int_t *)arg += json_integer_value(json_object_get(event, "n"));
}

Test(events, pieces_of_any_size_make_the_same_events)
{
    static const char text[] = "data: {\"n\": 1}\n\ndata: {\"n\": 20}\n\n: comment\n\n"
                               "data: [DONE]\n\ndata: {\"n\": 300}\n";
    for (size_t size = 1; size < sizeof text; size++) {
        json_int_t sum = 0;
        struct hd_events e = {.on_event = count, .arg = &sum};
        for (size_t at = 0; at < sizeof text - 1; at += size) {
            size_t left = sizeof text - 1 - at;
            cr_assert_eq(hd_events_feed(&e, 200, text + at, size < left ? size : left), 0);
        }
        cr_assert_eq(sum, 321);
        cr_assert_eq(e.n, 0);
        hd_events_deinit(&e);
    }
}

Test(events, an_error_is_kept_whole)
{
    json_int_t sum = 0;
    struct hd_events e = {.on_event = count, .arg = &sum};
    cr_assert_eq(hd_events_feed(&e, 400, "data: {\"n\": 1}\n", 15), 0);
    cr_assert_eq(hd_events_feed(&e, 400, "x", 1), 0);
    cr_assert_eq(sum, 0);
    cr_assert_eq(e.n, 16);
    cr_assert_eq(memcmp(e.buf, "data: {\"n\": 1}\nx", 16), 0);
    hd_events_deinit(&e);
}

Test(events, too_long_a_line_is_refused)
{
    struct hd_events e = {.on_event = count};
    static char piece[1u << 20];
    memset(piece, 'x', sizeof piece);
    for (size_t i = 0; i < HD_MAX_EVENT / sizeof piece; i++)
        cr_assert_eq(hd_events_feed(&e, 200, piece, sizeof piece), 0);
    cr_assert_eq(hd_events_feed(&e, 200, piece, 1), HD_E_LIMIT);
    hd_events_deinit(&e);
}
