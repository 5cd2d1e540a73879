/* Web pages are strangers: Host, Origin, Content-Type, CORS, and what changes the cluster. */
#include "common/net/address.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API_KEY   "a-key-of-24-printable-by"
#define ADMIN_KEY "the-admin's-own-long-key"
#define JSON      "Content-Type: application/json\r\n"

static char api_path[] = "/tmp/hydac-api-key-XXXXXX";
static char admin_path[] = "/tmp/hydac-admin-key-XXXXXX";

static const char *key_file(char *path, const char *text)
{
    int fd = mkstemp(path); /* mode 0600 */
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

/* One exchange; the answer stays in *c. */
static int ask(struct fixture *f, struct client *c, const char *line, const char *headers)
{
    char text[2048];
    const char *body = strncmp(line, "POST", 4) == 0 ? "{\"worker\":\"w1\"}" : "";
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nConnection: close\r\n%s", line, headers);
    client_open(f, c);
    client_send(c, text);
    if (*body)
        client_send(c, "Content-Length: 15\r\n");
    client_send(c, "\r\n");
    client_send(c, body);
    client_until_eof(f, c);
    return client_status(c);
}

static int status_of(struct fixture *f, const char *line, const char *headers)
{
    struct client c;
    int status = ask(f, &c, line, headers);
    client_close(&c);
    return status;
}

static int with_host(struct fixture *f, const char *host)
{
    char line[300];
    snprintf(line, sizeof line, "Host: %s\r\n", host);
    return status_of(f, "GET /v1/models", line);
}

Test(origin, hosts)
{
    static const char *const ours[] = {
        "localhost",   "LocalHost:8080", "localhost.",   "a.localhost:1",      "127.0.0.1",
        "127.0.0.1:9", "127.9.8.7",      "127.1",        "0x7f000001",         "2130706433",
        "[::1]",       "[::1]:80",       "[0:0:0::1]:8", "[::ffff:127.0.0.1]", "leader",
        "LEADER:7",    "leader.lan.",
    };
    static const char *const foreign[] = {
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "notlocalhost",
        "10.0.0.1",
        "",
        "127.0.0.1.evil.io",
        "[::2]",
        "[::1",
        "leader2",
        "0.0.0.0",
        "localhost:80:80",
        "localhost:8o",
        "*",
    };
    struct fixture f;
    struct fixture_options o = {.allowed_hosts = "leader leader.lan"};
    fixture_open(&f, &o);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        cr_expect_eq(with_host(&f, ours[i]), 200, "%s", ours[i]);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        cr_expect_eq(with_host(&f, foreign[i]), 403, "%s", foreign[i]);
    /* Who watches the leader by another name is no page that asks it for something. */
    cr_expect_eq(status_of(&f, "GET /health", "Host: evil.example\r\n"), 200);
    cr_expect_eq(status_of(&f, "GET /metrics", "Host: evil.example\r\n"), 200);
    fixture_close(&f);
}

Test(origin, every_host_by_choice)
{
    struct fixture f;
    struct fixture_options o = {.allowed_hosts = "*"};
    fixture_open(&f, &o);
    cr_expect_eq(with_host(&f, "evil.example"), 200);
    fixture_close(&f);
}

Test(origin, origins)
{
    static const struct {
        const char *origin;
        int status;
    } cases[] = {
        {"http://localhost:3000", 200},
        {"http://127.0.0.1", 200},
        {"https://[::1]:1", 200},
        {"https://chat.example", 200},
        {"HTTPS://chat.example", 200},
        {"https://chat.example:444", 403},
        {"http://chat.example", 403},
        {"https://chat.example.evil.io", 403},
        {"null", 403},
        {"https://evil.example", 403},
        {"https://localhost.evil.io", 403},
        {"chrome-extension://abc", 403},
    };
    struct fixture f;
    struct fixture_options o = {.allowed_origins = "https://chat.example https://b.example"};
    char headers[200];
    fixture_open(&f, &o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(headers, sizeof headers, "Host: localhost\r\nOrigin: %s\r\n", cases[i].origin);
        cr_expect_eq(status_of(&f, "GET /v1/models", headers), cases[i].status, "%s",
                     cases[i].origin);
    }
    fixture_close(&f);
}

/* The case: a page of another site posts a form, which needs no preflight. */
Test(origin, cross_site_form)
{
    static const char *const paths[] = {"POST /hydac/drain", "POST /v1/completions",
                                        "POST /hydac/rebalance"};
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        cr_expect_eq(status_of(&f, paths[i], "Host: evil.example\r\n" JSON), 403);
        cr_expect_eq(
            status_of(
                &f, paths[i],
                "Host: localhost\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\n"),
            403);
        cr_expect_eq(status_of(&f, paths[i], "Host: localhost\r\nContent-Type: text/plain\r\n"),
                     415);
        cr_expect_eq(
            status_of(&f, paths[i], "Host: localhost\r\nReferer: http://evil.example/\r\n"), 415);
    }
    cr_assert_eq(ask(&f, &c, paths[0], "Host: evil.example\r\n" JSON), 403);
    json_t *v = client_json(&c);
    cr_expect_str_eq(json_string_value(at(v, "error.code")), "foreign_host");
    cr_expect_not_null(strstr(json_string_value(at(v, "error.message")), "http.allowed_hosts"));
    json_decref(v);
    client_close(&c);
    cr_expect_eq(f.drained, 0);
    cr_expect_eq(f.n_requests, 0);
    cr_expect_eq(f.rebalanced, 0);
    fixture_close(&f);
}

Test(origin, types)
{
    static const struct {
        const char *type;
        int status;
    } cases[] = {
        {"application/json", 202},
        {"Application/JSON; charset=utf-8", 202},
        {"application/json;charset=\"utf-8\"", 202},
        {"application/json ; charset=utf-8", 202},
        {"application/x-www-form-urlencoded", 415},
        {"application/jsonp", 415},
        {"application/json, text/plain", 415},
        {"text/plain; application/json", 415},
        {"multipart/form-data; boundary=application/json", 415},
        {"", 415},
        {"application/json\r\nContent-Encoding: identity", 202},
        {"application/json\r\nContent-Encoding: gzip", 415},
    };
    struct fixture f;
    char headers[200];
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(headers, sizeof headers, "Host: localhost\r\nContent-Type: %s\r\n", cases[i].type);
        cr_expect_eq(status_of(&f, "POST /hydac/drain", headers), cases[i].status, "%s",
                     cases[i].type);
    }
    fixture_close(&f);
}

/* Programs may leave the type out, browsers not, and nobody who changes the cluster. */
Test(origin, no_type)
{
    static const struct {
        const char *path, *headers;
        bool refused;
    } cases[] = {
        {"POST /tokenize", "", false},
        {"POST /api/chat", "", false},
        {"POST /tokenize", "Origin: http://localhost\r\n", true},
        {"POST /tokenize", "Sec-Fetch-Site: cross-site\r\n", true},
        {"POST /tokenize", "Referer: http://evil.example/\r\n", true},
        {"POST /hydac/drain", "", true},
    };
    struct fixture f;
    char headers[200];
    fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(headers, sizeof headers, "Host: localhost\r\n%s", cases[i].headers);
        cr_expect_eq(status_of(&f, cases[i].path, headers) == 415, cases[i].refused, "%zu", i);
    }
    fixture_close(&f);
}

/* ---- CORS */

#define PREFLIGHT                                                                                  \
    "Host: localhost\r\nAccess-Control-Request-Method: POST\r\n"                                   \
    "Access-Control-Request-Headers: authorization,content-type,x-stainless-os\r\n"

static void expect_in(const struct client *c, const char *line)
{
    cr_expect_not_null(strstr(c->in, line), "no %s in %s", line, c->in);
}

Test(origin, preflight)
{
    struct fixture f;
    struct client c;
    struct fixture_options o = {.allowed_origins = "https://chat.example"};
    fixture_open(&f, &o);
    cr_expect_eq(ask(&f, &c, "OPTIONS /v1/chat/completions",
                     PREFLIGHT "Origin: https://chat.example\r\n"
                               "Access-Control-Request-Private-Network: true\r\n"),
                 204);
    expect_in(&c, "Access-Control-Allow-Origin: https://chat.example\r\n");
    expect_in(&c, "Access-Control-Allow-Methods: GET, POST\r\n");
    expect_in(&c, "Access-Control-Allow-Headers: authorization,content-type,x-stainless-os\r\n");
    expect_in(&c, "Access-Control-Allow-Private-Network: true\r\n");
    expect_in(&c, "Access-Control-Max-Age: 600\r\n");
    expect_in(&c, "Vary: Origin\r\n");
    client_close(&c);
    cr_expect_eq(ask(&f, &c, "OPTIONS /v1/models", PREFLIGHT "Origin: https://evil.example\r\n"),
                 403);
    cr_expect_null(strstr(c.in, "Access-Control"), "%s", c.in);
    client_close(&c);
    cr_expect_eq(ask(&f, &c, "OPTIONS /v1/models", "Host: localhost\r\n"), 405);
    client_close(&c);
    fixture_close(&f);
}

Test(origin, headers_of_answers)
{
    struct fixture f;
    struct client c;
    struct fixture_options o = {.allowed_origins = "https://chat.example"};
    fixture_open(&f, &o);
    cr_expect_eq(
        ask(&f, &c, "GET /v1/models", "Host: localhost\r\nOrigin: https://chat.example\r\n"), 200);
    expect_in(&c, "Access-Control-Allow-Origin: https://chat.example\r\n");
    expect_in(&c, "Vary: Origin\r\n");
    client_close(&c);
    cr_expect_eq(ask(&f, &c, "POST /v1/completions",
                     "Host: localhost\r\nOrigin: https://chat.example\r\n" JSON),
                 400);
    expect_in(&c, "Access-Control-Allow-Origin: https://chat.example\r\n");
    client_close(&c);
    cr_expect_eq(ask(&f, &c, "GET /v1/models", "Host: localhost\r\n"), 200);
    cr_expect_null(strstr(c.in, "Access-Control"), "%s", c.in);
    expect_in(&c, "Vary: Origin\r\n");
    client_close(&c);

    client_open(&f, &c);
    client_send(&c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" JSON
                    "Origin: https://chat.example\r\nContent-Length: 29\r\n\r\n"
                    "{\"prompt\":\"ab\",\"stream\":true}");
    struct hd_request *r = fake_request(&f, 0);
    fake_token(r, 'x');
    fake_end(r, HD_FINISH_STOP);
    client_until(&f, &c, "\r\n0\r\n\r\n");
    expect_in(&c, "Access-Control-Allow-Origin: https://chat.example\r\n");
    client_close(&c);
    fixture_close(&f);
}

Test(origin, every_page_by_choice)
{
    struct fixture f;
    struct client c;
    struct fixture_options o = {.allowed_origins = "*"};
    fixture_open(&f, &o);
    cr_expect_eq(ask(&f, &c, "GET /v1/models", "Host: localhost\r\nOrigin: https://a.example\r\n"),
                 200);
    expect_in(&c, "Access-Control-Allow-Origin: *\r\n");
    cr_expect_null(strstr(c.in, "Vary"), "%s", c.in);
    client_close(&c);
    fixture_close(&f);
}

/* ---- The page of another leader */

Test(origin, what_an_address_is)
{
    static const struct {
        const char *url, *origin;
    } cases[] = {
        {"http://b.lan:8080", "http://b.lan:8080"},
        {"https://b.lan/llm/", "https://b.lan"},
        {"http://[::1]:8080/", "http://[::1]:8080"},
        {"b.lan:8080", ""},
        {"ftp://b.lan", ""},
        {"http://", ""},
        {"http:///x", ""},
        {"http://b.lan; script-src *", ""},
        {"http://b.lan, http://c.lan", ""},
        {"http://b.lan\r\nX: y", ""},
        {"http://me@b.lan", ""},
        {"http://b.lan/'x'", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = hd_address_origin(cases[i].url, strlen(cases[i].url));
        cr_expect_eq(n, strlen(cases[i].origin), "%s", cases[i].url);
        cr_expect_eq(strncmp(cases[i].url, cases[i].origin, n), 0, "%s", cases[i].url);
    }
}

Test(origin, pages_of_other_leaders)
{
    struct fixture f;
    struct client c;
    char leaders[100] = "";
    struct fixture_options o = {.leaders = leaders};
    fixture_open(&f, &o);
    static const char asked[] = PREFLIGHT "Origin: http://b.lan:8080\r\n";
    cr_expect_eq(ask(&f, &c, "OPTIONS /v1/models", asked), 403, "not known yet");
    client_close(&c);
    strcpy(leaders, "http://b.lan:8080/llm https://c.lan");
    cr_expect_eq(ask(&f, &c, "OPTIONS /v1/models", asked), 204);
    expect_in(&c, "Access-Control-Allow-Origin: http://b.lan:8080\r\n");
    client_close(&c);
    cr_expect_eq(ask(&f, &c, "GET /hydac/status", "Host: localhost\r\nOrigin: https://c.lan\r\n"),
                 200);
    expect_in(&c, "Access-Control-Allow-Origin: https://c.lan\r\n");
    expect_in(&c, "Vary: Origin\r\n");
    client_close(&c);
    static const char *const others[] = {"http://b.lan", "https://b.lan:8080",
                                         "http://b.lan:8080/llm", "null", "http://d.lan"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char headers[300];
        snprintf(headers, sizeof headers, PREFLIGHT "Origin: %s\r\n", others[i]);
        cr_expect_eq(status_of(&f, "OPTIONS /v1/models", headers), 403, "%s", others[i]);
    }
    cr_expect_eq(status_of(&f, "POST /hydac/drain",
                           "Host: localhost\r\n" JSON "Origin: http://b.lan:8080\r\n"),
                 403, "to read it, and to ask; not to change the cluster");
    fixture_close(&f);
}

/* ---- Admin calls */

Test(origin, admin_without_keys)
{
    struct fixture f;
    struct fixture_options o = {.allowed_origins = "https://chat.example"};
    fixture_open(&f, &o);
    cr_expect_eq(status_of(&f, "POST /hydac/drain", "Host: localhost\r\n" JSON), 202);
    cr_expect_eq(f.drained, 1);
    static const char *const others[] = {"Origin: https://chat.example\r\n",
                                         "Origin: http://localhost:3000\r\n",
                                         "X-Forwarded-For: 10.0.0.1\r\n", "Via: 1.1 proxy\r\n"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char headers[200];
        snprintf(headers, sizeof headers, "Host: localhost\r\n" JSON "%s", others[i]);
        cr_expect_eq(status_of(&f, "POST /hydac/drain", headers), 403, "%s", others[i]);
        cr_expect_eq(status_of(&f, "GET /hydac/status", headers), 200, "%s", others[i]);
    }
    cr_expect_eq(f.drained, 1);
    fixture_close(&f);
}

#define SHOW(key) "Host: evil.example\r\nAuthorization: Bearer " key "\r\n" JSON

Test(origin, admin_with_an_api_key)
{
    struct fixture f;
    struct fixture_options o = {.api_key_file = key_file(api_path, API_KEY)};
    fixture_open(&f, &o);
    unlink(api_path);
    cr_expect_eq(status_of(&f, "POST /hydac/drain", "Host: localhost\r\n" JSON), 401);
    cr_expect_eq(status_of(&f, "POST /hydac/drain", SHOW(API_KEY)), 202); /* any Host, with it */
    cr_expect_eq(status_of(&f, "POST /hydac/drain", SHOW(API_KEY) "Origin: http://a\r\n"), 403);
    fixture_close(&f);
}

Test(origin, admin_with_its_own_key)
{
    struct fixture f;
    struct fixture_options o = {.api_key_file = key_file(api_path, API_KEY),
                                .admin_key_file = key_file(admin_path, ADMIN_KEY "\n")};
    struct client c;
    fixture_open(&f, &o);
    unlink(api_path);
    unlink(admin_path);
    cr_expect_eq(ask(&f, &c, "POST /hydac/drain", SHOW(API_KEY)), 401);
    cr_expect_not_null(strstr(c.in, "invalid_admin_key"), "%s", c.in);
    client_close(&c);
    cr_expect_eq(status_of(&f, "POST /hydac/undrain", "Host: localhost\r\n" JSON), 401);
    cr_expect_eq(status_of(&f, "POST /hydac/rebalance", SHOW("")), 401);
    cr_expect_eq(f.drained, 0);
    cr_expect_eq(status_of(&f, "POST /hydac/drain", SHOW(ADMIN_KEY)), 202);
    cr_expect_eq(f.drained, 1);
    cr_expect_eq(status_of(&f, "GET /hydac/status", SHOW(API_KEY)), 200);
    cr_expect_eq(status_of(&f, "GET /hydac/status", SHOW(ADMIN_KEY)), 200);
    cr_expect_eq(status_of(&f, "GET /v1/models", SHOW("another-key-of-24-bytes!")), 401);
    fixture_close(&f);
}

/* The API itself may be open while what changes the cluster is not. */
Test(origin, admin_key_alone)
{
    struct fixture f;
    struct fixture_options o = {.admin_key_file = key_file(admin_path, ADMIN_KEY)};
    fixture_open(&f, &o);
    unlink(admin_path);
    cr_expect_eq(status_of(&f, "GET /v1/models", "Host: localhost\r\n"), 200);
    cr_expect_eq(status_of(&f, "GET /v1/models", "Host: evil.example\r\n"), 403);
    cr_expect_eq(status_of(&f, "POST /hydac/drain", "Host: localhost\r\n" JSON), 401);
    cr_expect_eq(status_of(&f, "POST /hydac/drain", SHOW(ADMIN_KEY)), 202);
    fixture_close(&f);
}
