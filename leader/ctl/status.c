/* status.c - hydac status: the cluster as a table, or as the leader's JSON. */
#include "leader/ctl/ctl.h"
#include "leader/ctl/http.h"
#include "leader/ctl/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char about[] = "hydac status [OPTIONS]\n"
                            "\n"
                            "Shows model, workers with what each owns, recoveries and totals.\n";

static const char *text_of(const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    return s ? s : "-";
}

static double number_of(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static double mb_of(const json_t *v, const char *key)
{
    return number_of(v, key) / 1e6;
}

static void print_cluster(const json_t *s)
{
    const json_t *m = json_object_get(s, "model"), *c = json_object_get(s, "cluster");
    const json_t *e = json_object_get(s, "engine");
    const char *reason = json_string_value(json_object_get(c, "reason"));
    printf("model    %s  (%.0f layers, %.0f heads, %.0f KV heads, context %.0f)\n",
           text_of(m, "name"), number_of(m, "layers"), number_of(m, "heads"),
           number_of(m, "kv_heads"), number_of(m, "context"));
    printf("cluster  %s%s%s  epoch %.0f, recovery %s, strategy %s\n", text_of(c, "state"),
           reason && *reason ? ": " : "", reason ? reason : "", number_of(c, "epoch"),
           text_of(c, "recovery"), text_of(c, "strategy"));
    printf("engine   %.0f running, %.0f waiting; %.0f requests, %.0f prompt tokens, %.0f tokens\n",
           number_of(e, "running"), number_of(e, "waiting"), number_of(e, "requests"),
           number_of(e, "prompt_tokens"), number_of(e, "tokens"));
}

static void print_per_row(const json_t *steps, const char *of)
{
    if (number_of(steps, "rows") > 0)
        printf("; a token of %s: %.1f KB down, %.1f KB up", of,
               number_of(steps, "down_per_row") / 1e3, number_of(steps, "up_per_row") / 1e3);
}

static void print_traffic(const json_t *s)
{
    const json_t *c = json_object_get(s, "cluster"), *t = json_object_get(c, "traffic");
    printf("wire     %s", text_of(c, "wire"));
    print_per_row(json_object_get(t, "decode"), "answers");
    print_per_row(json_object_get(t, "prefill"), "prompts");
    putchar('\n');
}

static void print_advice(const json_t *s)
{
    const json_t *c = json_object_get(s, "cluster"), *a = json_object_get(s, "advice");
    const json_t *m = json_object_get(c, "moves");
    if (json_is_object(a))
        printf("advice   recovery %s: %s\n", text_of(a, "policy"), text_of(a, "why"));
    if (number_of(m, "standby_copies") > 0)
        printf("standby  %.0f copies of each unit, %.0f units without\n",
               number_of(m, "standby_copies"), number_of(m, "units_without_copy"));
    if (number_of(m, "standby_weights") > 0)
        printf("standby  %.0f copies of each unit's weights, %.0f units without\n",
               number_of(m, "standby_weights"), number_of(m, "units_without_copy"));
    if (json_is_true(json_object_get(m, "moving")))
        printf("moving   %.0f workers prepare for units they are to take over\n",
               number_of(m, "preparing"));
}

static void format_heads(const json_t *heads, char *out, size_t size)
{
    size_t i, n = 0;
    json_t *h;
    snprintf(out, size, "-");
    json_array_foreach((json_t *)heads, i, h)
    {
        int k = snprintf(out + n, size - n, "%s%d", i ? "," : "", (int)json_integer_value(h));
        if (k < 0 || (size_t)k >= size - n)
            return;
        n += (size_t)k;
    }
}

/* What a person wants to know first: why it owns nothing, or holds up the others. */
static const char *state_of(const json_t *worker)
{
    const char *state = text_of(worker, "state"), *pace = text_of(worker, "pace");
    if (json_is_true(json_object_get(worker, "draining")))
        return "draining";
    bool online = strcmp(state, "online") == 0 && *pace != '-';
    return online && strcmp(pace, "steady") != 0 ? pace : state;
}

/* Sentences of the leader's about workers that limit something. */
static void print_notes(const json_t *s)
{
    size_t i;
    json_t *note;
    json_array_foreach(json_object_get(json_object_get(s, "cluster"), "notes"), i, note)
        printf("note     %s\n", json_string_value(note));
}

static void print_workers(const json_t *list)
{
    size_t i;
    json_t *w;
    printf("\n%-16s %-8s %-14s %5s %6s %8s %8s %6s %8s %8s %8s %8s\n", "worker", "state", "heads",
           "ffn", "vocab", "seen ms", "rtt ms", "fails", "success", "kv MB", "log MB", "rss MB");
    json_array_foreach((json_t *)list, i, w)
    {
        char heads[64];
        format_heads(json_object_get(w, "heads"), heads, sizeof heads);
        const char *state = state_of(w);
        printf("%-16s %-8s %-14s %5.0f %6.0f %8.0f %8.2f %6.0f %7.2f%% %8.1f %8.1f %8.1f\n",
               text_of(w, "name"), state, heads, number_of(w, "ffn_blocks"),
               number_of(w, "vocab_blocks"), number_of(w, "last_seen_ms"), number_of(w, "rtt_ms"),
               number_of(w, "failures"), 100 * number_of(w, "success_rate"), mb_of(w, "kv_bytes"),
               mb_of(w, "log_bytes"), mb_of(w, "rss_bytes"));
    }
}

/* Who runs another release than the leader: in the middle of an upgrade, or forgotten by one. */
static void print_releases(const json_t *s)
{
    const char *leader = text_of(json_object_get(s, "cluster"), "software");
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(s, "workers"), i, w)
    {
        const char *software = json_string_value(json_object_get(w, "software"));
        if (software && strcmp(software, leader) != 0)
            printf("release  %s runs %s, the leader %s\n", text_of(w, "name"), software, leader);
    }
}

/* What was found of wrong bits; nothing when all is well. */
static void print_integrity(const json_t *s)
{
    const json_t *integrity = json_object_get(s, "integrity");
    const json_t *audits = json_object_get(integrity, "audits");
    size_t i;
    json_t *w;
    if (number_of(integrity, "wrong_workers") + number_of(audits, "undecided") > 0)
        printf("wrong    %.0f workers were cut off for wrong bits; %.0f audits could not be "
               "decided\n",
               number_of(integrity, "wrong_workers"), number_of(audits, "undecided"));
    json_array_foreach(json_object_get(integrity, "quarantined"), i, w)
        printf("refused  %s for %.0f s more\n", text_of(w, "worker"), number_of(w, "left_s"));
    json_array_foreach(json_object_get(s, "workers"), i, w)
    {
        const json_t *of = json_object_get(w, "integrity"), *d = json_object_get(of, "damages");
        double kv = number_of(d, "kv"), weights = number_of(d, "weights");
        double log = number_of(d, "log"), file = number_of(d, "file");
        if (kv + weights + log + file > 0)
            printf("damage   %s: %.0f in weights, %.0f in K/V, %.0f in the log, %.0f in its "
                   "file%s\n",
                   text_of(w, "name"), weights, kv, log, file,
                   json_is_true(json_object_get(of, "failing")) ? "; drained for it" : "");
    }
}

static void print_failovers(const json_t *list)
{
    size_t i;
    json_t *f;
    if (json_array_size(list) == 0)
        return;
    printf("\n%-16s %-9s %5s %5s %7s %5s %7s %9s %9s %9s %9s\n", "lost", "cause", "epoch", "heads",
           "rebuilt", "ready", "reused", "positions", "replayed", "detect ms", "stall ms");
    json_array_foreach((json_t *)list, i, f)
        printf("%-16s %-9s %5.0f %5.0f %7.0f %5.0f %7.0f %9.0f %9.0f %9.1f %9.1f\n",
               text_of(f, "worker"), text_of(f, "cause"), number_of(f, "epoch"),
               number_of(f, "heads_lost"), number_of(f, "heads_rebuilt"),
               number_of(f, "heads_ready"), number_of(f, "heads_reused"), number_of(f, "positions"),
               number_of(f, "rows_replayed"), number_of(f, "detect_ms"), number_of(f, "stall_ms"));
}

static void print_table(const json_t *s)
{
    print_cluster(s);
    print_traffic(s);
    print_advice(s);
    print_releases(s);
    print_notes(s);
    print_integrity(s);
    print_workers(json_object_get(s, "workers"));
    print_failovers(json_object_get(s, "failovers"));
}

json_t *hd_status_fetch(const char *base, const char *key_file, struct hd_error *err)
{
    struct hd_http_key key;
    struct hd_http_get g = {
        .base = base, .path = "/hydac/status", .key = key.text, .timeout_ms = 30000};
    int rc = hd_http_key_get(&key, key_file, err);
    if (rc == 0)
        rc = hd_http_get(&g, err);
    hd_secret_wipe(&key, sizeof key);
    if (rc < 0)
        return NULL;
    json_t *s = json_loads(g.body, 0, NULL);
    free(g.body);
    if (g.status == 200 && json_is_object(s))
        return s;
    json_decref(s);
    if (g.status == 401)
        hd_fail(err, HD_E_IO,
                "the leader at %s wants its API key; give it with --api-key-file FILE", base);
    else
        hd_fail(err, HD_E_IO, "%s is not a hydac leader (HTTP status %ld)", base, g.status);
    return NULL;
}

int hd_cmd_status(int argc, char **argv)
{
    const char *leader = hd_default_leader(), *key_file = NULL;
    bool json = false;
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_LEADER(&leader),
        HD_ARG_API_KEY(&key_file),
        {"--json", HD_ARG_FLAG, &json, NULL, "the leader's own object"},
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, NULL, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    json_t *s = hd_status_fetch(leader, key_file, &err);
    if (!s)
        return hd_complain(&err);
    if (json) {
        json_dumpf(s, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else {
        print_table(s);
    }
    json_decref(s);
    return 0;
}
