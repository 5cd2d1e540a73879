/* bench_speed_out.c - the table on the terminal, and the same numbers as JSON and CSV. */
#include "leader/ctl/bench_speed.h"

#include "common/util/cpus.h"
#include "leader/ctl/files.h"

#include <string.h>

#define IN_DECODE  (1u << HD_SPEED_DECODE)
#define IN_PREFILL (1u << HD_SPEED_PREFILL)
#define IN_NET     (1u << HD_SPEED_NET)

static const struct shown {
    const char *key, *title; /* of JSON and CSV; of the table */
    int decimals;
    unsigned kinds; /* mask */
} shown[HD_SPEED_VALUES] = {
    [HD_SPEED_TOKENS_PER_SECOND] = {"tokens_per_second", "tokens a second", 2,
                                    IN_DECODE | IN_PREFILL},
    [HD_SPEED_TOKEN_MS] = {"token_ms", "a token, ms", 3, IN_DECODE | IN_NET},
    [HD_SPEED_COMPUTE_MS] = {"compute_ms", "  slowest worker computes", 3, IN_DECODE},
    [HD_SPEED_LEADER_MS] = {"leader_ms", "  leader computes", 3, IN_DECODE},
    [HD_SPEED_WIRE_MS] = {"wire_ms", "  the rest: wire, waking up", 3, IN_DECODE},
    [HD_SPEED_LEADER_WIRE_PERCENT] = {"leader_wire_percent", "  leader and rest, % of it", 1,
                                      IN_DECODE},
    [HD_SPEED_BANDWIDTH_GB_S] = {"bandwidth_gb_s", "read bandwidth, GB/s", 2, IN_DECODE},
    [HD_SPEED_WEIGHT_BYTES] = {"weight_bytes", "weight bytes a token", 0, IN_DECODE},
    [HD_SPEED_BANDWIDTH_PERCENT] = {"bandwidth_percent", "weights, % of the bandwidth", 1,
                                    IN_DECODE},
    [HD_SPEED_PREFILL_MS] = {"prefill_ms", "the prompt, ms", 1, IN_PREFILL},
    [HD_SPEED_FLOPS] = {"flops", "operations", 0, IN_PREFILL},
    [HD_SPEED_GFLOP_S] = {"gflop_s", "GFLOP/s", 2, IN_PREFILL},
    [HD_SPEED_COMPUTE_PERCENT] = {"compute_percent", "slowest worker computes, %", 1, IN_PREFILL},
    [HD_SPEED_HALF_STEPS] = {"half_steps", "half-steps a token", 0, IN_NET},
    [HD_SPEED_HALF_STEP_US] = {"half_step_us", "a half-step, us", 1, IN_NET},
    [HD_SPEED_HALF_COMPUTE_US] = {"half_compute_us", "  slowest worker computes", 1, IN_NET},
    [HD_SPEED_HALF_WIRE_US] = {"half_wire_us", "  the rest: there and back", 1, IN_NET},
    [HD_SPEED_HEARTBEAT_US] = {"heartbeat_us", "a heartbeat's round trip, us", 1, IN_NET},
    [HD_SPEED_BYTES_DOWN] = {"bytes_down", "bytes a token, down", 0, IN_NET},
    [HD_SPEED_BYTES_UP] = {"bytes_up", "bytes a token, up", 0, IN_NET},
};

static bool is_shown(const struct hd_speed *s, int value)
{
    return shown[value].kinds >> s->o->kind & 1;
}

static void name_variant(const struct hd_speed *s, size_t variant, char *text, size_t size)
{
    unsigned long long w = s->o->workers[variant], t = s->o->threads[variant];
    snprintf(text, size, "%llu worker%s x %llu thread%s%s", w, w == 1 ? "" : "s", t,
             t == 1 ? "" : "s", s->o->wires[variant] == hd_wires[HD_WIRE_EXACT] ? "" : ", compact");
}

/* ---- Terminal -------------------------------------------------------------------------------*/
void hd_speed_print_progress(const struct hd_speed *s, size_t total)
{
    const struct hd_speed_run *r = &s->runs[s->n - 1];
    int value = s->o->kind == HD_SPEED_NET ? HD_SPEED_HALF_STEP_US : HD_SPEED_TOKENS_PER_SECOND;
    char name[64];
    name_variant(s, r->variant, name, sizeof name);
    printf("%zu/%zu  %s: %.2f %s\n", s->n, total, name, r->values[value],
           value == HD_SPEED_HALF_STEP_US ? "us a half-step" : shown[value].title);
    fflush(stdout);
}

static void print_range(const struct hd_speed *s, size_t variant, int value)
{
    struct hd_speed_range r;
    char text[96] = "?"; /* no memory */
    int d = shown[value].decimals;
    int rc = hd_speed_range(s, variant, (enum hd_speed_value)value, &r);
    if (rc == 0 && r.min == r.max)
        snprintf(text, sizeof text, "%.*f", d, r.median);
    else if (rc == 0)
        snprintf(text, sizeof text, "%.*f (%.*f - %.*f)", d, r.median, d, r.min, d, r.max);
    printf("  %-32s", text);
}

void hd_speed_print(const struct hd_speed *s)
{
    const struct hd_speed_options *o = s->o;
    char name[64];
    printf("\n%s, %llu runs each, median (least - most); prompt of %llu tokens",
           hd_speed_kind_name(o->kind), (unsigned long long)o->repeat,
           (unsigned long long)o->prompt);
    if (o->tokens > 1)
        printf(", answer of %llu", (unsigned long long)o->tokens);
    printf("\n%-30s", "");
    for (size_t i = 0; i < o->n_variants; i++) {
        name_variant(s, i, name, sizeof name);
        printf("  %-32s", name);
    }
    for (int v = 0; v < HD_SPEED_VALUES; v++) {
        if (!is_shown(s, v))
            continue;
        printf("\n%-30s", shown[v].title);
        for (size_t i = 0; i < o->n_variants; i++)
            print_range(s, i, v);
    }
    printf("\n");
}

/* ---- JSON -----------------------------------------------------------------------------------*/
static json_t *variant_json(const struct hd_speed *s, size_t variant)
{
    return json_pack("{s:I, s:I, s:s}", "workers", (json_int_t)s->o->workers[variant], "threads",
                     (json_int_t)s->o->threads[variant], "wire", s->o->wires[variant]);
}

static json_t *run_json(const struct hd_speed *s, const struct hd_speed_run *r)
{
    json_t *o = variant_json(s, r->variant);
    json_object_set_new(o, "repeat", json_integer((json_int_t)r->repeat));
    for (int v = 0; v < HD_SPEED_VALUES; v++)
        if (is_shown(s, v))
            json_object_set_new(o, shown[v].key, json_real(r->values[v]));
    return o;
}

static json_t *summary_json(const struct hd_speed *s, size_t variant)
{
    json_t *o = variant_json(s, variant);
    json_object_set_new(o, "runs", json_integer((json_int_t)s->o->repeat));
    for (int v = 0; v < HD_SPEED_VALUES; v++) {
        struct hd_speed_range r;
        if (is_shown(s, v) && hd_speed_range(s, variant, (enum hd_speed_value)v, &r) == 0)
            json_object_set_new(
                o, shown[v].key,
                json_pack("{s:f, s:f, s:f}", "min", r.min, "median", r.median, "max", r.max));
    }
    return o;
}

int hd_speed_write_json(const struct hd_speed *s, const char *path, struct hd_error *err)
{
    const struct hd_speed_options *o = s->o;
    json_t *runs = json_array(), *summary = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(runs, run_json(s, &s->runs[i]));
    for (size_t i = 0; i < o->n_variants; i++)
        json_array_append_new(summary, summary_json(s, i));
    json_t *v = json_pack("{s:s, s:s, s:{s:I}, s:O, s:I, s:I, s:o, s:o}", "measures",
                          hd_speed_kind_name(o->kind), "started", s->started, "machine", "cores",
                          (json_int_t)hd_cpus(), "model", s->model, "prompt", (json_int_t)o->prompt,
                          "tokens", (json_int_t)o->tokens, "summary", summary, "runs", runs);
    int rc = hd_write_json(path, v, err);
    json_decref(v);
    return rc;
}

/* ---- CSV ------------------------------------------------------------------------------------*/
static void print_csv(FILE *f, const void *what)
{
    const struct hd_speed *s = what;
    fputs("workers,threads,wire,repeat", f);
    for (int v = 0; v < HD_SPEED_VALUES; v++)
        if (is_shown(s, v))
            fprintf(f, ",%s", shown[v].key);
    for (size_t i = 0; i < s->n; i++) {
        const struct hd_speed_run *r = &s->runs[i];
        fprintf(f, "\n%llu,%llu,%s,%llu", (unsigned long long)s->o->workers[r->variant],
                (unsigned long long)s->o->threads[r->variant], s->o->wires[r->variant],
                (unsigned long long)r->repeat);
        for (int v = 0; v < HD_SPEED_VALUES; v++)
            if (is_shown(s, v))
                fprintf(f, ",%.*f", shown[v].decimals, r->values[v]);
    }
    putc('\n', f);
}

int hd_speed_write_csv(const struct hd_speed *s, const char *path, struct hd_error *err)
{
    return hd_write_text(path, print_csv, s, err);
}
