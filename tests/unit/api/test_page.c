/* test_page.c - the page at "/": whole, with its headers, and with what it has to know of keys. */
#include "fixture.h"

#include "leader/page/page.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char policy[] = "Content-Security-Policy: default-src 'none'; script-src 'sha256-";
static const char *const headers[] = {
    "Content-Type: text/html; charset=utf-8\r\n",
    "X-Content-Type-Options: nosniff\r\n",
    "Referrer-Policy: no-referrer\r\n",
    policy,
};

Test(page, is_whole)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    exchange(&f, &c, "/", NULL);
    cr_assert_eq(client_status(&c), 200);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        cr_assert_not_null(strstr(c.in, headers[i]), "%s", headers[i]);
    const char *body = strstr(c.in, "\r\n\r\n") + 4;
    cr_assert_eq(strlen(body), hd_page_len);
    cr_assert_eq(memcmp(body, hd_page, hd_page_len), 0);
    cr_assert_lt(hd_page_len, 150 * 1024);
    client_close(&c);
    exchange(&f, &c, "/", "{}");
    cr_assert_eq(client_status(&c), 405);
    client_close(&c);
    fixture_close(&f);
}

Test(page, may_ask_the_other_leaders)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, &(struct fixture_options){.leaders = "http://b.lan:8080/llm https://c.lan"});
    exchange(&f, &c, "/", NULL);
    cr_assert_not_null(strstr(c.in, "; connect-src 'self' http://b.lan:8080 https://c.lan\r\n"),
                       "%s", c.in);
    client_close(&c);
    fixture_close(&f);
}

Test(page, knows_that_a_key_is_needed)
{
    struct fixture f;
    struct client c;
    char path[] = "/tmp/hydac-page-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, "0123456789abcdef0123456789abcdef\n", 33), 33);
    close(fd);
    fixture_open(&f, &(struct fixture_options){.api_key_file = path});
    exchange(&f, &c, "/", NULL); /* without the key */
    cr_assert_eq(client_status(&c), 200);
    cr_assert_not_null(strstr(c.in, "data-key=\"need\""));
    cr_assert_null(strstr(c.in, "0123456789abcdef"));
    client_close(&c);
    exchange(&f, &c, "/hydac/events", NULL);
    cr_assert_eq(client_status(&c), 401);
    client_close(&c);
    fixture_close(&f);
    unlink(path);
}
