/* Addresses: text to sockets and back, and names through the loop. */
#include "common/net/address.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

Test(address, numeric_round_trip)
{
    static const char *const same[] = {"127.0.0.1:7400", "0.0.0.0:0", "[::1]:65535",
                                       "[fe80::1:2]:80"};
    struct sockaddr_storage a;
    struct hd_error err = {0};
    char text[HD_ADDRESS_TEXT];
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        cr_assert_eq(hd_address_parse(same[i], &a, &err), 0, "%s", err.text);
        cr_assert_str_eq(hd_address_text((struct sockaddr *)&a, text), same[i]);
    }
    cr_assert_eq(hd_address_parse(":8080", &a, &err), 0);
    cr_assert_str_eq(hd_address_text((struct sockaddr *)&a, text), "0.0.0.0:8080");
    cr_assert_eq(hd_address_port((struct sockaddr *)&a), 8080);
    memset(&a, 0, sizeof a);
    cr_assert_eq(hd_address_port((struct sockaddr *)&a), 0);
    cr_assert_str_eq(hd_address_text((struct sockaddr *)&a, text), "?");
}

Test(address, errors_say_what_is_wrong)
{
    static const struct {
        const char *text;
        int code;
        const char *what;
    } bad[] = {
        {"", HD_E_FORMAT, "has no port"},
        {"127.0.0.1", HD_E_FORMAT, "has no port"},
        {"127.0.0.1:", HD_E_FORMAT, "has no port number"},
        {"127.0.0.1:x", HD_E_FORMAT, "has no port number"},
        {"127.0.0.1:80x", HD_E_FORMAT, "has no port number"},
        {"127.0.0.1:-1", HD_E_FORMAT, "has no port number"},
        {"127.0.0.1:65536", HD_E_RANGE, "beyond 65535"},
        {"127.0.0.1:99999999999999999999", HD_E_RANGE, "beyond 65535"},
        {"::1:80", HD_E_FORMAT, "several colons"},
        {"[::1:80", HD_E_FORMAT, "without \"]\""},
        {"[]:80", HD_E_FORMAT, "nothing between the brackets"},
        {"[::1]", HD_E_FORMAT, "has no port"},
        {"[::1]x:80", HD_E_FORMAT, "has no port"},
        {"a b:80", HD_E_FORMAT, "a space"},
        {"kitchen:80", HD_E_NOTFOUND, "not a numeric address"},
        {"127.1:80", HD_E_NOTFOUND, "not a numeric address"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sockaddr_storage a;
        struct hd_error err = {0};
        cr_assert_eq(hd_address_parse(bad[i].text, &a, &err), bad[i].code, "%s: %s", bad[i].text,
                     err.text);
        cr_assert_not_null(strstr(err.text, bad[i].what), "%s: %s", bad[i].text, err.text);
    }
}

Test(address, host_to_the_byte)
{
    char text[HD_HOST_MAX + 8];
    struct hd_host_port a;
    struct hd_error err = {0};
    memset(text, 'a', HD_HOST_MAX);
    strcpy(text + HD_HOST_MAX, ":80");
    cr_assert_eq(hd_address_split(text, &a, &err), 0, "%s", err.text);
    cr_assert_eq(strlen(a.host), HD_HOST_MAX);
    cr_assert_eq(a.port, 80);
    memset(text, 'a', HD_HOST_MAX + 1);
    strcpy(text + HD_HOST_MAX + 1, ":80");
    cr_assert_eq(hd_address_split(text, &a, &err), HD_E_FORMAT);
}

Test(address, unix_sockets)
{
    char text[200], shown[HD_ADDRESS_TEXT];
    struct sockaddr_un a;
    struct sockaddr_storage any;
    struct hd_error err = {0};
    cr_assert_eq(hd_address_unix("unix:/run/l.sock", &a, &err), 1);
    cr_assert_str_eq(a.sun_path, "/run/l.sock");
    cr_assert_eq(hd_address_unix("127.0.0.1:7400", &a, &err), 0);
    cr_assert_eq(hd_address_unix("unix:", &a, &err), HD_E_FORMAT);
    cr_assert_not_null(strstr(err.text, "has no path"), "%s", err.text);

    snprintf(text, sizeof text, "unix:/%0*d", (int)sizeof a.sun_path - 2, 0); /* just fits */
    cr_assert_eq(hd_address_parse(text, &any, &err), 0, "%s", err.text);
    cr_assert(hd_address_is_loopback((struct sockaddr *)&any));
    hd_address_text((struct sockaddr *)&any, shown);
    cr_assert_eq(strlen(shown), HD_ADDRESS_TEXT - 1);
    cr_assert(strncmp(text, shown, HD_ADDRESS_TEXT - 1) == 0);
    strcat(text, "0");
    cr_assert_eq(hd_address_parse(text, &any, &err), HD_E_FORMAT);
    cr_assert_not_null(strstr(err.text, "longer than a socket's may be, 107 bytes"), "%s",
                       err.text);
}

struct answer {
    int calls, code;
    char text[HD_ADDRESS_TEXT];
    char why[400];
};

static void take_answer(void *arg, int code, const struct sockaddr *addr, const char *why)
{
    struct answer *a = arg;
    a->calls++;
    a->code = code;
    if (addr)
        hd_address_text(addr, a->text);
    snprintf(a->why, sizeof a->why, "%s", why);
}

static struct answer look_up(const char *text, bool cancel)
{
    uv_loop_t loop;
    struct answer a = {0};
    struct hd_resolve r = {.done = take_answer, .arg = &a};
    struct hd_error err = {0};
    uv_loop_init(&loop);
    cr_assert_eq(hd_resolve(&r, &loop, text, &err), 0, "%s", err.text);
    if (cancel)
        hd_resolve_cancel(&r);
    cr_assert_eq(a.calls, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(a.calls, 1);
    return a;
}

Test(resolve, numeric_and_local)
{
    struct answer a = look_up("127.0.0.1:7400", false);
    cr_assert_eq(a.code, 0, "%s", a.why);
    cr_assert_str_eq(a.text, "127.0.0.1:7400");
    a = look_up("[::1]:7400", false);
    cr_assert_eq(a.code, 0, "%s", a.why);
    cr_assert_str_eq(a.text, "[::1]:7400");
    a = look_up("unix:/run/l.sock", false);
    cr_assert_eq(a.code, 0, "%s", a.why);
    cr_assert_str_eq(a.text, "unix:/run/l.sock");
}

Test(resolve, unknown_name)
{
    /* A label of 64 bytes cannot exist (RFC 1035 section 2.3.4): no name server need be asked. */
    char text[80];
    memset(text, 'x', 64);
    strcpy(text + 64, ".test:1");
    struct answer a = look_up(text, false);
    cr_assert_eq(a.code, HD_E_NOTFOUND);
    cr_assert_not_null(strstr(a.why, "cannot find the address of \"xxx"), "%s", a.why);
}

Test(resolve, cancelled_ends_once)
{
    struct answer a = look_up("127.0.0.1:7400", true);
    cr_assert(a.code == HD_E_STATE || a.code == 0); /* a thread may have begun it already */
}

Test(resolve, malformed_never_calls_back)
{
    static const char *const bad[] = {"nohost", ":7400", "host:x", "unix:"};
    uv_loop_t loop;
    struct answer a = {0};
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hd_resolve r = {.done = take_answer, .arg = &a};
        struct hd_error err = {0};
        cr_assert_eq(hd_resolve(&r, &loop, bad[i], &err), HD_E_FORMAT);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(a.calls, 0);
}
