/* trace_words.c - words to events, as trace.h lists them. */
#include "tests/unit/core/trace_impl.h"

#include "common/net/frame.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned slot_of(const struct trace *t, const char *name)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (strcmp(trace_name_of(t, s), name) == 0)
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

static size_t numbers(const char *w, uint32_t *list)
{
    size_t n = 0;
    for (char *end = (char *)w; *w; w = *end ? end + 1 : end)
        list[n++] = (uint32_t)strtoul(w, &end, 10);
    return n;
}

/* SEQ:HEAD=DIGEST */
static void parse_digest_of(struct hd_event *ev, struct trace_lists *l, char *w)
{
    size_t i = ev->kv.n_digests++;
    cr_assert_lt(i, sizeof l->digests / sizeof *l->digests);
    struct hd_kv_digest *d = &l->digests[i];
    d->sequence = (uint32_t)strtoul(w, &w, 10);
    d->head = (uint32_t)strtoul(w + 1, &w, 10);
    d->digest = strtoull(w + 1, NULL, 10);
}

static void parse_kv(struct hd_event *ev, struct trace_lists *l, char **rest)
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

static void parse_half(struct hd_event *ev, struct trace_lists *l, char **rest)
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
    trace_say(t, "use");
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

/* One list for all kinds. */
static void parse_kept(struct hd_event *ev, struct trace_lists *l, char **rest)
{
    for (char *w; (w = word(rest));) {
        if (strncmp(w, "covers=", 7) == 0) {
            ev->kept.covers = strtoull(w + 7, NULL, 16);
            continue;
        }
        if (strncmp(w, "bare", 4) == 0) {
            ev->kept.bare = l->bare;
            ev->kept.n_bare = numbers(w + 4, l->bare);
            continue;
        }
        bool held = w[0] == '+';
        w += held;
        enum hd_unit_kind k = w[0] == 'h'   ? HD_UNIT_HEAD
                              : w[0] == 'f' ? HD_UNIT_FFN
                                            : HD_UNIT_VOCAB;
        uint32_t *list = held ? l->held[k] : l->kept[k];
        *(held ? &ev->kept.held[k] : &ev->kept.units[k]) = list;
        *(held ? &ev->kept.n_held[k] : &ev->kept.n[k]) = numbers(w + 1, list);
    }
}

static void parse_worker(struct trace *t, struct hd_event *ev, struct trace_lists *l, char **rest)
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
    case HD_EV_KEPT:
        parse_kept(ev, l, rest);
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
        {"hello", HD_EV_HELLO},     {"closed", HD_EV_CLOSED},     {"broke", HD_EV_BROKE_RULES},
        {"gave_up", HD_EV_GAVE_UP}, {"ack", HD_EV_ACK},           {"tick", HD_EV_TICK},
        {"kv", HD_EV_KV_RESULT},    {"open", HD_EV_SEQ_OPEN},     {"close", HD_EV_SEQ_CLOSE},
        {"fork", HD_EV_SEQ_FORK},   {"keep", HD_EV_SEQ_KEPT},     {"trim", HD_EV_SEQ_CUT},
        {"take", HD_EV_SEQ_TAKEN},  {"half", HD_EV_HALF},         {"result", HD_EV_RESULT},
        {"done", HD_EV_STEP_DONE},  {"log", HD_EV_LOG_STATE},     {"fetch", HD_EV_FETCH},
        {"rows", HD_EV_ROWS},       {"drain", HD_EV_DRAIN},       {"rebalance", HD_EV_REBALANCE},
        {"weights", HD_EV_WEIGHTS}, {"known", HD_EV_MODEL_KNOWN}, {"tested", HD_EV_SELF_TEST},
        {"audit", HD_EV_AUDIT},     {"damage", HD_EV_DAMAGE},     {"abandoned", HD_EV_REPLAYED},
        {"kept", HD_EV_KEPT},       {"adopt", HD_EV_SEQ_ADOPT},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, w) == 0)
            return words[i].type;
    cr_fatal("what is %s?", w);
    return 0;
}

/* "kept=EPOCH", "speed=N", "log=BYTES", "nolog", or "other" for a worker with another model. */
static void parse_hello(struct hd_event *ev, const char *w)
{
    ev->hello.model_digest = TRACE_DIGEST;
    ev->hello.log_limit_bytes = w && strcmp(w, "nolog") == 0 ? 0 : 1 << 20;
    if (w && strncmp(w, "speed=", 6) == 0)
        ev->hello.multiply_adds_per_s = strtoull(w + 6, NULL, 10);
    else if (w && strncmp(w, "log=", 4) == 0)
        ev->hello.log_limit_bytes = strtoull(w + 4, NULL, 10);
    else if (w && strncmp(w, "kept=", 5) == 0) {
        ev->hello.kept = true;
        ev->hello.epoch = strtoull(w + 5, NULL, 10);
    } else if (w && strcmp(w, "nolog") != 0)
        ev->hello.model_digest = TRACE_DIGEST + 1;
}

void trace_parse(struct trace *t, struct hd_event *ev, struct trace_lists *l, char *text)
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
    case HD_EV_SEQ_ADOPT:
        ev->adopt.sequence = (uint32_t)number(&rest);
        ev->adopt.base = (uint32_t)number(&rest);
        break;
    case HD_EV_SEQ_FORK:
        ev->fork.sequence = (uint32_t)number(&rest);
        ev->fork.parent = (uint32_t)number(&rest);
        ev->fork.shared = (uint32_t)number(&rest);
        break;
    case HD_EV_SEQ_CUT:
        ev->cut.sequence = (uint32_t)number(&rest);
        ev->cut.positions = (uint32_t)number(&rest);
        break;
    case HD_EV_SEQ_OPEN:
    case HD_EV_SEQ_KEPT:
    case HD_EV_SEQ_TAKEN:
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
