/* Who shows the key is answered; who does not is told so, and nothing of his is kept. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY "a-key-of-24-printable-by"

static char path[] = "/tmp/hydac-api-key-XXXXXX";

static void write_key(const char *text)
{
    int fd = mkstemp(path); /* mode 0600 */
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void open_with_key(struct fixture *f)
{
    struct fixture_options o = {.api_key_file = path, .max_body = 1 << 20};
    write_key(KEY "\n");
    fixture_open(f, &o);
    unlink(path);
}

/* One exchange with this header line ("" = none). */
static void ask(struct fixture *f, struct client *c, const char *line, const char *header)
{
    char text[2048];
    snprintf(text, sizeof text, "%s HTTP/1.0\r\n%s\r\n", line, header);
    client_open(f, c);
    client_send(c, text);
    client_until_eof(f, c);
}

static int status_of(struct fixture *f, const char *line, const char *header)
{
    struct client c;
    ask(f, &c, line, header);
    int status = client_status(&c);
    client_close(&c);
    return status;
}

Test(keys, what_is_protected)
{
    static const char *const closed[] = {
        "GET /v1/models",   "GET /hydac/status",  "GET /v1",           "GET /v1/",
        "GET /hydac/other", "POST /hydac/status", "DELETE /v1/models", "HEAD /v1/models",
        "POST /tokenize",   "POST /detokenize",   "GET /api/tags",     "POST /v1/messages"};
    struct fixture f;
    open_with_key(&f);
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        cr_expect_eq(status_of(&f, closed[i], ""), 401, "%s", closed[i]);
    cr_expect_eq(status_of(&f, "GET /health", ""), 200);
    cr_expect_eq(status_of(&f, "GET /v1x", ""), 404);
    cr_expect_eq(status_of(&f, "GET /v1/models", "Authorization: Bearer " KEY "\r\n"), 200);
    cr_expect_eq(status_of(&f, "GET /v1/nothing", "Authorization: Bearer " KEY "\r\n"), 404);
    fixture_close(&f);
}

Test(keys, ways_to_show_it)
{
    static const struct {
        const char *header;
        int status;
    } cases[] = {
        {"Authorization: Bearer " KEY "\r\n", 200},
        {"authorization: bearer   " KEY "\r\n", 200},
        {"X-Api-Key: " KEY "\r\n", 200},
        {"Authorization: Basic Zm9v\r\nX-Api-Key: " KEY "\r\n", 200},
        {"Authorization: Bearer " KEY "x\r\n", 401},
        {"Authorization: Bearer a-key-of-24-printable-bY\r\n", 401},
        {"Authorization: Bearer a-key-of-24-printable-b\r\n", 401},
        {"Authorization: Bearer\r\n", 401},
        {"Authorization: Bearer \r\n", 401},
        {"Authorization: " KEY "\r\n", 401},
        {"X-Api-Key:\r\n", 401},
        {"Cookie: " KEY "\r\n", 401},
    };
    struct fixture f;
    open_with_key(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(status_of(&f, "GET /v1/models", cases[i].header), cases[i].status, "%s",
                     cases[i].header);
    fixture_close(&f);
}

Test(keys, error_in_openais_shape)
{
    struct fixture f;
    struct client c;
    open_with_key(&f);
    client_open(&f, &c);
    client_post(&c, "/v1/completions", "{\"prompt\":\"hello\"}");
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 401);
    cr_assert_not_null(strstr(c.in, "WWW-Authenticate: Bearer\r\n"), "%s", c.in);
    cr_assert_null(strstr(c.in, KEY));
    json_t *v = client_json(&c);
    cr_assert_str_eq(json_string_value(at(v, "error.code")), "invalid_api_key");
    cr_assert_str_eq(json_string_value(at(v, "error.type")), "invalid_request_error");
    cr_assert_not_null(json_string_value(at(v, "error.message")));
    cr_assert_eq(f.n_requests, 0);
    json_decref(v);
    client_close(&c);
    fixture_close(&f);
}

/* Bodies: a small one is read, one that would take long is refused before it comes. */
Test(keys, bodies_without_a_key)
{
    struct fixture f;
    struct client c;
    open_with_key(&f);
    ask(&f, &c, "POST /v1/completions", "Content-Length: 99999999\r\n");
    cr_assert_eq(client_status(&c), 401);
    client_close(&c);
    ask(&f, &c, "POST /v1/completions", "Expect: 100-continue\r\nContent-Length: 5\r\n");
    cr_assert_eq(client_status(&c), 401);
    client_close(&c);
    size_t n = 2 << 20; /* more than max_body: the key is asked for first */
    char *body = malloc(n + 1);
    memset(body, ' ', n);
    body[n] = '\0';
    client_open(&f, &c);
    client_post(&c, "/v1/completions", body);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 401);
    client_close(&c);
    free(body);
    fixture_close(&f);
}

Test(keys, with_it_everything_is_as_always)
{
    struct fixture f;
    struct client c;
    open_with_key(&f);
    client_open(&f, &c);
    client_send(&c, "POST /v1/completions HTTP/1.0\r\nAuthorization: Bearer " KEY "\r\n"
                    "Content-Type: application/json\r\n"
                    "Content-Length: 16\r\n\r\n{\"prompt\":\"abc\"}");
    struct hd_request *r = fake_request(&f, 0);
    fake_text(r, "ok");
    fake_end(r, HD_FINISH_STOP);
    client_until_eof(&f, &c);
    cr_assert_eq(client_status(&c), 200);
    client_close(&c);
    fixture_close(&f);
}

static void expect_file_refused(const char *text, mode_t mode, const char *what)
{
    struct sockaddr_storage any = {.ss_family = AF_INET};
    uv_loop_t loop;
    uv_loop_init(&loop);
    strcpy(path + strlen(path) - 6, "XXXXXX");
    write_key(text);
    chmod(path, mode);
    struct hd_api *api;
    struct hd_error err = {0};
    struct hd_api_options o = {
        .loop = &loop, .listen = (struct sockaddr *)&any, .api_key_file = path};
    cr_expect_lt(hd_api_new(&api, &o, &err), 0, "%s", text);
    cr_expect_not_null(strstr(err.text, what), "\"%s\" is not in \"%s\"", what, err.text);
    cr_expect_not_null(strstr(err.text, path), "%s", err.text);
    cr_expect_null(strstr(err.text, "secret"), "an error shows the key: %s", err.text);
    unlink(path);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(keys, files_that_hold_none)
{
    expect_file_refused("secret-secret-secret", 0644, "chmod 600");
    expect_file_refused("secret-secret-s", 0600, "has 15 bytes; one that cannot be guessed has 16");
    expect_file_refused("", 0600, "has 0 bytes");
    expect_file_refused("secret secret secret", 0600, "byte 7 is something else");
    expect_file_refused("secret-secret-secret\nsecret", 0600, "byte 21 is something else");
    char text[300];
    memset(text, 's', sizeof text);
    text[256] = '\0';
    expect_file_refused(text, 0600, "has 256 bytes; at most 255");
    text[255] = '\0';
    struct fixture f;
    struct fixture_options o = {.api_key_file = path};
    strcpy(path + strlen(path) - 6, "XXXXXX");
    write_key(text);
    fixture_open(&f, &o);
    unlink(path);
    fixture_close(&f);
}
