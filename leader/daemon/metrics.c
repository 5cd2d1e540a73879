/* metrics.c - GET /metrics: what the core, the engine and the heartbeats told, for Prometheus.
 *
 * Nobody is asked: the answer is made at once from what is known. Series are bounded: labels are a
 * worker's name (at most HD_MAX_WORKERS slots), a state, a cause, an outcome. Names that servers of
 * language models share are vLLM's behind our prefix. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"
#include "leader/metrics/exposition.h"

#include <stdlib.h>

/* What has one value for the whole leader. */
struct totals {
    double running, waiting, prompt_tokens, tokens;
    double drafted, accepted, steps_saved;
    double cache_queries, cache_hits, cache_sequences, cache_positions, cache_evictions;
    double steps, rows, wide_rows, logits_again, leader_s;
    double ready, epoch, min_workers;
    double moving, preparing, standby, standby_weights, missing, draining, filling;
    double heads_lost, heads_rebuilt, heads_ready, heads_reused;
    double rows_rebuilt, rows_kept, rows_replayed;
    double reliefs;
    double wrong_workers, quarantined;
};

/* What has one for each worker that ever joined. */
struct worker_values {
    char name[64];
    enum hd_worker_state state;
    bool connected;
    double heads, ffn_blocks, vocab_blocks, asked, answered, failures, joins, slow, share;
    /* of a connected one */
    double phi, rtt_s, rate, in, out;
    struct hd_beat_values seen;
    double damages[HD_DAMAGE_KINDS]; /* of any */
};

struct workers {
    struct worker_values list[HD_MAX_WORKERS];
    size_t n;
};

/* A family whose value is the double at `offset` of one of these. */
struct gauge {
    struct hd_family family;
    size_t offset;
};

#define TOTAL(field)  offsetof(struct totals, field)
#define WORKER(field) offsetof(struct worker_values, field)

static const struct gauge totals[] = {
    {{"hydac_num_requests_running", "gauge", "Requests that are being computed."}, TOTAL(running)},
    {{"hydac_num_requests_waiting", "gauge", "Requests in the queue."}, TOTAL(waiting)},
    {{"hydac_prompt_tokens_total", "counter", "Tokens of prompts computed."}, TOTAL(prompt_tokens)},
    {{"hydac_prefix_cache_queries_total", "counter", "Tokens of prompts that were looked for."},
     TOTAL(cache_queries)},
    {{"hydac_prefix_cache_hits_total", "counter", "... whose rows were there."}, TOTAL(cache_hits)},
    {{"hydac_prefix_cache_sequences", "gauge", "Ended requests whose rows are kept."},
     TOTAL(cache_sequences)},
    {{"hydac_prefix_cache_positions", "gauge", "Positions of theirs, shared ones once."},
     TOTAL(cache_positions)},
    {{"hydac_prefix_cache_evictions_total", "counter", "Ended requests whose rows are not kept."},
     TOTAL(cache_evictions)},
    {{"hydac_spec_decode_num_draft_tokens_total", "counter", "Tokens guessed."}, TOTAL(drafted)},
    {{"hydac_spec_decode_num_accepted_tokens_total", "counter", "... that came."}, TOTAL(accepted)},
    {{"hydac_steps_saved_total", "counter", "Steps made unnecessary by these."},
     TOTAL(steps_saved)},
    {{"hydac_generation_tokens_total", "counter", "Tokens generated."}, TOTAL(tokens)},
    {{"hydac_steps_total", "counter", "Steps: batches of rows through all layers."}, TOTAL(steps)},
    {{"hydac_rows_total", "counter", "Rows of these steps."}, TOTAL(rows)},
    {{"hydac_wide_rows_total", "counter", "Row sums that needed 64 bits."}, TOTAL(wide_rows)},
    {{"hydac_logits_again_total", "counter", "Steps whose sampling needed every logit of a row."},
     TOTAL(logits_again)},
    {{"hydac_leader_compute_seconds_total", "counter", "Time in the leader's own arithmetic."},
     TOTAL(leader_s)},
    {{"hydac_cluster_ready", "gauge", "1 when requests are served, else 0."}, TOTAL(ready)},
    {{"hydac_cluster_epoch", "gauge", "Number of the present plan."}, TOTAL(epoch)},
    {{"hydac_cluster_min_workers", "gauge", "Workers that the first plan waits for."},
     TOTAL(min_workers)},
    {{"hydac_cluster_moving", "gauge", "1 while workers prepare for a new plan, else 0."},
     TOTAL(moving)},
    {{"hydac_cluster_workers_preparing", "gauge", "Workers that are not ready for it."},
     TOTAL(preparing)},
    {{"hydac_cluster_standby_copies", "gauge", "Copies that recovery.standby asks for."},
     TOTAL(standby)},
    {{"hydac_cluster_standby_weights", "gauge",
      "Copies of weights alone that recovery.standby_weights asks for."},
     TOTAL(standby_weights)},
    {{"hydac_cluster_units_without_copy", "gauge", "Units with fewer copies than are asked for."},
     TOTAL(missing)},
    {{"hydac_cluster_workers_draining", "gauge", "Connected workers that are to own nothing."},
     TOTAL(draining)},
    {{"hydac_cluster_logs_filling", "gauge", "Input logs, by sequence, that are completed now."},
     TOTAL(filling)},
    {{"hydac_heads_lost_total", "counter", "KV heads that lost workers owned."}, TOTAL(heads_lost)},
    {{"hydac_heads_rebuilt_total", "counter", "KV heads computed anew by survivors."},
     TOTAL(heads_rebuilt)},
    {{"hydac_heads_ready_total", "counter",
      "KV heads that survivors held ready: nothing computed."},
     TOTAL(heads_ready)},
    {{"hydac_heads_reused_total", "counter", "KV heads that stayed where they were at a loss."},
     TOTAL(heads_reused)},
    {{"hydac_kv_rows_rebuilt_total", "counter", "K/V rows computed from input logs after losses."},
     TOTAL(rows_rebuilt)},
    {{"hydac_kv_rows_kept_total", "counter", "K/V rows untouched by losses."}, TOTAL(rows_kept)},
    {{"hydac_rows_replayed_total", "counter", "Tokens run again from the start after losses."},
     TOTAL(rows_replayed)},
    {{"hydac_relief_total", "counter",
      "Times that units went away from a worker because it had become slow."},
     TOTAL(reliefs)},
    {{"hydac_wrong_workers_total", "counter", "Workers cut off because they computed wrong bits."},
     TOTAL(wrong_workers)},
    {{"hydac_workers_quarantined", "gauge", "Names that are refused because of that."},
     TOTAL(quarantined)},
};

static const struct gauge of_workers[] = {
    {{"hydac_worker_heads", "gauge", "KV heads that the worker owns."}, WORKER(heads)},
    {{"hydac_worker_ffn_blocks", "gauge", "FFN blocks that it owns."}, WORKER(ffn_blocks)},
    {{"hydac_worker_vocab_blocks", "gauge", "Vocabulary blocks that it owns."},
     WORKER(vocab_blocks)},
    {{"hydac_worker_half_steps_total", "counter", "Half-steps asked of it."}, WORKER(asked)},
    {{"hydac_worker_half_steps_answered_total", "counter", "Half-steps that it answered in time."},
     WORKER(answered)},
    {{"hydac_worker_failures_total", "counter", "Times that it was lost."}, WORKER(failures)},
    {{"hydac_worker_slow", "gauge", "1 while it takes a multiple of its usual time, else 0."},
     WORKER(slow)},
    {{"hydac_worker_share", "gauge", "Of its units that it is to keep while it is slow; 1: all."},
     WORKER(share)},
    {{"hydac_worker_joins_total", "counter", "Times that it joined."}, WORKER(joins)},
};

static const struct gauge of_connected[] = {
    {{"hydac_worker_phi", "gauge",
      "Suspicion that it is dead: -log10 of the chance that it still lives."},
     WORKER(phi)},
    {{"hydac_worker_round_trip_seconds", "gauge", "Smoothed round trip of heartbeats."},
     WORKER(rtt_s)},
    {{"hydac_worker_link_bytes_per_second", "gauge", "Measured rate of its link; 0: not yet."},
     WORKER(rate)},
    {{"hydac_worker_received_bytes_total", "counter", "Bytes from it, of this connection."},
     WORKER(in)},
    {{"hydac_worker_sent_bytes_total", "counter", "Bytes to it, of this connection."}, WORKER(out)},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static double value_at(const void *base, size_t offset)
{
    return *(const double *)((const char *)base + offset);
}

/* ---- Reading ----*/

static void read_totals(const struct hd_leader *l, struct totals *t)
{
    struct hd_engine_stats s;
    const struct hd_recoveries *r = &l->recoveries;
    hd_engine_get_stats(l->engine, &s);
    *t = (struct totals){
        .running = s.running,
        .waiting = s.waiting,
        .prompt_tokens = (double)s.prompt_tokens,
        .tokens = (double)s.tokens,
        .cache_queries = (double)s.asked_tokens,
        .drafted = (double)s.drafted,
        .accepted = (double)s.accepted,
        .steps_saved = (double)s.steps_saved,
        .cache_hits = (double)s.reused_tokens,
        .cache_sequences = s.kept,
        .cache_positions = (double)s.kept_positions,
        .cache_evictions = (double)s.evictions,
        .steps = (double)s.steps,
        .rows = (double)s.rows,
        .wide_rows = (double)s.wide_rows,
        .logits_again = (double)s.logits_again,
        .leader_s = (double)s.leader_us / 1e6,
        .ready = hd_core_state(l->core) == HD_CLUSTER_READY,
        .epoch = (double)hd_core_epoch(l->core),
        .min_workers = (double)l->o.config->min_workers,
        .heads_lost = (double)r->heads_lost,
        .heads_rebuilt = (double)r->heads_rebuilt,
        .heads_ready = (double)r->heads_ready,
        .heads_reused = (double)r->heads_reused,
        .rows_rebuilt = (double)r->rows_rebuilt,
        .rows_kept = (double)r->rows_kept,
        .rows_replayed = (double)r->rows_replayed,
        .reliefs = (double)hd_core_reliefs(l->core),
        .wrong_workers = (double)hd_core_audit_totals(l->core)->wrong,
    };
    uint64_t left;
    for (size_t i = 0; hd_core_quarantined(l->core, i, hd_now_us(), &left); i++)
        t->quarantined++;
}

static void read_moves(const struct hd_leader *l, struct totals *t)
{
    const struct hd_leader_config *config = l->o.config;
    const struct hd_units *u = &l->units;
    struct hd_move_view m;
    struct hd_worker_view v;
    hd_core_move_view(l->core, &m);
    t->moving = m.moving;
    t->preparing = m.preparing;
    double copies = hd_config_copies(config);
    t->standby = m.kv ? copies : 0;
    t->standby_weights = m.kv ? 0 : copies;
    /* The core asks for what the present workers can hold; too few of them, and each unit lacks. */
    t->missing = m.copies < copies ? u->heads + u->ffn_blocks + u->vocab_blocks : m.missing;
    for (unsigned slot = 0; slot < HD_MAX_WORKERS; slot++) {
        if (!l->slots[slot] || !hd_core_worker(l->core, slot, hd_now_us(), &v))
            continue;
        t->draining += v.draining;
        t->filling += v.logs_filled;
    }
}

static void read_connection(const struct hd_peer *p, struct worker_values *w)
{
    w->connected = true;
    w->seen = p->seen;
    w->in = (double)hd_conn_bytes_in(p->conn);
    w->out = (double)hd_conn_bytes_out(p->conn);
}

static bool read_worker(const struct hd_leader *l, unsigned slot, struct worker_values *w)
{
    const struct hd_plan *plan = hd_core_plan(l->core);
    struct hd_worker_view v;
    if (!hd_core_worker(l->core, slot, hd_now_us(), &v))
        return false;
    *w = (struct worker_values){
        .state = v.state,
        .heads = hd_plan_owned(plan, HD_UNIT_HEAD, slot, NULL),
        .ffn_blocks = hd_plan_owned(plan, HD_UNIT_FFN, slot, NULL),
        .vocab_blocks = hd_plan_owned(plan, HD_UNIT_VOCAB, slot, NULL),
        .asked = (double)v.steps,
        .answered = (double)v.answered,
        .failures = (double)v.failures,
        .joins = (double)v.joins,
        .slow = v.pace != HD_PACE_STEADY,
        .share = v.share,
        .phi = v.phi,
        .rtt_s = v.rtt_ms / 1e3,
        .rate = v.rate,
    };
    snprintf(w->name, sizeof w->name, "%s", v.name);
    for (int k = 0; k < HD_DAMAGE_KINDS; k++)
        w->damages[k] = (double)l->damages[slot][k];
    if (l->slots[slot])
        read_connection(l->slots[slot], w);
    return true;
}

static void read_workers(const struct hd_leader *l, struct workers *w)
{
    w->n = 0;
    for (unsigned slot = 0; slot < HD_MAX_WORKERS; slot++)
        if (read_worker(l, slot, &w->list[w->n]))
            w->n++;
}

/* ---- Writing ----*/

static void put_info(FILE *out, const struct hd_leader *l)
{
    char digest[17];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)l->model->digest);
    const struct hd_label build[] = {
        {"version", HYDAC_VERSION}, {"cluster_tls", l->tls ? "on" : "off"}, {0}};
    const struct hd_label model[] = {{"model_name", l->model->name}, {"digest", digest}, {0}};
    hd_exposition_family(out, &(struct hd_family){"hydac_build_info", "gauge", "Always 1."});
    hd_exposition_sample(out, "hydac_build_info", build, 1);
    hd_exposition_family(out, &(struct hd_family){"hydac_model_info", "gauge", "Always 1."});
    hd_exposition_sample(out, "hydac_model_info", model, 1);
}

static void put_by_cause(FILE *out, const struct hd_leader *l, const struct hd_family *f,
                         const struct hd_histogram h[HD_LOSS_CAUSES])
{
    const char *policy = hd_policies[l->o.config->recovery].name;
    hd_exposition_family(out, f);
    for (int cause = 0; cause < HD_LOSS_CAUSES; cause++) {
        const struct hd_label labels[] = {
            {"policy", policy}, {"cause", hd_loss_cause_name(cause)}, {0}};
        hd_exposition_histogram(out, f->name, labels, &h[cause]);
    }
}

static void put_recoveries(FILE *out, const struct hd_leader *l)
{
    static const struct hd_family detect = {"hydac_failover_detection_seconds", "histogram",
                                            "From a lost worker's last sign of life to its loss."};
    static const struct hd_family stall = {
        "hydac_failover_stall_seconds", "histogram",
        "From a lost worker's last sign of life to the interrupted work done."};
    put_by_cause(out, l, &detect, l->recoveries.detect);
    put_by_cause(out, l, &stall, l->recoveries.stall);
}

static void put_audits(FILE *out, const struct hd_leader *l)
{
    static const struct hd_family f = {"hydac_audits_total", "counter",
                                       "Answers of workers that another one computed too, or "
                                       "should have, by what came of it."};
    const struct hd_audit_totals *t = hd_core_audit_totals(l->core);
    const struct {
        const char *result;
        uint64_t n;
    } results[] = {{"equal", t->equal},
                   {"unequal", t->unequal},
                   {"undecided", t->undecided},
                   {"not_audited", t->not_audited}};
    hd_exposition_family(out, &f);
    for (size_t i = 0; i < COUNT(results); i++) {
        const struct hd_label labels[] = {{"result", results[i].result}, {0}};
        hd_exposition_sample(out, f.name, labels, (double)results[i].n);
    }
}

static void put_damages(FILE *out, const struct workers *w)
{
    static const struct hd_family f = {"hydac_worker_damage_total", "counter",
                                       "What it found damaged, by kind."};
    hd_exposition_family(out, &f);
    for (size_t i = 0; i < w->n; i++)
        for (int k = 0; k < HD_DAMAGE_KINDS; k++) {
            const struct hd_label labels[] = {
                {"worker", w->list[i].name}, {"kind", hd_damage_name((enum hd_damage)k)}, {0}};
            hd_exposition_sample(out, f.name, labels, w->list[i].damages[k]);
        }
}

static void put_states(FILE *out, const struct workers *w)
{
    static const struct hd_family f = {"hydac_worker_state", "gauge",
                                       "1 for the state that the worker is in, else 0."};
    static const enum hd_worker_state states[] = {HD_WORKER_ONLINE, HD_WORKER_SUSPECT,
                                                  HD_WORKER_OFFLINE};
    hd_exposition_family(out, &f);
    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k < COUNT(states); k++) {
            const struct hd_label labels[] = {
                {"worker", w->list[i].name}, {"state", hd_worker_state_name(states[k])}, {0}};
            hd_exposition_sample(out, f.name, labels, w->list[i].state == states[k]);
        }
}

static void put_of_workers(FILE *out, const struct workers *w, const struct gauge *g, bool offline)
{
    hd_exposition_family(out, &g->family);
    for (size_t i = 0; i < w->n; i++) {
        const struct hd_label labels[] = {{"worker", w->list[i].name}, {0}};
        if (offline || w->list[i].connected)
            hd_exposition_sample(out, g->family.name, labels, value_at(&w->list[i], g->offset));
    }
}

static void put_beat(FILE *out, const struct workers *w, size_t i)
{
    const struct hd_beat *b = &hd_beats[i];
    hd_exposition_family(out, &b->metric);
    for (size_t k = 0; k < w->n; k++) {
        const struct hd_label labels[] = {{"worker", w->list[k].name}, {0}};
        double value = (double)w->list[k].seen.v[i] / b->unit;
        if (w->list[k].connected)
            hd_exposition_sample(out, b->metric.name, labels, value);
    }
}

static void put_all(FILE *out, const struct hd_leader *l)
{
    struct totals t;
    struct workers w;
    read_totals(l, &t);
    read_moves(l, &t);
    read_workers(l, &w);
    put_info(out, l);
    for (size_t i = 0; i < COUNT(totals); i++) {
        hd_exposition_family(out, &totals[i].family);
        hd_exposition_sample(out, totals[i].family.name, NULL, value_at(&t, totals[i].offset));
    }
    hd_traffic_expose(out, &l->traffic);
    hd_serving_expose(out, &l->serving);
    put_recoveries(out, l);
    put_audits(out, l);
    put_damages(out, &w);
    put_states(out, &w);
    for (size_t i = 0; i < COUNT(of_workers); i++)
        put_of_workers(out, &w, &of_workers[i], true);
    for (size_t i = 0; i < COUNT(of_connected); i++)
        put_of_workers(out, &w, &of_connected[i], false);
    for (size_t i = 0; i < hd_n_beats; i++)
        put_beat(out, &w, i);
}

char *hd_metrics_text(void *leader)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    put_all(out, leader);
    bool bad = ferror(out);
    if (fclose(out) == 0 && !bad)
        return text;
    free(text);
    return NULL;
}
