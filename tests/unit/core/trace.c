/* trace.c - a word a line to an event, an action to a word: the language of the golden traces. */
#include "tests/unit/core/trace_impl.h"

#include "common/net/frame.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        .model_digest = TRACE_DIGEST,
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

void trace_say(struct trace *t, const char *fmt, ...)
{
    size_t n = strlen(t->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->text + n, sizeof t->text - n, fmt, ap);
    va_end(ap);
}

const char *trace_name_of(const struct trace *t, unsigned slot)
{
    struct hd_worker_view v;
    return hd_core_worker(t->core, slot, t->now_us, &v) ? v.name : "?";
}

static void say_list(struct trace *t, const uint32_t *list, uint32_t n, const char *before)
{
    for (uint32_t i = 0; i < n; i++)
        trace_say(t, "%s%" PRIu32, i == 0 ? before : ",", list[i]);
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
    say_list(t, list, hd_holds_bare(&a->assign.all->hold, a->slot, list), " bare");
}

static void say_needs(struct trace *t, const struct hd_orders *all, uint64_t of)
{
    const struct hd_seq_need *need = all->needs;
    for (size_t i = 0; i < all->n_needs; i++) {
        if (!(of >> need[i].sequence & 1))
            continue;
        if (need[i].replayed)
            trace_say(t, " s%" PRIu32 "=replayed", need[i].sequence);
        else
            trace_say(t, " s%" PRIu32 "=%" PRIu32, need[i].sequence, need[i].base);
        if (need[i].shared > 0)
            trace_say(t, "<s%" PRIu32 ":%" PRIu32, need[i].parent, need[i].shared);
        for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
            if (need[i].inflight[g])
                trace_say(t, "%s%" PRIu32 "@%" PRIu32, g ? "+b" : "+", need[i].inflight[g],
                          all->layers_done[g]);
    }
}

/* What is owned stands in an assignment, what is held besides behind a plus in both. */
static void say_assign(struct trace *t, const struct hd_action *a)
{
    if (a->type == HD_ACT_PREPARE) {
        trace_say(t, "prepare %s e%" PRIu64 " r%" PRIu64, trace_name_of(t, a->slot), a->epoch,
                  a->assign.round);
    } else {
        trace_say(t, "assign %s e%" PRIu64, trace_name_of(t, a->slot), a->epoch);
        say_owned(t, a);
    }
    say_held(t, a);
    if (a->assign.clear)
        trace_say(t, " clear");
    say_needs(t, a->assign.all, UINT64_MAX);
}

static void say_fetch(struct trace *t, const struct hd_action *a, const char *what)
{
    const struct hd_fetch *f = &a->fetch;
    trace_say(t, "%s %s for %s#%" PRIu64 " s%" PRIu32 "l%" PRIu32 " %" PRIu32 "+%" PRIu32, what,
              trace_name_of(t, a->slot), trace_name_of(t, f->requester), f->id, f->sequence,
              f->layer, f->position, f->count);
}

static void say_failover(struct trace *t, const struct hd_action *a)
{
    const struct hd_failover *f = &a->failover;
    t->failover = *f;
    trace_say(t, "failover %s %s e%" PRIu64 " lost=%u reused=%u rebuilt=%u", f->worker,
              hd_loss_cause_name(f->cause), f->epoch, f->heads_lost, f->heads_reused,
              f->heads_rebuilt);
    if (f->heads_ready)
        trace_say(t, " ready=%u", f->heads_ready);
    trace_say(t, " positions=%" PRIu64, f->positions);
}

static void say_trust(struct trace *t, const struct hd_action *a)
{
    const char *name = trace_name_of(t, a->slot);
    switch (a->type) {
    case HD_ACT_SELF_TEST:
        trace_say(t, "test %s", name);
        break;
    case HD_ACT_AUDIT:
        trace_say(t, "ask %s#%" PRIu64 " of %s r%" PRIu64 "%s", name, a->audit.number,
                  trace_name_of(t, a->audit.subject), a->audit.round,
                  a->audit.again ? " again" : "");
        break;
    case HD_ACT_AUDITED:
        trace_say(t, "audited r%" PRIu64, a->round);
        break;
    case HD_ACT_ROWS_DIFFER:
        trace_say(t, "rows differ %s %s s%" PRIx64, name, trace_name_of(t, a->rows.subject),
                  a->rows.sequences);
        break;
    case HD_ACT_DIFFER:
        trace_say(t, "differ %s %s", name, trace_name_of(t, a->differ.subject));
        break;
    case HD_ACT_WRONG:
        trace_say(t, "wrong %s since %" PRIu64, a->wrong.name, a->wrong.since_us / 1000);
        break;
    case HD_ACT_DOUBT:
        trace_say(t, "doubt %s %s since %" PRIu64, name, trace_name_of(t, a->doubt.subject),
                  a->doubt.since_us / 1000);
        break;
    case HD_ACT_FAILING:
        trace_say(t, "failing %s", name);
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
    const char *name = trace_name_of(t, a->slot);
    switch (a->type) {
    case HD_ACT_WELCOME:
        trace_say(t, "welcome %s", name);
        break;
    case HD_ACT_REJECT:
        trace_say(t, "reject %s",
                  a->reject.code == HD_REJECT_MODEL   ? "model"
                  : a->reject.code == HD_REJECT_NAME  ? "name"
                  : a->reject.code == HD_REJECT_WRONG ? "wrong"
                                                      : "full");
        break;
    case HD_ACT_CLOSE:
        trace_say(t, "cut %s%s", name, a->close.text ? " with a word" : "");
        break;
    case HD_ACT_HEARTBEAT:
        trace_say(t, "beat %s", name);
        break;
    case HD_ACT_PREPARE:
    case HD_ACT_ASSIGN:
        say_assign(t, a);
        break;
    case HD_ACT_SEQ_OPEN:
    case HD_ACT_SEQ_CLOSE:
        trace_say(t, "%s %s s%" PRIu32, a->type == HD_ACT_SEQ_OPEN ? "open" : "close", name,
                  a->sequence);
        break;
    case HD_ACT_SEQ_FORK:
        trace_say(t, "fork %s s%" PRIu32 "<s%" PRIu32 ":%" PRIu32, name, a->fork.sequence,
                  a->fork.parent, a->fork.shared);
        break;
    case HD_ACT_SEQ_CUT:
        trace_say(t, "trim %s s%" PRIu32 ":%" PRIu32, name, a->cut.sequence, a->cut.positions);
        break;
    case HD_ACT_FORGET:
        trace_say(t, "forget %" PRIx64, a->sequences);
        break;
    case HD_ACT_SEND_HALF:
        trace_say(t, "send %s e%" PRIu64 "%s", name, a->epoch, group_of(a));
        break;
    case HD_ACT_RESET_HALF:
        trace_say(t, "reset%s", group_of(a));
        break;
    case HD_ACT_DROP_RESULT:
        trace_say(t, "drop");
        break;
    case HD_ACT_HALF_DONE:
        trace_say(t, "half done%s", group_of(a));
        break;
    case HD_ACT_READY:
        trace_say(t, "ready");
        break;
    case HD_ACT_NOT_READY:
        trace_say(t, "not ready");
        break;
    case HD_ACT_REPLAY:
        trace_say(t, "replay %" PRIx64, a->sequences);
        break;
    case HD_ACT_WORKER_STATE:
        trace_say(t, "%s %s", name, hd_worker_state_name(a->member.state));
        if (a->member.state == HD_WORKER_OFFLINE)
            trace_say(t, " %s", hd_loss_cause_name(a->member.cause));
        break;
    case HD_ACT_BUG:
        cr_fatal("%s", a->bug);
        break;
    case HD_ACT_FORGOTTEN:
        trace_say(t, "%s forgotten", a->name);
        break;
    case HD_ACT_FAILOVER:
        say_failover(t, a);
        break;
    case HD_ACT_FILL:
        trace_say(t, "fill %s", name);
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
        trace_say(t, "drained %s", name);
        break;
    case HD_ACT_PACE:
        trace_say(t, "%s %s share=%.2f", name, hd_pace_name(a->pace.pace), a->pace.share);
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
            trace_say(t, "; ");
        say_action(t, &a);
        if (a.type == HD_ACT_REPLAY) {
            struct hd_event ev = {.type = HD_EV_REPLAYED, .sequences = a.sequences};
            give(t, &ev);
        }
    }
    hd_actions_clear(&t->actions);
}

const char *trace_event(struct trace *t, const char *event)
{
    struct hd_event ev = {0};
    struct trace_lists l;
    char text[256];
    snprintf(text, sizeof text, "%s", event);
    trace_parse(t, &ev, &l, text);
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
