/* feed.c - those who watch the cluster.
 *
 * Happy path: asked for -> the status and the plan at once -> each event when it happens, a status
 * each second -> the client goes. The text of an event is made once for all.
 *
 * Failure modes: 1. a client reads too slowly: it misses statuses, the next one makes up for them;
 * when it does not read at all it is cut off; 2. too many watch: 503; 3. the API is closed: the
 * streams end. */
#include "leader/api/feed.h"

#include "common/util/clock.h"
#include "leader/api/call.h"
#include "leader/api/handlers.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WATCHERS 64u          /* a text is copied for each */
#define LATE_BYTES   (64u << 10)  /* unsent: no further status until it has read */
#define MOST_BYTES   (512u << 10) /* ... it does not read at all */
#define STATUS_MS    1000u
#define SOON_MS      40u /* from a change to the next status: more changes may follow */

bool hd_feed_is_watched(const struct hd_api *a)
{
    return a && a->watchers > 0;
}

/* "event: NAME", "data: JSON" and a blank line, malloc'ed; takes the object over. */
static char *event_text(const char *event, json_t *o, size_t *len)
{
    struct hd_text t = {0};
    int rc = o ? json_object_set_new(o, "at_ms", json_real((double)hd_now_us() / 1e3)) : -1;
    char *json = rc == 0 ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    const char *const parts[] = {"event: ", event, "\ndata: ", json ? json : "", "\n\n"};
    for (size_t i = 0; json && rc == 0 && i < sizeof parts / sizeof *parts; i++)
        rc = hd_text_add(&t, parts[i], strlen(parts[i]));
    free(json);
    json_decref(o);
    if (!json || rc < 0)
        hd_text_deinit(&t);
    *len = t.len;
    return t.data;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct hd_api *a = h->data;
    free(h);
    a->handles--;
    hd_api_maybe_closed(a);
}

/* It watches no more, if it did. */
static void leave(struct hd_call *c)
{
    struct hd_api *a = c->api;
    if (!c->own)
        return;
    c->own = NULL;
    if (--a->watchers > 0)
        return;
    uv_close((uv_handle_t *)a->feed_timer, on_timer_closed);
    a->feed_timer = NULL;
}

static void on_cancel(struct hd_call *c)
{
    leave(c);
}

static void free_nothing(void *own)
{
}

/* While it watches `own` is the API. */
static const struct hd_call_work watching = {.cancel = on_cancel, .free = free_nothing};

static bool watches(const struct hd_call *c)
{
    return c->work == &watching && c->own;
}

static void add(struct hd_call *c, const char *text, size_t len, bool can_miss)
{
    size_t unsent = c->out.len - c->out_sent;
    if (c->gone || c->ended || (can_miss && unsent > LATE_BYTES))
        return;
    if (unsent + len > MOST_BYTES || hd_text_add(&c->out, text, len) < 0) {
        hd_warn(c->api->o.log, "http_cut_off", "why=slow_watcher");
        c->gone = true;
        leave(c); /* its connection may end much later */
    }
    hd_call_wake(c);
}

static void tell_all(struct hd_api *a, const char *event, json_t *o, bool can_miss)
{
    size_t len;
    char *text = event_text(event, o, &len);
    for (struct hd_call *c = a->calls; text && c; c = c->next)
        if (watches(c))
            add(c, text, len, can_miss);
    free(text);
}

static void on_status_due(uv_timer_t *t)
{
    struct hd_api *a = t->data;
    tell_all(a, "status", a->o.backend.overview(a->o.backend.arg, false), true);
}

void hd_feed_tell(struct hd_api *a, const char *event, json_t *o)
{
    tell_all(a, event, o, false);
    if (a->feed_timer)
        uv_timer_start(a->feed_timer, on_status_due, SOON_MS, STATUS_MS);
}

/* ---- Coming and going ---- */

static int start_timer(struct hd_api *a)
{
    uv_timer_t *t = a->feed_timer ? NULL : malloc(sizeof *t);
    if (!t)
        return a->feed_timer ? 0 : HD_E_NOMEM;
    uv_timer_init(a->o.loop, t);
    t->data = a;
    a->handles++;
    a->feed_timer = t;
    uv_timer_start(t, on_status_due, STATUS_MS, STATUS_MS);
    return 0;
}

void hd_feed_end(struct hd_api *a)
{
    for (struct hd_call *c = a->calls; c; c = c->next)
        if (watches(c)) {
            c->ended = true;
            hd_call_wake(c);
        }
}

static void refuse(struct hd_call *c)
{
    struct hd_refusal r;
    hd_refuse(&r, 503, NULL, "too_many_watchers",
              "%u clients watch the cluster already; try again later.", MAX_WATCHERS);
    hd_call_refuse(c, &r);
}

void hd_get_events(struct hd_call *c, const char *rest)
{
    struct hd_api *a = c->api;
    const struct hd_api_backend *b = &a->o.backend;
    size_t n_status, n_plan;
    if (a->watchers >= MAX_WATCHERS || a->draining || start_timer(a) < 0) {
        refuse(c);
        return;
    }
    a->watchers++;
    c->work = &watching;
    c->own = a;
    c->state = HD_CALL_STREAMING;
    c->idle = ": keep-alive\n\n";
    hd_call_watch(c);
    char *status = event_text("status", b->overview(b->arg, true), &n_status);
    char *plan = event_text("plan", b->plan(b->arg), &n_plan);
    if (!status || !plan || hd_text_add(&c->out, status, n_status) < 0 ||
        hd_text_add(&c->out, plan, n_plan) < 0)
        c->gone = true;
    free(status);
    free(plan);
}
