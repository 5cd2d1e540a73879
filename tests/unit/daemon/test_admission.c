/* The token buckets of the leader's admission. */
#include "leader/daemon/admission.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <uv.h>

#define SECOND UINT64_C(1000000)

static struct hd_admission admission; /* zeroed for each test: each is a process of its own */

static bool admit(const char *text, uint64_t now_us)
{
    struct sockaddr_storage addr = {0};
    if (uv_ip4_addr(text, 1, (struct sockaddr_in *)&addr) != 0)
        cr_assert_eq(uv_ip6_addr(text, 1, (struct sockaddr_in6 *)&addr), 0, "%s", text);
    return hd_admit(&admission, (const struct sockaddr *)&addr, now_us);
}

static unsigned admitted(const char *text, unsigned tries, uint64_t now_us)
{
    unsigned n = 0;
    for (unsigned i = 0; i < tries; i++)
        n += admit(text, now_us);
    return n;
}

Test(admission, a_burst_then_a_rate)
{
    uint64_t now = 100 * SECOND;
    cr_assert_eq(admitted("10.0.0.1", 1000, now), HD_ADMISSION_BURST);
    cr_assert_eq(admitted("10.0.0.1", 1000, now + SECOND / 2), HD_ADMISSION_PER_SECOND / 2);
    cr_assert_eq(admitted("10.0.0.1", 1000, now + SECOND * 3 / 2), HD_ADMISSION_PER_SECOND);
    cr_assert_eq(admitted("10.0.0.1", 1000, now + 1000 * SECOND), HD_ADMISSION_BURST);
}

/* Who keeps knocking gets his rate all the same: a refusal costs nothing. */
Test(admission, refusals_cost_nothing)
{
    unsigned n = admitted("10.0.0.1", HD_ADMISSION_BURST, 0);
    for (uint64_t ms = 1; ms <= 10000; ms++)
        n += admit("10.0.0.1", ms * 1000);
    cr_assert_geq(n, HD_ADMISSION_BURST + 10 * HD_ADMISSION_PER_SECOND - 1);
    cr_assert_leq(n, HD_ADMISSION_BURST + 10 * HD_ADMISSION_PER_SECOND);
}

Test(admission, each_address_has_its_own)
{
    cr_assert_eq(admitted("127.0.0.1", 1000, SECOND), HD_ADMISSION_BURST);
    cr_assert_eq(admitted("127.0.0.2", 1000, SECOND), HD_ADMISSION_BURST);
    cr_assert_not(admit("::ffff:127.0.0.1", SECOND), "the same machine");
    cr_assert_eq(admitted("2001:db8::1", 1000, SECOND), HD_ADMISSION_BURST);
    cr_assert_not(admit("2001:db8::ffff:2", SECOND), "the same /64");
    cr_assert(admit("2001:db8:0:1::1", SECOND));
}

/* More addresses than are remembered: the one that was seen least recently is forgotten. */
Test(admission, the_oldest_makes_room)
{
    char text[32];
    cr_assert_eq(admitted("10.9.9.9", 1000, 1), HD_ADMISSION_BURST);
    for (unsigned i = 0; i < HD_ADMISSION_ADDRESSES - 1; i++) {
        snprintf(text, sizeof text, "10.0.%u.%u", i / 256, i % 256);
        cr_assert(admit(text, 2 + i));
    }
    cr_assert_not(admit("10.9.9.9", 2 + HD_ADMISSION_ADDRESSES), "it is remembered still");
    cr_assert(admit("10.9.9.8", 3 + HD_ADMISSION_ADDRESSES)); /* in the place of 10.0.0.0 */
    cr_assert_not(admit("10.9.9.9", 4 + HD_ADMISSION_ADDRESSES));
    cr_assert_eq(admitted("10.0.0.0", 1000, 5 + HD_ADMISSION_ADDRESSES), HD_ADMISSION_BURST);
}
