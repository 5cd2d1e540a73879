/* http.c - one curl handle a request, with the keys that files or the environment name. */
#include "leader/ctl/http.h"

#include "leader/ctl/http_watch.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct transfer {
    CURL *curl;
    const struct hd_http_post *post;
    struct curl_slist *headers;
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

/* A host that is gone says nothing; a stream would wait for it for ever. */
static int keep_alive(void *unused, curl_socket_t fd, curlsocktype purpose)
{
    const int on = 1, idle_s = 3, every_s = 1, times = 5;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
    return CURL_SOCKOPT_OK;
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
    curl_easy_setopt(t->curl, CURLOPT_SOCKOPTFUNCTION, keep_alive);
    const char *ca = getenv("CURL_CA_BUNDLE"); /* as curl itself does */
    if (ca && ca[0])
        curl_easy_setopt(t->curl, CURLOPT_CAINFO, ca);
    return 0;
}

static int key_from_file(struct hd_http_key *key, const char *file, struct hd_error *err)
{
    size_t len = 0;
    int rc = hd_secret_read(file, key->text, sizeof key->text, &len, err);
    if (rc == 0 && hd_api_key_check(key->text, &len, err) < 0)
        rc = hd_fail_in(err, "%s", file);
    return rc;
}

/* "" when there is no such variable. */
static int key_from_variable(struct hd_http_key *key, const char *name, struct hd_error *err)
{
    const char *word = getenv(name);
    size_t len = word ? strlen(word) : 0;
    key->text[0] = '\0';
    if (len == 0)
        return 0;
    if (len >= HD_API_KEY_SIZE)
        return hd_fail(err, HD_E_FORMAT, "$%s has more than %d bytes", name, HD_API_KEY_SIZE - 1);
    memcpy(key->text, word, len + 1);
    return hd_api_key_check(key->text, &len, err) < 0 ? hd_fail_in(err, "$%s", name) : 0;
}

int hd_http_key_get(struct hd_http_key *key, const char *file, struct hd_error *err)
{
    return file ? key_from_file(key, file, err) : key_from_variable(key, "HYDAC_API_KEY", err);
}

int hd_http_admin_key_get(struct hd_http_key *key, const char *file, const char *api_key_file,
                          struct hd_error *err)
{
    int rc = file ? key_from_file(key, file, err) : key_from_variable(key, "HYDAC_ADMIN_KEY", err);
    return rc < 0 || key->text[0] ? rc : hd_http_key_get(key, api_key_file, err);
}

static int add_header(struct transfer *t, const char *line)
{
    struct curl_slist *more = curl_slist_append(t->headers, line);
    if (!more)
        return HD_E_NOMEM;
    t->headers = more;
    return curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, more) == CURLE_OK ? 0 : HD_E_NOMEM;
}

static int add_key(struct transfer *t, const char *key)
{
    char line[64 + HD_API_KEY_SIZE];
    if (!key || !key[0])
        return 0;
    snprintf(line, sizeof line, "Authorization: Bearer %s", key);
    int rc = add_header(t, line);
    hd_secret_wipe(line, sizeof line);
    return rc;
}

static int add_last_event(struct transfer *t, const char *id)
{
    char line[128];
    if (!id)
        return 0;
    snprintf(line, sizeof line, "Last-Event-ID: %s", id);
    return add_header(t, line);
}

static void close_curl(struct transfer *t)
{
    curl_easy_cleanup(t->curl);
    for (struct curl_slist *h = t->headers; h; h = h->next)
        hd_secret_wipe(h->data, strlen(h->data)); /* one of them may hold the key */
    curl_slist_free_all(t->headers);
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
    if (!t.body || add_key(&t, g->key) < 0) {
        if (t.body)
            fclose(t.body);
        free(g->body);
        g->body = NULL;
        close_curl(&t);
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    }
    curl_easy_setopt(t.curl, CURLOPT_TIMEOUT_MS, g->timeout_ms);
    curl_easy_setopt(t.curl, CURLOPT_WRITEFUNCTION, on_get);
    curl_easy_setopt(t.curl, CURLOPT_WRITEDATA, &t);
    CURLcode code = curl_easy_perform(t.curl);
    curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &g->status);
    fclose(t.body);
    close_curl(&t);
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

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct hd_http_post *p = arg;
    return p->stop(p->arg);
}

static void set_stop(struct transfer *t)
{
    if (!t->post->stop)
        return;
    curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(t->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(t->curl, CURLOPT_XFERINFODATA, t->post);
}

static size_t on_health(char *data, size_t size, size_t n, void *arg)
{
    return size * n; /* that it comes is what counts */
}

static CURLcode perform_watched(struct transfer *t, const char *base)
{
    struct transfer health = {0};
    struct hd_error err;
    if (open_curl(&health, base, "/health", &err) < 0)
        return CURLE_OUT_OF_MEMORY;
    curl_easy_setopt(health.curl, CURLOPT_WRITEFUNCTION, on_health);
    CURLcode code = hd_http_watched(t->curl, health.curl);
    close_curl(&health);
    return code;
}

int hd_http_post(struct hd_http_post *p, struct hd_error *err)
{
    struct transfer t = {.post = p};
    int rc = open_curl(&t, p->base, p->path, err);
    if (rc < 0)
        return rc;
    if (add_header(&t, "Content-Type: application/json") < 0 || add_key(&t, p->key) < 0 ||
        add_last_event(&t, p->last_event) < 0) {
        close_curl(&t);
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    }
    if (p->body) {
        curl_easy_setopt(t.curl, CURLOPT_POSTFIELDS, p->body);
        curl_easy_setopt(t.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(p->body));
    }
    set_stop(&t);
    curl_easy_setopt(t.curl, CURLOPT_WRITEFUNCTION, on_post);
    curl_easy_setopt(t.curl, CURLOPT_WRITEDATA, &t);
    CURLcode code = p->watch ? perform_watched(&t, p->base) : curl_easy_perform(t.curl);
    close_curl(&t);
    p->silent = p->watch && code == CURLE_OPERATION_TIMEDOUT;
    if (t.rc != 0)
        return t.rc;
    if (p->silent)
        return hd_fail(err, HD_E_IO, "the leader at %s says nothing", p->base);
    bool stopped = code == CURLE_ABORTED_BY_CALLBACK;
    return code == CURLE_OK || stopped ? 0 : failed(code, p->base, err);
}
