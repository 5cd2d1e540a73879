/* trace.c - a word a line to an event, an action to a word: the language of the golden traces. */
#include "tests/unit/core/trace.h"

#include "common/net/frame.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST 77

struct hd_core_options trace_options(void)
{
    return (struct hd_core_options){
        .units = {4, 4, 2},
        .n_layers = 2,
        .min_workers = 2,
        .strategy = hd_strategy_find("even"),
        .detector = hd_detector_defaults(50000),
        .step_deadline_us = 2000000,
        .assign_deadline_us = 2000000,
        .model_digest = DIGEST,
    };
}

void trace_init(struct trace *t, const struct hd_core_options *o)
{
    struct hd_error err;
    *t = (struct trace){.now_us = 1000000};
    cr_assert(hd_core_new(&t->core, o, &err) == 0, "%s", err.text);
}

void trace_deinit(struct trace *t)
{
    hd_core_free(t->core);
    hd_actions_deinit(&t->actions);
}

/* ---- Actions to words ----*/

static void say(struct trace *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct trace *t, const char *fmt, ...)
{
    size_t n = strlen(t->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->text + n, sizeof t->text - n, fmt, ap);
    va_end(ap);
}

static const char *name_of(const struct trace *t, unsigned slot)
{
    struct hd_worker_view v;
    return hd_core_worker(t->core, slot, t->now_us, &v) ? v.name : "?";
}

static void say_list(struct trace *t, const uint32_t *list, uint32_t n, const char *before)
{
    for (uint32_t i = 0; i < n; i++)
        say(t, "%s%" PRIu32, i == 0 ? before : ",", list[i]);
}

static void say_owned(struct trace *t, const struct hd_action *a)
{
    static const char *const before[] = {" h", " f", " v"};
    uint32_t list[64];
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        say_list(t, list, hd_plan_owned(&a->assign.all->plan, k, a->slot, list), before[k]);
}

static void say_held(struct trace *t, const struct hd_action *a)
{
    static const char *const before[] = {" +h", " +f", " +v"};
    uint32_t list[64];
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        say_list(t, list, hd_holds_list(&a->assign.all->hold, k, a->slot, list), before[k]);
}

static void say_needs(struct trace *t, const struct hd_orders *all, uint64_t of)
{
    const struct hd_seq_need *need = all->needs;
    for (size_t i = 0; i < all->n_needs; i++) {
        if (!(of >> need[i].sequence & 1))
            continue;
        if (need[i].replayed)
            say(t, " s%" PRIu32 "=replayed", need[i].sequence);
        else
            say(t, " s%" PRIu32 "=%" PRIu32, need[i].sequence, need[i].base);
        for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
            if (need[i].inflight[g])
                say(t, "%s%" PRIu32 "@%" PRIu32, g ? "+b" : "+", need[i].inflight[g],
                    all->layers_done[g]);
    }
}

/* What is owned stands in an assignment, what is held besides behind a plus in both. */
static void say_assign(struct trace *t, const struct hd_action *a)
{
    if (a->type == HD_ACT_PREPARE) {
        say(t, "prepare %s e%" PRIu64 " r%" PRIu64, name_of(t, a->slot), a->epoch, a->assign.round);
    } else {
        say(t, "assign %s e%" PRIu64, name_of(t, a->slot), a->epoch);
        say_owned(t, a);
    }
    say_held(t, a);
    if (a->assign.clear)
        say(t, " clear");
    say_needs(t, a->assign.all, UINT64_MAX);
}

static void say_fetch(struct trace *t, const struct hd_action *a, const char *what)
{
    const struct hd_fetch *f = &a->fetch;
    say(t, "%s %s for %s#%" PRIu64 " s%" PRIu32 "l%" PRIu32 " %" PRIu32 "+%" PRIu32, what,
        name_of(t, a->slot), name_of(t, f->requester), f->id, f->sequence, f->layer, f->position,
        f->count);
}

static void say_failover(struct trace *t, const struct hd_action *a)
{
    const struct hd_failover *f = &a->failover;
    t->failover = *f;
    say(t, "failover %s %s e%" PRIu64 " lost=%u reused=%u rebuilt=%u", f->worker,
        hd_loss_cause_name(f->cause), f->epoch, f->heads_lost, f->heads_reused, f->heads_rebuilt);
    if (f->heads_ready)
        say(t, " ready=%u", f->heads_ready);
    say(t, " positions=%" PRIu64, f->positions);
}

static void say_trust(struct trace *t, const struct hd_action *a)
{
    const char *name = name_of(t, a->slot);
    switch (a->type) {
    case HD_ACT_SELF_TEST:
        say(t, "test %s", name);
        break;
    case HD_ACT_AUDIT:
        say(t, "ask %s#%" PRIu64 " of %s r%" PRIu64 "%s", name, a->audit.number,
            name_of(t, a->audit.subject), a->audit.round, a->audit.again ? " again" : "");
        break;
    case HD_ACT_AUDITED:
        say(t, "audited r%" PRIu64, a->round);
        break;
    case HD_ACT_ROWS_DIFFER:
        say(t, "rows differ %s %s s%" PRIx64, name, name_of(t, a->rows.subject), a->rows.sequences);
        break;
    case HD_ACT_DIFFER:
        say(t, "differ %s %s", name, name_of(t, a->differ.subject));
        break;
    case HD_ACT_WRONG:
        say(t, "wrong %s since %" PRIu64, a->wrong.name, a->wrong.since_us / 1000);
        break;
    case HD_ACT_DOUBT:
        say(t, "doubt %s %s since %" PRIu64, name, name_of(t, a->doubt.subject),
            a->doubt.since_us / 1000);
        break;
    case HD_ACT_FAILING:
        say(t, "failing %s", name);
        break;
    default:
        cr_fatal("an action without words");
    }
}

static const char *group_of(const struct hd_action *a)
{
    return a->group ? " b" : "";
}

static void say_action(struct trace *t, const struct hd_action *a)
{
    const char *name = name_of(t, a->slot);
    switch (a->type) {
    case HD_ACT_WELCOME:
        say(t, "welcome %s", name);
        break;
    case HD_ACT_REJECT:
        say(t, "reject %s",
            a->reject.code == HD_REJECT_MODEL   ? "model"
            : a->reject.code == HD_REJECT_NAME  ? "name"
            : a->reject.code == HD_REJECT_WRONG ? "wrong"
                                                : "full");
        break;
    case HD_ACT_CLOSE:
        say(t, "cut %s%s", name, a->close.text ? " with a word" : "");
        break;
    case HD_ACT_HEARTBEAT:
        say(t, "beat %s", name);
        break;
    case HD_ACT_PREPARE:
    case HD_ACT_ASSIGN:
        say_assign(t, a);
        break;
    case HD_ACT_SEQ_OPEN:
    case HD_ACT_SEQ_CLOSE:
        say(t, "%s %s s%" PRIu32, a->type == HD_ACT_SEQ_OPEN ? "open" : "close", name, a->sequence);
        break;
    case HD_ACT_SEND_HALF:
        say(t, "send %s e%" PRIu64 "%s", name, a->epoch, group_of(a));
        break;
    case HD_ACT_RESET_HALF:
        say(t, "reset%s", group_of(a));
        break;
    case HD_ACT_DROP_RESULT:
        say(t, "drop");
        break;
    case HD_ACT_HALF_DONE:
        say(t, "half done%s", group_of(a));
        break;
    case HD_ACT_READY:
        say(t, "ready");
        break;
    case HD_ACT_NOT_READY:
        say(t, "not ready");
        break;
    case HD_ACT_REPLAY:
        say(t, "replay %" PRIx64, a->sequences);
        break;
    case HD_ACT_WORKER_STATE:
        say(t, "%s %s", name, hd_worker_state_name(a->member.state));
        if (a->member.state == HD_WORKER_OFFLINE)
            say(t, " %s", hd_loss_cause_name(a->member.cause));
        break;
    case HD_ACT_BUG:
        cr_fatal("%s", a->bug);
        break;
    case HD_ACT_FORGOTTEN:
        say(t, "%s forgotten", a->name);
        break;
    case HD_ACT_FAILOVER:
        say_failover(t, a);
        break;
    case HD_ACT_FILL:
        say(t, "fill %s", name);
        say_needs(t, a->fill.all, a->fill.sequences);
        break;
    case HD_ACT_FETCH:
        say_fetch(t, a, "fetch from");
        break;
    case HD_ACT_ROWS:
        say_fetch(t, a, "rows to");
        break;
    case HD_ACT_NO_ROWS:
        say_fetch(t, a, "no rows to");
        break;
    case HD_ACT_DRAINED:
        say(t, "drained %s", name);
        break;
    case HD_ACT_PACE:
        say(t, "%s %s share=%.2f", name, hd_pace_name(a->pace.pace), a->pace.share);
        break;
    default:
        say_trust(t, a);
        break;
    }
}

static void give(struct trace *t, struct hd_event *ev)
{
    ev->now_us = t->now_us;
    cr_assert(hd_core_step(t->core, ev, &t->actions) == 0);
    const char *broken = hd_core_check(t->core);
    cr_assert(broken == NULL, "broken: %s", broken);
}

/* Carries the actions out in order; the list grows meanwhile, as it does in the daemon. */
static void perform(struct trace *t)
{
    for (size_t i = 0; i < t->actions.n; i++) {
        struct hd_action a = t->actions.list[i];
        if (t->text[0])
            say(t, "; ");
        say_action(t, &a);
        if (a.type == HD_ACT_REPLAY) {
            struct hd_event ev = {.type = HD_EV_REPLAYED, .sequences = a.sequences};
            give(t, &ev);
        }
    }
    hd_actions_clear(&t->actions);
}

/* ---- Words to events ----*/

static unsigned slot_of(const struct trace *t, const char *name)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (strcmp(name_of(t, s), name) == 0)
            return s;
    cr_fatal("no worker %s", name);
    return 0;
}

static char *word(char **rest)
{
    return strtok_r(NULL, " ", rest);
}

static uint64_t number(char **rest)
{
    const char *w = word(rest);
    cr_assert(w != NULL);
    return strtoull(w, NULL, 10);
}

static enum hd_half half_of(const char *w)
{
    return w[0] == 'A' ? HD_HALF_ATTENTION : w[0] == 'F' ? HD_HALF_FFN : HD_HALF_LOGITS;
}

struct lists {
    uint32_t heads[16], gaps[16], ready[16];
    struct hd_kv_digest digests[16];
    struct hd_seq_rows rows[16];
};

static size_t numbers(const char *w, uint32_t *list)
{
    size_t n = 0;
    for (char *end = (char *)w; *w; w = *end ? end + 1 : end)
        list[n++] = (uint32_t)strtoul(w, &end, 10);
    return n;
}

/* SEQ:HEAD=DIGEST */
static void parse_digest_of(struct hd_event *ev, struct lists *l, char *w)
{
    size_t i = ev->kv.n_digests++;
    cr_assert_lt(i, sizeof l->digests / sizeof *l->digests);
    struct hd_kv_digest *d = &l->digests[i];
    d->sequence = (uint32_t)strtoul(w, &w, 10);
    d->head = (uint32_t)strtoul(w + 1, &w, 10);
    d->digest = strtoull(w + 1, NULL, 10);
}

static void parse_kv(struct hd_event *ev, struct lists *l, char **rest)
{
    ev->kv.epoch = number(rest);
    ev->kv.heads = l->heads;
    ev->kv.gaps = l->gaps;
    ev->kv.ready = l->ready;
    ev->kv.digests = l->digests;
    for (char *w = word(rest); w; w = word(rest)) {
        if (strncmp(w, "heads=", 6) == 0)
            ev->kv.n_heads = numbers(w + 6, l->heads);
        else if (strncmp(w, "gaps=", 5) == 0)
            ev->kv.n_gaps = numbers(w + 5, l->gaps);
        else if (strncmp(w, "ready=", 6) == 0)
            ev->kv.n_ready = numbers(w + 6, l->ready);
        else if (strncmp(w, "rows:", 5) == 0)
            parse_digest_of(ev, l, w + 5);
        else if (strncmp(w, "round=", 6) == 0)
            ev->kv.round = strtoull(w + 6, NULL, 10);
        else if (strncmp(w, "rows=", 5) == 0)
            ev->kv.rows_rebuilt = strtoull(w + 5, NULL, 10);
        else if (strncmp(w, "kept=", 5) == 0)
            ev->kv.rows_kept = strtoull(w + 5, NULL, 10);
        else
            cr_fatal("what is %s?", w);
    }
}

static void parse_half(struct hd_event *ev, struct lists *l, char **rest)
{
    struct hd_half_info *ask = &ev->half;
    ask->step = number(rest);
    const char *half = word(rest);
    ask->half = half_of(half);
    ask->groups = half[1] ? 2 : 1;
    ask->group = half[1] == 'b';
    ask->layer = (uint32_t)number(rest);
    ask->rows = l->rows;
    for (char *w = word(rest); w; w = word(rest)) {
        char *end;
        uint32_t sequence = (uint32_t)strtoul(w, &end, 10);
        l->rows[ask->n_rows++] =
            (struct hd_seq_rows){sequence, (uint32_t)strtoul(end + 1, NULL, 10)};
    }
}

static void parse_tick(struct trace *t, struct hd_event *ev, char **rest)
{
    t->now_us += number(rest) * 1000;
    if (word(rest))
        ev->late_us = number(rest) * 1000;
}

/* fetch NAME ID SEQ LAYER POSITION COUNT | rows NAME ID COUNT for NAME */
static void parse_fetch(struct trace *t, struct hd_event *ev, char **rest)
{
    ev->fetch.id = number(rest);
    if (ev->type == HD_EV_FETCH) {
        ev->fetch.sequence = (uint32_t)number(rest);
        ev->fetch.layer = (uint32_t)number(rest);
        ev->fetch.position = (uint32_t)number(rest);
        ev->fetch.count = (uint32_t)number(rest);
        return;
    }
    ev->fetch.count = (uint32_t)number(rest);
    word(rest); /* for */
    ev->fetch.requester = slot_of(t, word(rest));
}

/* "on", "off", or "leaving": by itself */
static void parse_drain(struct hd_event *ev, const char *w)
{
    ev->drain.on = strcmp(w, "off") != 0;
    ev->drain.leaving = strcmp(w, "leaving") == 0;
}

static uint64_t digest(char **rest)
{
    const char *w = word(rest);
    return w ? strtoull(w, NULL, 10) : 0;
}

static void parse_audit(struct hd_event *ev, char **rest)
{
    ev->audit.number = number(rest);
    const char *w = word(rest);
    ev->audit.cannot = strcmp(w, "cannot") == 0;
    ev->audit.digest = strtoull(w, NULL, 10);
}

static int use_result(void *arg, uint64_t audit, uint64_t *digest)
{
    struct trace *t = arg;
    say(t, "use");
    t->audit = audit;
    *digest = t->digest;
    return 0;
}

static void parse_result(struct trace *t, struct hd_event *ev, char **rest)
{
    ev->result.epoch = number(rest);
    ev->result.step = number(rest);
    const char *half = word(rest);
    ev->result.half = half_of(half);
    ev->result.group = half[1] == 'b';
    ev->result.layer = (uint32_t)number(rest);
    ev->result.use = use_result;
    ev->result.arg = t;
    t->digest = digest(rest);
}

/* "memory", or a sequence that is to be replayed */
static void parse_damage(struct hd_event *ev, const char *w)
{
    ev->damage.memory = strcmp(w, "memory") == 0;
    ev->damage.replay = !ev->damage.memory;
    ev->damage.sequence = (uint32_t)strtoul(w, NULL, 10);
}

/* "complete", "gap", or "damaged": it can be completed again. */
static void parse_log_state(struct hd_event *ev, const char *state)
{
    ev->log.complete = strcmp(state, "complete") == 0;
    ev->log.again = strcmp(state, "damaged") == 0;
}

static void parse_worker(struct trace *t, struct hd_event *ev, struct lists *l, char **rest)
{
    const char *w;
    ev->slot = slot_of(t, word(rest));
    switch (ev->type) {
    case HD_EV_ACK:
        w = word(rest);
        ev->ack.sent_us = t->now_us - (w ? strtoull(w, NULL, 10) : 300);
        break;
    case HD_EV_KV_RESULT:
        parse_kv(ev, l, rest);
        break;
    case HD_EV_RESULT:
        parse_result(t, ev, rest);
        break;
    case HD_EV_SELF_TEST:
        ev->digest = digest(rest);
        break;
    case HD_EV_AUDIT:
        parse_audit(ev, rest);
        break;
    case HD_EV_DAMAGE:
        parse_damage(ev, word(rest));
        break;
    case HD_EV_LOG_STATE:
        ev->log.sequence = (uint32_t)number(rest);
        parse_log_state(ev, word(rest));
        break;
    case HD_EV_FETCH:
    case HD_EV_ROWS:
        parse_fetch(t, ev, rest);
        break;
    case HD_EV_DRAIN:
        parse_drain(ev, word(rest));
        break;
    default:
        break;
    }
}

static enum hd_event_type type_of(const char *w)
{
    static const struct {
        const char *word;
        enum hd_event_type type;
    } words[] = {
        {"hello", HD_EV_HELLO},       {"closed", HD_EV_CLOSED},
        {"broke", HD_EV_BROKE_RULES}, {"ack", HD_EV_ACK},
        {"tick", HD_EV_TICK},         {"kv", HD_EV_KV_RESULT},
        {"open", HD_EV_SEQ_OPEN},     {"close", HD_EV_SEQ_CLOSE},
        {"half", HD_EV_HALF},         {"result", HD_EV_RESULT},
        {"done", HD_EV_STEP_DONE},    {"log", HD_EV_LOG_STATE},
        {"fetch", HD_EV_FETCH},       {"rows", HD_EV_ROWS},
        {"drain", HD_EV_DRAIN},       {"rebalance", HD_EV_REBALANCE},
        {"weights", HD_EV_WEIGHTS},   {"known", HD_EV_MODEL_KNOWN},
        {"tested", HD_EV_SELF_TEST},  {"audit", HD_EV_AUDIT},
        {"damage", HD_EV_DAMAGE},     {"abandoned", HD_EV_REPLAYED},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, w) == 0)
            return words[i].type;
    cr_fatal("what is %s?", w);
    return 0;
}

/* "speed=N", "log=BYTES", "nolog", or "other" for a worker with another model. */
static void parse_hello(struct hd_event *ev, const char *w)
{
    ev->hello.model_digest = DIGEST;
    ev->hello.log_limit_bytes = w && strcmp(w, "nolog") == 0 ? 0 : 1 << 20;
    if (w && strncmp(w, "speed=", 6) == 0)
        ev->hello.multiply_adds_per_s = strtoull(w + 6, NULL, 10);
    else if (w && strncmp(w, "log=", 4) == 0)
        ev->hello.log_limit_bytes = strtoull(w + 4, NULL, 10);
    else if (w && strcmp(w, "nolog") != 0)
        ev->hello.model_digest = DIGEST + 1;
}

static void parse(struct trace *t, struct hd_event *ev, struct lists *l, char *text)
{
    char *rest;
    ev->type = type_of(strtok_r(text, " ", &rest));
    switch (ev->type) {
    case HD_EV_HELLO:
        ev->hello.conn = ++t->next_conn;
        ev->hello.name = word(&rest);
        parse_hello(ev, word(&rest));
        break;
    case HD_EV_TICK:
        parse_tick(t, ev, &rest);
        break;
    case HD_EV_SEQ_OPEN:
    case HD_EV_SEQ_CLOSE:
        ev->sequence = (uint32_t)number(&rest);
        break;
    case HD_EV_HALF:
        parse_half(ev, l, &rest);
        break;
    case HD_EV_STEP_DONE:
    case HD_EV_REPLAYED:
    case HD_EV_MODEL_KNOWN:
    case HD_EV_REBALANCE:
        break;
    default:
        parse_worker(t, ev, l, &rest);
        break;
    }
}

const char *trace_event(struct trace *t, const char *event)
{
    struct hd_event ev = {0};
    struct lists l;
    char text[256];
    snprintf(text, sizeof text, "%s", event);
    parse(t, &ev, &l, text);
    t->text[0] = 0;
    give(t, &ev);
    perform(t);
    return t->text;
}

void trace_play(struct trace *t, const struct trace_line *lines)
{
    for (; lines->event; lines++) {
        const char *got = trace_event(t, lines->event);
        cr_assert(strcmp(got, lines->actions) == 0, "\n  %s\n  gave     %s\n  expected %s",
                  lines->event, got, lines->actions);
    }
}

void trace_start(struct trace *t, unsigned workers, const struct hd_core_options *o)
{
    struct hd_core_options usual = trace_options();
    trace_init(t, o ? o : &usual);
    if (workers >= 2) {
        trace_event(t, "hello w1");
        trace_event(t, "hello w2");
        trace_event(t, "kv w1 1 heads=0,1");
        trace_event(t, "kv w2 1 heads=2,3");
    }
    if (workers >= 3) {
        trace_event(t, "hello w3"); /* it is made ready for its share, then has it */
        trace_event(t, "kv w3 1 round=1");
        trace_event(t, "kv w1 2");
        trace_event(t, "kv w2 2");
        trace_event(t, "kv w3 2 heads=3 ready=3");
    }
    cr_assert(hd_core_state(t->core) == (workers ? HD_CLUSTER_READY : HD_CLUSTER_WAITING));
}
