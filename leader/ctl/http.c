#include "leader/ctl/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct transfer {
    CURL *curl;
    const struct hd_http_post *post;
    FILE *body; /* of a GET */
    int rc;     /* what on_data returned */
};

/* "http://host:port/" + "/path", without doubling the slash. */
static int set_url(CURL *curl, const char *base, const char *path)
{
    char url[2048];
    size_t n = strlen(base);
    while (n > 0 && base[n - 1] == '/')
        n--;
    int len = snprintf(url, sizeof url, "%.*s%s", (int)n, base, path);
    if (len < 0 || (size_t)len >= sizeof url)
        return HD_E_RANGE;
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK ? 0 : HD_E_NOMEM;
}

static int open_curl(struct transfer *t, const char *base, const char *path, struct hd_error *err)
{
    t->curl = curl_easy_init();
    if (!t->curl)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    int rc = set_url(t->curl, base, path);
    if (rc < 0) {
        curl_easy_cleanup(t->curl);
        return hd_fail(err, rc, "the leader's address is too long");
    }
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->curl, CURLOPT_NOPROXY, "*"); /* the leader is ours, not the internet's */
    curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    return 0;
}

static int failed(CURLcode code, const char *base, struct hd_error *err)
{
    return hd_fail(err, HD_E_IO, "no answer from the leader at %s: %s", base,
                   curl_easy_strerror(code));
}

static size_t on_get(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    return fwrite(data, size, n, t->body);
}

int hd_http_get(struct hd_http_get *g, struct hd_error *err)
{
    struct transfer t = {0};
    size_t len;
    int rc = open_curl(&t, g->base, g->path, err);
    if (rc < 0)
        return rc;
    g->body = NULL;
    t.body = open_memstream(&g->body, &len);
    if (!t.body) {
        curl_easy_cleanup(t.curl);
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    }
    curl_easy_setopt(t.curl, CURLOPT_TIMEOUT_MS, g->timeout_ms);
    curl_easy_setopt(t.curl, CURLOPT_WRITEFUNCTION, on_get);
    curl_easy_setopt(t.curl, CURLOPT_WRITEDATA, &t);
    CURLcode code = curl_easy_perform(t.curl);
    curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &g->status);
    fclose(t.body);
    curl_easy_cleanup(t.curl);
    if (code == CURLE_OK)
        return 0;
    free(g->body);
    g->body = NULL;
    return failed(code, g->base, err);
}

bool hd_http_is_ok(const char *base, const char *path, long timeout_ms)
{
    struct hd_http_get g = {.base = base, .path = path, .timeout_ms = timeout_ms};
    struct hd_error err;
    if (hd_http_get(&g, &err) < 0)
        return false;
    free(g.body);
    return g.status == 200;
}

static size_t on_post(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    t->rc = t->post->on_data(t->post->arg, status, data, size * n);
    return t->rc == 0 ? size * n : 0;
}

int hd_http_post(const struct hd_http_post *p, struct hd_error *err)
{
    struct transfer t = {.post = p};
    int rc = open_curl(&t, p->base, p->path, err);
    if (rc < 0)
        return rc;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(t.curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(t.curl, CURLOPT_POSTFIELDS, p->body);
    curl_easy_setopt(t.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(p->body));
    curl_easy_setopt(t.curl, CURLOPT_WRITEFUNCTION, on_post);
    curl_easy_setopt(t.curl, CURLOPT_WRITEDATA, &t);
    CURLcode code = curl_easy_perform(t.curl);
    curl_slist_free_all(headers);
    curl_easy_cleanup(t.curl);
    if (t.rc != 0)
        return t.rc;
    return code == CURLE_OK ? 0 : failed(code, p->base, err);
}
