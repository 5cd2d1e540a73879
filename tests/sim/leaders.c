/* leaders.c - several leaders in turn, as leader/daemon/leaders.h has it: workers go from one to
 * the next, leaders stand by as long as another one serves, and clients take their answers up again
 * where they are. What one leader has is swapped into the simulation while something happens at it.
 *
 * Leaders are killed and started anew, with nothing but their options; they stand still, or nobody
 * reaches them, and go on where they were as if nothing had happened. */
#include "tests/sim/sim.h"

#include <string.h>

#define NEXT_LEADER_US 3000   /* until a worker has found the next one of its list */
#define SILENCE_US     300000 /* a worker leaves a leader that says nothing for so long */
#define PATIENCE_US    900000 /* ... a client one that says no token */
#define WANTED_US      300000 /* workers are refused, and nobody serves: taken after all */
#define LOOK_US        20000  /* between two looks of a client */

static struct sim_place *place(struct sim *s, unsigned leader)
{
    return &s->places[leader];
}

/* ---- Who is in hand ----*/

static void store(struct sim *s)
{
    struct sim_place *p = place(s, s->leader);
    p->core = s->core;
    p->actions = s->actions;
    p->next_action = s->next_action;
    p->draining = s->draining;
    p->engine = s->engine; /* what points into it does so again when it is back in its place */
    p->rows_in_hand = s->rows_in_hand;
    memcpy(p->slots, s->slots, sizeof p->slots);
    p->tick_due = s->tick_due;
    p->waiting_since = s->waiting_since;
    memcpy(p->audits, s->audits, sizeof p->audits);
}

void sim_leaders_at(struct sim *s, unsigned leader)
{
    if (s->leader == leader || s->n_leaders < 2)
        return;
    store(s);
    const struct sim_place *p = place(s, s->leader = leader);
    s->core = p->core;
    s->actions = p->actions;
    s->next_action = p->next_action;
    s->draining = p->draining;
    s->engine = p->engine;
    s->rows_in_hand = p->rows_in_hand;
    memcpy(s->slots, p->slots, sizeof s->slots);
    s->tick_due = p->tick_due;
    s->waiting_since = p->waiting_since;
    memcpy(s->audits, p->audits, sizeof s->audits);
}

static unsigned n_slots(const uint64_t *slots)
{
    unsigned n = 0;
    for (unsigned i = 0; i < HD_MAX_WORKERS; i++)
        n += slots[i] != 0;
    return n;
}

/* Somebody is with it. */
static bool is_active(struct sim *s, unsigned leader)
{
    return n_slots(leader == s->leader ? s->slots : place(s, leader)->slots) > 0;
}

static bool is_reached(struct sim *s, unsigned leader)
{
    const struct sim_place *p = place(s, leader);
    return p->running && p->stalled_until <= s->now && p->isolated_until <= s->now;
}

uint64_t sim_leaders_stalled(const struct sim *s, unsigned leader)
{
    return s->places[leader].stalled_until;
}

uint64_t sim_leaders_isolated(const struct sim *s, unsigned leader)
{
    return s->places[leader].isolated_until;
}

uint64_t sim_leaders_cut(const struct sim *s, unsigned leader, unsigned worker)
{
    return s->places[leader].cut_until[worker];
}

/* ---- Terms, and standing by ----*/

static bool goes_before(struct sim *s, unsigned a, unsigned b)
{
    const struct sim_place *p = place(s, a), *q = place(s, b);
    return p->term != q->term ? p->term > q->term : a > b;
}

/* Of the others, who serves, or is to; n_leaders: nobody. */
static unsigned who_serves(struct sim *s)
{
    bool active = is_active(s, s->leader), alone = place(s, s->leader)->isolated_until > s->now;
    for (unsigned i = 0; i < s->n_leaders && !alone; i++)
        if (i != s->leader && is_reached(s, i) && is_active(s, i) &&
            (!active || goes_before(s, i, s->leader)))
            return i;
    uint64_t wanted = place(s, s->leader)->wanted_at;
    if (wanted > 0 && s->now - wanted > WANTED_US)
        return s->n_leaders;
    for (unsigned i = 0; i < s->leader && !active && !alone; i++)
        if (is_reached(s, i))
            return i;
    return s->n_leaders;
}

static void step_down(struct sim *s)
{
    sim_note(s, "steps down", s->leader, place(s, s->leader)->term);
    sim_engine_fail_told(s, 0);
    sim_engine_fail_all(s);
    for (unsigned slot = 0; slot < HD_MAX_WORKERS; slot++) {
        struct sim_msg m = {.type = MSG_REJECT};
        if (s->slots[slot])
            sim_send_to_worker(s, s->slots[slot], &m);
    }
}

void sim_leaders_tick(struct sim *s)
{
    struct sim_place *p = place(s, s->leader);
    if (s->n_leaders < 2)
        return;
    bool was = p->standby;
    for (unsigned i = 0; i < s->n_leaders; i++)
        if (is_reached(s, i) && p->isolated_until <= s->now && place(s, i)->term > p->term)
            p->term = place(s, i)->term;
    unsigned other = who_serves(s);
    p->standby = other < s->n_leaders;
    if (is_active(s, s->leader) || (p->standby && is_active(s, other)))
        p->wanted_at = 0;
    if (p->standby && !was)
        step_down(s);
}

bool sim_leaders_greet(struct sim *s, const struct sim_msg *hello)
{
    struct sim_place *p = place(s, s->leader);
    struct sim_msg m = {.type = MSG_REJECT};
    if (s->n_leaders < 2)
        return true;
    if (p->standby) {
        s->conn_slot[hello->conn] = -2;
        p->wanted_at = p->wanted_at ? p->wanted_at : s->now;
        sim_send_to_worker(s, hello->conn, &m);
        return false;
    }
    if (hello->term > p->term)
        p->term = hello->term + is_active(s, s->leader);
    return true;
}

uint64_t sim_leaders_welcome(struct sim *s)
{
    struct sim_place *p = place(s, s->leader);
    if (s->n_leaders < 2)
        return 0;
    p->term += !is_active(s, s->leader);
    return p->term;
}

/* ---- What happens to them ----*/

static void begin(struct sim *s)
{
    struct hd_error err;
    struct sim_engine *e = &s->engine;
    if (hd_core_new(&s->core, &s->options, &err) < 0)
        sim_fail(s, "%s", err.text);
    *e = (struct sim_engine){.n_requests = s->n_clients};
    for (unsigned i = 0; i < s->n_clients; i++)
        e->requests[i] = s->clients[i].r;
    memset(s->slots, 0, sizeof s->slots);
    memset(s->audits, 0, sizeof s->audits);
    s->actions = (struct hd_actions){0};
    s->next_action = 0;
    s->draining = false;
    s->waiting_since = s->now;
    s->tick_due = s->now + s->options.detector.interval_us;
    place(s, s->leader)->running = true;
    place(s, s->leader)->standby = true; /* until it has looked at the others */
    place(s, s->leader)->term = 0;
    place(s, s->leader)->wanted_at = 0;
    struct sim_msg m = {.seq = ++place(s, s->leader)->lives};
    sim_at(s, s->tick_due, TICK, s->leader, &m);
}

static void end(struct sim *s)
{
    hd_core_free(s->core);
    hd_actions_deinit(&s->actions);
    s->core = NULL;
    s->actions = (struct hd_actions){0};
}

static void kill(struct sim *s, unsigned leader)
{
    struct sim_msg fin = {.type = MSG_FIN};
    sim_leaders_at(s, leader);
    for (uint64_t conn = 1; conn <= s->n_conns; conn++)
        if (s->conn_leader[conn] == leader) {
            s->conn_slot[conn] = -2;
            sim_send_to_worker(s, conn, &fin);
        }
    memset(s->slots, 0, sizeof s->slots);
    end(s);
    place(s, leader)->running = false;
    s->leader_deaths++;
    sim_note(s, "leader dies", leader, 0);
}

void sim_leaders_rise(struct sim *s, unsigned leader)
{
    if (place(s, leader)->running)
        return;
    sim_leaders_at(s, leader);
    begin(s);
    sim_note(s, "leader starts", leader, 0);
}

static void hold(struct sim *s, uint64_t *until)
{
    uint64_t at = s->now + sim_below(s, 900000);
    *until = at > *until ? at : *until;
}

/* Some workers, perhaps all, do not reach it for a while; others do, and the other leaders. */
static void cut(struct sim *s, unsigned leader)
{
    uint64_t until = s->now + sim_below(s, 900000);
    for (unsigned w = 0; w < s->n_workers; w++)
        if (sim_chance(s, 70) && place(s, leader)->cut_until[w] < until)
            place(s, leader)->cut_until[w] = until;
    sim_note(s, "leader is cut from workers", leader, until);
}

void sim_leaders_fault(struct sim *s, unsigned leader)
{
    if (!place(s, leader)->running)
        return;
    switch (sim_below(s, 5)) {
    case 0:
        hold(s, &place(s, leader)->stalled_until);
        sim_note(s, "leader stands still", leader, place(s, leader)->stalled_until);
        break;
    case 1:
        hold(s, &place(s, leader)->isolated_until);
        sim_note(s, "leader is alone", leader, place(s, leader)->isolated_until);
        break;
    case 2:
        cut(s, leader);
        break;
    default:
        kill(s, leader);
        if (sim_chance(s, 80))
            sim_at(s, s->now + 1000 + sim_below(s, 400000), LEADER_STARTS, leader, NULL);
    }
}

/* ---- Workers choose ----*/

bool sim_leaders_choose(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    if (s->n_leaders < 2)
        return true;
    w->leader = (w->leader + 1) % s->n_leaders;
    if (is_reached(s, w->leader) && sim_leaders_cut(s, w->leader, worker) <= s->now)
        return true;
    sim_at(s, s->now + NEXT_LEADER_US + sim_below(s, 2000), CONNECT, worker, NULL);
    return false;
}

void sim_leaders_watch(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    struct sim_msg fin = {.type = MSG_FIN};
    if (w->conn && s->now - w->heard_at > SILENCE_US) {
        sim_send_to_leader(s, worker, &fin);
        sim_worker_lost(s, worker, true);
    }
    sim_at(s, s->now + SILENCE_US / 3, WATCH, worker, NULL);
}

/* ---- Clients ----*/

void sim_leaders_told(struct sim *s, const struct sim_request *r)
{
    struct sim_client *c = &s->clients[r - s->engine.requests];
    if (s->n_leaders < 2 || c->leader != s->leader || c->life != place(s, s->leader)->lives)
        return;
    uint32_t both = r->n_tokens < c->r.n_tokens ? r->n_tokens : c->r.n_tokens;
    if (memcmp(c->r.tokens, r->tokens, both * sizeof *r->tokens) != 0)
        sim_fail(s, "request %u: tokens that its client has are other ones now",
                 (unsigned)(r - s->engine.requests));
    if (r->n_tokens > c->r.n_tokens) {
        memcpy(c->r.tokens, r->tokens, sizeof c->r.tokens);
        c->r.n_tokens = r->n_tokens;
    }
    c->heard_at = s->now;
}

static bool is_whole(const struct sim_client *c)
{
    return c->r.n_tokens == c->r.n_prompt + c->r.n_want;
}

static bool is_under_way(const struct sim_request *r)
{
    return r->sequence >= 0 || (r->submitted && r->ends == 0);
}

/* Its answer comes from a leader that is there, and has not ended. */
static bool is_answered(struct sim *s, unsigned i)
{
    struct sim_client *c = &s->clients[i];
    if (c->leader >= s->n_leaders || !place(s, c->leader)->running ||
        c->life != place(s, c->leader)->lives || s->now - c->heard_at > PATIENCE_US)
        return false;
    sim_leaders_at(s, c->leader);
    return is_under_way(&s->engine.requests[i]);
}

/* The leader hears of it as soon as it hears anything. */
static void hang_up(struct sim *s, unsigned i)
{
    struct sim_client *c = &s->clients[i];
    struct sim_msg m = {.seq = c->life, .group = c->leader};
    if (c->leader < s->n_leaders)
        sim_at(s, s->now, HANGS_UP, i, &m);
    c->leader = s->n_leaders;
}

void sim_leaders_hangs_up(struct sim *s, unsigned i, const struct sim_msg *m)
{
    if (!place(s, m->group)->running || place(s, m->group)->lives != m->seq)
        return;
    sim_leaders_at(s, m->group);
    if (is_under_way(&s->engine.requests[i]) && s->clients[i].leader != m->group)
        sim_engine_cancel(s, &s->engine.requests[i]);
}

static void ask(struct sim *s, unsigned i)
{
    struct sim_client *c = &s->clients[i];
    unsigned leader = c->next++ % s->n_leaders;
    if (!is_reached(s, leader) || place(s, leader)->standby)
        return;
    sim_leaders_at(s, leader);
    struct sim_request *r = &s->engine.requests[i];
    if (is_under_way(r))
        return;
    s->taken_up += c->r.n_tokens > c->r.n_prompt;
    sim_note(s, "is asked", i, c->r.n_tokens);
    *r = c->r;
    if (r->n_tokens > r->n_prompt && sim_chance(s, 30)) { /* the last records never came */
        r->n_tokens = r->n_prompt + (uint32_t)sim_below(s, r->n_tokens - r->n_prompt);
        memset(r->tokens + r->n_tokens, 0, (c->r.n_tokens - r->n_tokens) * sizeof *r->tokens);
    }
    r->submitted = true;
    c->leader = leader;
    c->life = place(s, leader)->lives;
    c->heard_at = s->now;
    sim_engine_kick(s);
}

void sim_leaders_client(struct sim *s, unsigned i)
{
    struct sim_client *c = &s->clients[i];
    if (is_whole(c)) {
        c->r.ends++;
        return;
    }
    if (!is_answered(s, i)) {
        hang_up(s, i);
        ask(s, i);
    }
    sim_at(s, s->now + LOOK_US / 2 + sim_below(s, LOOK_US), CLIENT, i, NULL);
}

bool sim_leaders_over(struct sim *s)
{
    for (unsigned i = 0; i < s->n_clients; i++)
        if (s->clients[i].r.ends == 0)
            return false;
    return true;
}

/* ---- Beginning, end ----*/

void sim_leaders_start(struct sim *s)
{
    s->n_leaders = 2 + (unsigned)sim_below(s, SIM_LEADERS - 1);
    s->grace_us = sim_chance(s, 85) ? 200000 + sim_below(s, 1000000) : 0;
    s->gave_up_log = true; /* a loss may cost a replay */
    s->n_clients = s->engine.n_requests;
    for (unsigned i = 0; i < s->n_clients; i++) {
        s->clients[i] = (struct sim_client){.r = s->engine.requests[i], .leader = s->n_leaders};
        sim_at(s, 1000 + sim_below(s, 700000), CLIENT, i, NULL);
    }
    end(s);
    begin(s);
    for (unsigned i = 1; i < s->n_leaders; i++) {
        sim_leaders_at(s, i);
        begin(s);
    }
    for (unsigned i = 0; i < s->n_workers; i++) {
        s->workers[i].leader = s->n_leaders - 1;
        sim_at(s, SILENCE_US, WATCH, i, NULL);
    }
    for (unsigned i = 1 + (unsigned)sim_below(s, 4); i > 0; i--)
        sim_at(s, 5000 + sim_below(s, 900000), LEADER_FAULT, (unsigned)sim_below(s, s->n_leaders),
               NULL);
}

void sim_leaders_finish(struct sim *s)
{
    for (unsigned i = 0; i < s->n_leaders; i++) {
        sim_leaders_at(s, i);
        if (place(s, i)->running)
            end(s);
    }
}
