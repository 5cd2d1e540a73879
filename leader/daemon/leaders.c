/* leaders.c - asks the other leaders what they are, and stands by as long as one of them serves. */
#include "leader/daemon/leaders.h"

#include "common/util/clock.h"
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define ATTEMPT_US 1000000 /* to reach one; then it counts as not there, and is tried again */
#define AGAIN_US   250000  /* between two attempts */
#define START_US   1500000 /* after its start one may take so long to find the others */
#define WANTED_US  1000000 /* workers may come here, and not to the one that is to serve */
#define MOST_TERMS (UINT64_MAX / 2) /* that anybody can have seen */

static unsigned n_workers(const struct hd_leader *l)
{
    unsigned n = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        n += l->slots[s] != NULL;
    return n;
}

uint64_t hd_leaders_term(const struct hd_leader *l)
{
    return n_workers(l) > 0 ? l->role.served : l->role.term;
}

static Hydac__V1__LeaderState own_state(const struct hd_leader *l)
{
    Hydac__V1__LeaderState m = HYDAC__V1__LEADER_STATE__INIT;
    m.id = l->role.id;
    m.workers = n_workers(l);
    m.active = m.workers > 0;
    m.term = hd_leaders_term(l);
    m.url = (char *)l->o.config->public_url;
    return m;
}

/* ---- The others ----*/

static bool is_there(const struct hd_other_leader *o)
{
    return !o->self && o->there;
}

static void lose(struct hd_other_leader *o)
{
    if (o->there)
        hd_info(o->leader->o.log, "leader_lost", "address=%s active=%s", o->address,
                o->active ? "yes" : "no");
    o->there = false;
    o->active = false;
    o->tried = true;
    hd_follow_lost(o);
}

static void take_url(struct hd_other_leader *o, const char *url)
{
    struct hd_leader_role *r = &o->leader->role;
    size_t n = strlen(url), at = 0;
    if (hd_address_origin(url, n) == 0 || n >= HD_LEADER_URL)
        n = 0;
    while (n > 0 && url[n - 1] == '/')
        n--;
    snprintf(o->url, sizeof o->url, "%.*s", (int)n, url);
    r->urls[0] = '\0';
    for (unsigned i = 0; i < r->n; i++)
        if (r->others[i].url[0])
            at += (size_t)snprintf(r->urls + at, sizeof r->urls - at, "%s%s", at ? " " : "",
                                   r->others[i].url);
}

static void on_frame(void *arg, struct hd_conn *conn, struct hd_frame *f)
{
    struct hd_other_leader *o = arg;
    struct hd_leader *l = o->leader;
    if (f->type == HD_FRAME_RECORDS_ACK) {
        hd_follow_acked(o, f);
        hd_frame_clear(f);
        return;
    }
    Hydac__V1__LeaderState *m = f->type == HD_FRAME_LEADER_STATE
                                    ? hydac__v1__leader_state__unpack(NULL, f->body_len, f->body)
                                    : NULL;
    if (!m) { /* another release, or none of ours */
        hd_warn(l->o.log, "strange_leader", "address=%s reason=\"a %s frame\"", o->address,
                hd_frame_type_name(f->type));
        hd_conn_close(conn, false);
    } else if (m->id == l->role.id) {
        o->self = true;
        hd_conn_close(conn, false);
    } else {
        if (!o->there || o->active != m->active)
            hd_info(l->o.log, "leader_seen", "address=%s active=%s term=%" PRIu64 " workers=%u",
                    o->address, m->active ? "yes" : "no", m->term, m->workers);
        hd_silence_heard(&o->silence, hd_now_us());
        o->there = o->tried = true;
        o->id = m->id;
        o->term = m->term;
        o->active = m->active;
        o->workers = m->workers;
        take_url(o, m->url);
        if (m->term > l->role.term)
            l->role.term = m->term;
    }
    if (m)
        hydac__v1__leader_state__free_unpacked(m, NULL);
    hd_frame_clear(f);
}

static void ask(struct hd_other_leader *o)
{
    Hydac__V1__LeaderState m = own_state(o->leader);
    if (hd_conn_send(o->conn, HD_FRAME_LEADER_STATE, &m.base, NULL) < 0)
        hd_conn_close(o->conn, false);
}

static void on_open(void *arg, struct hd_conn *conn)
{
    struct hd_other_leader *o = arg;
    o->open = true;
    ask(o);
}

static void on_close(void *arg, struct hd_conn *conn, int code, const char *why)
{
    struct hd_other_leader *o = arg;
    struct hd_leader *l = o->leader;
    o->conn = NULL;
    o->open = false;
    lose(o);
    if (l->closing)
        hd_leader_maybe_closed(l);
    else
        hd_leaders_tick(l, hd_now_us(), 0);
}

static void on_address(void *arg, int code, const struct sockaddr *addr, const char *why)
{
    struct hd_other_leader *o = arg;
    struct hd_leader *l = o->leader;
    struct hd_error err = {0};
    struct hd_conn_options options = {
        .events = {.on_open = on_open, .on_frame = on_frame, .on_close = on_close},
        .arg = o,
        .limits = {.max_body = HD_FRAME_GREETING_BODY},
        .max_queued = HD_LEADERS_QUEUED,
        .tls = l->tls,
    };
    o->resolving = false;
    if (code < 0 || l->closing || hd_conn_connect(&o->conn, l->o.loop, addr, &options, &err) < 0) {
        o->conn = NULL;
        lose(o);
    }
    hd_leader_maybe_closed(l);
}

/* One that stands still is not there, whether its connection is or not. */
static void look_after(struct hd_other_leader *o, uint64_t now, uint64_t late_us)
{
    struct hd_leader *l = o->leader;
    struct hd_error err = {0};
    if (o->self)
        return;
    hd_silence_excuse(&o->silence, late_us);
    if (o->there && hd_silence_of(&o->silence, now) > l->o.config->silence_ms * 1000)
        lose(o);
    if (o->open)
        ask(o);
    else if (o->conn && now - o->begun_us > ATTEMPT_US)
        hd_conn_close(o->conn, false);
    if (o->conn || o->resolving || (o->begun_us > 0 && now - o->begun_us < AGAIN_US))
        return;
    o->begun_us = now;
    o->resolve.nth++;
    if (hd_resolve(&o->resolve, l->o.loop, o->address, &err) == 0)
        o->resolving = true;
    else
        lose(o);
}

/* ---- What this one is ----*/

/* Of two that serve the one with the higher term stays: that under which its workers have come, not
 * what it has heard of since, or one that wakes up would take the other's for its own. Terms are
 * drawn one behind the other, so they are equal only where two began at once without seeing each
 * other. */
static bool goes_before(const struct hd_other_leader *o, const struct hd_leader *l)
{
    return o->term != l->role.served ? o->term > l->role.served : o->id > l->role.id;
}

/* Nobody serves, and workers keep coming here: those before this one in the list cannot be reached
 * by them, or take none. */
static bool is_wanted(const struct hd_leader_role *r)
{
    return r->wanted_us > 0 && hd_now_us() - r->wanted_us > WANTED_US;
}

bool hd_leaders_serve_at(const struct hd_leader *l, uint64_t term)
{
    for (unsigned i = 0; i < l->role.n; i++) {
        const struct hd_other_leader *o = &l->role.others[i];
        if (is_there(o) && o->active && o->term >= term)
            return true;
    }
    return false;
}

static const struct hd_other_leader *who_serves(const struct hd_leader *l)
{
    const struct hd_leader_role *r = &l->role;
    bool active = n_workers(l) > 0;
    for (unsigned i = 0; i < r->n; i++)
        if (is_there(&r->others[i]) && r->others[i].active &&
            (!active || goes_before(&r->others[i], l)))
            return &r->others[i];
    for (unsigned i = 0; i < r->n && !active && !is_wanted(r) && !r->others[i].self; i++)
        if (is_there(&r->others[i]))
            return &r->others[i]; /* nobody serves yet, and it stands before this one in the list */
    return NULL;
}

static bool knows_all(const struct hd_leader_role *r, uint64_t now)
{
    for (unsigned i = 0; i < r->n; i++)
        if (!r->others[i].self && !r->others[i].tried)
            return now - r->started_us > START_US;
    return true;
}

/* Its workers, if any are left, are sent to the other; its requests end. */
static void step_down(struct hd_leader *l)
{
    hd_info(l->o.log, "standby", "reason=\"%s\" workers=%u", l->role.standby, n_workers(l));
    hd_follow_step_down(l);
    hd_engine_fail(l->engine, UINT64_MAX, l->role.standby);
    for (struct hd_peer *p = l->peers; p; p = p->next)
        if (p->slot >= 0 && !p->forgotten) {
            hd_send_reject(p, HD_REJECT_STANDBY, l->role.standby);
            hd_conn_close(p->conn, true);
        }
}

void hd_leaders_tick(struct hd_leader *l, uint64_t now, uint64_t late_us)
{
    struct hd_leader_role *r = &l->role;
    if (r->n == 0 || l->closing)
        return;
    for (unsigned i = 0; i < r->n; i++)
        look_after(&r->others[i], now, late_us);
    const struct hd_other_leader *o = who_serves(l);
    bool was = r->standby[0];
    if (n_workers(l) > 0 || (o && o->active))
        r->wanted_us = 0;
    if (!knows_all(r, now))
        snprintf(r->standby, sizeof r->standby, "this leader is still looking for the others");
    else if (o)
        snprintf(r->standby, sizeof r->standby, "this leader is a standby; the one at %s serves%s",
                 o->address, o->active ? "" : ", as soon as workers are with it");
    else
        r->standby[0] = '\0';
    if (was && !r->standby[0])
        hd_info(l->o.log, "may_serve", "term=%" PRIu64, r->term);
    if (!was && r->standby[0])
        step_down(l);
    hd_follow_serve(l);
}

/* ---- Others ask ----*/

void hd_leaders_asked(struct hd_peer *p, const struct hd_frame *f)
{
    struct hd_leader *l = p->leader;
    Hydac__V1__LeaderState *m = hydac__v1__leader_state__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_peer_broke_rules(p, "LeaderState cannot be read");
        return;
    }
    if (m->term > l->role.term)
        l->role.term = m->term;
    hydac__v1__leader_state__free_unpacked(m, NULL);
    hd_conn_set_limits(p->conn, (struct hd_frame_limits){HD_FRAME_RECORDS_BODY, 0});
    p->since_us = hd_now_us(); /* it may stay, without a Hello, as long as it asks */
    Hydac__V1__LeaderState own = own_state(l);
    if (hd_conn_send(p->conn, HD_FRAME_LEADER_STATE, &own.base, NULL) < 0)
        hd_conn_close(p->conn, false);
}

void hd_leaders_refused(struct hd_leader *l)
{
    if (l->role.wanted_us == 0)
        l->role.wanted_us = hd_now_us();
}

void hd_leaders_take(struct hd_leader *l)
{
    if (n_workers(l) == 0)
        l->role.served = ++l->role.term;
}

/* It obeys nobody below; and it has left who led it, or would not be here. */
void hd_leaders_heard(struct hd_leader *l, uint64_t term)
{
    struct hd_leader_role *r = &l->role;
    if (term <= r->served || term > MOST_TERMS)
        return;
    r->term = term > r->term ? term : r->term;
    if (n_workers(l) > 0)
        r->served = ++r->term;
}

const char *hd_leaders_standby(const struct hd_leader *l)
{
    return l->role.standby[0] ? l->role.standby : NULL;
}

/* ---- Beginning, end, and what is told ----*/

int hd_leaders_init(struct hd_leader *l, struct hd_error *err)
{
    const char *list = l->o.config->leaders;
    struct hd_leader_role *r = &l->role;
    struct hd_host_port parts;
    if (!list[0])
        return 0;
    r->started_us = hd_now_us();
    if (getrandom(&r->id, sizeof r->id, 0) != sizeof r->id)
        r->id = r->started_us;
    r->n = hd_address_count(list);
    if (r->n > HD_MAX_LEADERS)
        return hd_fail(err, HD_E_CONFIG, "cluster.leaders: %u addresses; at most %d", r->n,
                       HD_MAX_LEADERS);
    for (unsigned i = 0; i < r->n; i++) {
        struct hd_other_leader *o = &r->others[i];
        hd_address_nth(list, i, o->address);
        if (hd_address_split(o->address, &parts, err) < 0) {
            hd_fail_in(err, "cluster.leaders");
            return err->code = HD_E_CONFIG;
        }
        o->leader = l;
        o->resolve.done = on_address;
        o->resolve.arg = o;
    }
    snprintf(r->standby, sizeof r->standby, "this leader is still looking for the others");
    return 0;
}

const char *hd_leaders_url(const struct hd_leader *l)
{
    const struct hd_other_leader *o = hd_leaders_standby(l) ? who_serves(l) : NULL;
    return o && o->active && o->url[0] ? o->url : NULL;
}

const char *hd_leaders_role(const struct hd_leader *l)
{
    if (l->role.n == 0)
        return NULL;
    return l->role.standby[0] ? "standby" : n_workers(l) > 0 ? "active" : "waiting";
}

void hd_leaders_close(struct hd_leader *l)
{
    for (unsigned i = 0; i < l->role.n; i++) {
        struct hd_other_leader *o = &l->role.others[i];
        if (o->resolving)
            hd_resolve_cancel(&o->resolve);
        if (o->conn)
            hd_conn_close(o->conn, false);
    }
}

bool hd_leaders_closed(const struct hd_leader *l)
{
    for (unsigned i = 0; i < l->role.n; i++)
        if (l->role.others[i].resolving || l->role.others[i].conn)
            return false;
    return true;
}

json_t *hd_leaders_json(const struct hd_leader *l)
{
    const struct hd_leader_role *r = &l->role;
    if (r->n == 0)
        return NULL;
    json_t *others = json_array();
    for (unsigned i = 0; i < r->n; i++) {
        const struct hd_other_leader *o = &r->others[i];
        if (!o->self)
            json_array_append_new(
                others, json_pack("{s:s, s:s, s:b, s:b, s:I, s:i}", "address", o->address, "url",
                                  o->url, "there", is_there(o), "active", o->active, "term",
                                  (json_int_t)o->term, "workers", (int)o->workers));
    }
    return json_pack("{s:s, s:I, s:o}", "role", hd_leaders_role(l), "term", (json_int_t)r->term,
                     "others", others);
}
