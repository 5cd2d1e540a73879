/* fixture.c - the API on a free port, a backend that obeys the test, and clients on plain sockets.
 */
#include "fixture.h"
#include "stub_tokenizer.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_MS   10
#define MAX_TURNS 2000 /* without any progress: a hang fails the test */

static int fake_submit(void *arg, const struct hd_request_options *o,
                       const struct hd_request_events *ev, void *ev_arg, struct hd_request **out,
                       struct hd_error *err)
{
    struct fixture *f = arg;
    if (f->submit_rc < 0)
        return hd_fail(err, f->submit_rc, "the backend says no");
    if (f->room > 0 && f->n_requests == f->room)
        return hd_fail(err, HD_E_LIMIT, "the queue is full");
    cr_assert_lt(f->n_requests, MAX_FAKE);
    struct hd_request *r = &f->requests[f->n_requests++];
    *r = (struct hd_request){.o = *o, .ev = *ev, .arg = ev_arg};
    r->tokens = malloc(o->n_tokens * sizeof *r->tokens);
    memcpy(r->tokens, o->tokens, o->n_tokens * sizeof *r->tokens);
    r->o.tokens = r->tokens;
    r->o.known = NULL; /* they are the API's */
    *out = r;
    return 0;
}

static void fake_cancel(void *arg, struct hd_request *r)
{
    cr_assert_not(r->ended, "a request that has ended was cancelled");
    cr_assert_not(r->cancelled, "cancelled twice");
    r->cancelled = true;
}

static const char *fake_digest(void *arg)
{
    const struct fixture *f = arg;
    return f->digest;
}

static const char *fake_not_ready(void *arg)
{
    struct fixture *f = arg;
    return f->not_ready;
}

static int fake_drain(void *arg, const char *worker, bool on, struct hd_error *err)
{
    struct fixture *f = arg;
    if (strcmp(worker, "w1") != 0)
        return hd_fail(err, HD_E_NOTFOUND, "no worker named \"%s\" is connected", worker);
    f->drained += on ? 1 : -1;
    return 0;
}

static void fake_rebalance(void *arg)
{
    struct fixture *f = arg;
    f->rebalanced++;
}

static void fake_status(void *arg, void (*done)(void *done_arg, json_t *status), void *done_arg)
{
    struct fixture *f = arg;
    f->status_done = done;
    f->status_arg = done_arg;
    if (!f->hold_status)
        done(done_arg, json_pack("{s:s}", "kind", "status"));
}

static json_t *fake_overview(void *arg, bool whole)
{
    struct fixture *f = arg;
    f->overviews++;
    return json_pack("{s:b, s:s%}", "whole", whole, "padding", f->padding ? f->padding : "",
                     f->padding ? strlen(f->padding) : 0);
}

static json_t *fake_plan(void *arg)
{
    return json_pack("{s:i}", "epoch", 7);
}

static char *fake_metrics(void *arg)
{
    struct fixture *f = arg;
    return f->no_metrics ? NULL : strdup("toy_up 1\n");
}

static struct hd_record *fake_begun(void *arg, const struct hd_record_begin *b,
                                    void (*sure)(void *arg), void *sure_arg, bool *wait)
{
    struct fixture *f = arg;
    f->begun++;
    f->sure = sure;
    f->sure_arg = sure_arg;
    *wait = f->hold;
    struct hd_record *r = hd_book_begin(&f->book, b);
    cr_assert_not_null(r);
    return r;
}

static void fake_sampled(void *arg, struct hd_record *r, unsigned choice, uint32_t index,
                         int32_t id)
{
    struct fixture *f = arg;
    cr_assert_leq(index, r->answers[choice].n);
    if (index == r->answers[choice].n)
        cr_assert(hd_book_add(&f->book, r, choice, &id, 1));
    cr_assert_eq(r->answers[choice].ids[index], id);
}

static void fake_ended(void *arg, struct hd_record *r, bool whole)
{
    struct fixture *f = arg;
    f->ended++;
    f->sure = NULL;
    hd_book_end(&f->book, r, false);
}

static const char *fake_role(void *arg)
{
    return ((struct fixture *)arg)->role;
}

static const char *fake_elsewhere(void *arg)
{
    return ((struct fixture *)arg)->elsewhere;
}

void fixture_open(struct fixture *f, const struct fixture_options *o)
{
    struct fixture_options none = {0};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct hd_error err = {0};
    o = o ? o : &none;
    *f = (struct fixture){.digest = "00112233445566ff",
                          .log = {.level = HD_LOG_ERROR, .fd = 2, .who = "test"}};
    stub_begin();
    uv_loop_init(&f->loop);
    struct hd_api_options a = {
        .loop = &f->loop,
        .log = &f->log,
        .listen = (struct sockaddr *)&any,
        .max_body = o->max_body,
        .max_bodies = o->max_bodies,
        .max_connections = o->max_connections,
        .request_ms = o->request_ms,
        .keep_alive_ms = o->keep_alive_ms,
        .api_key_file = o->api_key_file,
        .admin_key_file = o->admin_key_file,
        .allowed_hosts = o->allowed_hosts,
        .allowed_origins = o->allowed_origins,
        .leaders = o->leaders,
        .backend = {.arg = f,
                    .model = "toy",
                    .aliases = o->aliases,
                    .any_model = o->any_model,
                    .created = 1234567,
                    .context = 64,
                    .vocab = 512,
                    .dim = FAKE_DIM,
                    .pooled = o->pooled,
                    .tokenizer = o->no_tokenizer ? NULL : stub_tokenizer,
                    .bound = {.most = o->bytes_a_token},
                    .submit = fake_submit,
                    .cancel = fake_cancel,
                    .model_digest = fake_digest,
                    .not_ready = fake_not_ready,
                    .drain = fake_drain,
                    .rebalance = fake_rebalance,
                    .status = fake_status,
                    .overview = fake_overview,
                    .plan = fake_plan,
                    .metrics = fake_metrics,
                    .begun = o->records ? fake_begun : NULL,
                    .sampled = fake_sampled,
                    .ended = fake_ended,
                    .role = fake_role,
                    .elsewhere = fake_elsewhere,
                    .serving = &f->serving},
        .keep_s = o->keep_s,
    };
    memset(a.backend.bound.kept, true, sizeof a.backend.bound.kept);
    hd_serving_init(&f->serving);
    cr_assert_eq(hd_api_new(&f->api, &a, &err), 0, "%s", err.text);
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;
    f->closed = true;
}

void fixture_close(struct fixture *f)
{
    hd_api_close(f->api, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    cr_assert(f->closed);
    cr_assert_eq(uv_loop_close(&f->loop), 0, "a handle was left open");
    for (unsigned i = 0; i < f->n_requests; i++) {
        cr_assert(f->requests[i].ended || f->requests[i].cancelled, "request %u was left", i);
        free(f->requests[i].tokens);
    }
    cr_assert_null(f->book.first, "a record was left");
}

static void turn(struct fixture *f, const struct client *c)
{
    struct pollfd fds[2] = {{.fd = uv_backend_fd(&f->loop), .events = POLLIN},
                            {.fd = c && !c->eof ? c->fd : -1, .events = POLLIN}};
    int timeout = uv_backend_timeout(&f->loop);
    poll(fds, 2, timeout >= 0 && timeout < TURN_MS ? timeout : TURN_MS);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

void fixture_turn(struct fixture *f)
{
    turn(f, NULL);
}

/* ---- The backend ----*/
struct hd_request *fake_request(struct fixture *f, unsigned i)
{
    for (int k = 0; f->n_requests <= i; k++) {
        cr_assert_lt(k, MAX_TURNS, "nothing was submitted");
        turn(f, NULL);
    }
    return &f->requests[i];
}

void fake_token(struct hd_request *r, int32_t id)
{
    struct hd_logprob top[2] = {{id, -0.5f}, {'z', -1.5f}};
    struct hd_token_event t = {
        .index = (uint32_t)r->o.n_known + r->answered++, .id = id, .logprob = -0.5f};
    t.top = top;
    t.n_top = r->o.top_logprobs < 2 ? r->o.top_logprobs : 2;
    r->ev.on_token(r->arg, &t);
}

void fake_text(struct hd_request *r, const char *text)
{
    for (; *text; text++)
        fake_token(r, (unsigned char)*text);
}

void fake_end(struct hd_request *r, enum hd_finish how)
{
    static const struct hd_failover lost = {.policy = "reuse",
                                            .worker = "w2",
                                            .cause = HD_LOSS_SILENT,
                                            .epoch = 3,
                                            .heads_lost = 1,
                                            .stall_ms = 12.5};
    struct hd_request_end end = {.finish = how,
                                 .error = how == HD_FINISH_ERROR ? "no worker is left" : NULL,
                                 .prompt_tokens = (uint32_t)r->o.n_tokens,
                                 .completion_tokens = r->answered,
                                 .timings = {.prefill_ms = 2, .max_gap_ms = 7},
                                 .failovers = &lost,
                                 .n_failovers = 1};
    r->ended = true;
    r->ev.on_end(r->arg, &end);
}

void fake_pooled(struct hd_request *r, const double v[FAKE_DIM])
{
    struct hd_request_end end = {
        .finish = HD_FINISH_STOP, .prompt_tokens = (uint32_t)r->o.n_tokens, .pooled = v};
    r->ended = true;
    r->ev.on_end(r->arg, &end);
}

void fake_until_cancelled(struct fixture *f, struct hd_request *r)
{
    for (int k = 0; !r->cancelled; k++) {
        cr_assert_lt(k, MAX_TURNS, "the request was not cancelled");
        turn(f, NULL);
    }
}

/* ---- Clients ----*/
void client_open(struct fixture *f, struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)hd_api_port(f->api))};
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0), .in = calloc(1, 1)};
    cr_assert_eq(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

void client_close(struct client *c)
{
    close(c->fd);
    free(c->in);
    *c = (struct client){.fd = -1};
}

void client_send(struct client *c, const char *text)
{
    cr_assert_eq(send(c->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

void client_send_large(struct fixture *f, struct client *c, const char *text)
{
    for (size_t at = 0, len = strlen(text); at < len;) {
        ssize_t n = send(c->fd, text + at, len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        at += n > 0 ? (size_t)n : 0;
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
}

void client_post(struct client *c, const char *path, const char *body)
{
    char head[256];
    snprintf(head, sizeof head,
             "POST %s HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             path, strlen(body));
    client_send(c, head);
    client_send(c, body);
}

void client_get(struct client *c, const char *path)
{
    char head[256];
    snprintf(head, sizeof head, "GET %s HTTP/1.0\r\n\r\n", path);
    client_send(c, head);
}

static void client_read(struct client *c)
{
    char buf[65536];
    ssize_t n = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n > 0) {
        c->in = realloc(c->in, c->n + (size_t)n + 1);
        memcpy(c->in + c->n, buf, (size_t)n);
        c->n += (size_t)n;
        c->in[c->n] = '\0';
    }
    c->eof |= n == 0;
}

void client_until(struct fixture *f, struct client *c, const char *needle)
{
    for (int k = 0; !strstr(c->in, needle); k++) {
        cr_assert_lt(k, MAX_TURNS, "'%s' did not come, but: %s", needle, c->in);
        cr_assert_not(c->eof, "the end before '%s': %s", needle, c->in);
        turn(f, c);
        client_read(c);
    }
}

void client_until_eof(struct fixture *f, struct client *c)
{
    for (int k = 0; !c->eof; k++) {
        cr_assert_lt(k, MAX_TURNS, "the connection did not end: %s", c->in);
        turn(f, c);
        client_read(c);
    }
}

int client_status(const struct client *c)
{
    int status = 0;
    sscanf(c->in, "HTTP/1.%*d %d", &status);
    return status;
}

json_t *client_json(const struct client *c)
{
    const char *body = strstr(c->in, "\r\n\r\n");
    json_error_t bad;
    json_t *v = body ? json_loads(body, 0, &bad) : NULL;
    cr_assert_not_null(v, "no JSON in: %s", c->in);
    return v;
}

json_t *client_event(const struct client *c, size_t i)
{
    const char *p = c->in;
    for (; (p = strstr(p, "data: {")); p++)
        if (i-- == 0)
            return json_loads(p + 6, JSON_DISABLE_EOF_CHECK, NULL);
    return NULL;
}

void exchange(struct fixture *f, struct client *c, const char *path, const char *body)
{
    client_open(f, c);
    if (body)
        client_post(c, path, body);
    else
        client_get(c, path);
    client_until_eof(f, c);
}

json_t *at(json_t *v, const char *path)
{
    char key[64];
    while (*path && v) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        v = json_is_array(v) ? json_array_get(v, strtoul(key, NULL, 10)) : json_object_get(v, key);
        path += n + (path[n] == '.');
    }
    return v;
}
