/* top_draw.c - the screen of hydac top: text of a status, and rates from the one before. */
#include "leader/ctl/top.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN   ""
#define BOLD    "\033[1m"
#define DIM     "\033[2m"
#define RED     "\033[31m"
#define YELLOW  "\033[33m"
#define BAR     10 /* columns */
#define MAX_ROW 1024
#define LOADED  0.97 /* of the bytes: the leader reckons, the worker counts */

struct screen {
    FILE *f;
    size_t rows, columns, used;
};

/* Bytes of the first so many characters of UTF-8. */
static size_t prefix(const char *s, size_t characters)
{
    size_t i = 0;
    for (; s[i]; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80 && characters-- == 0)
            break;
    return i;
}

/* A line, unless the screen is full; nothing that a terminal would obey. */
static void line(struct screen *s, const char *style, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void line(struct screen *s, const char *style, const char *fmt, ...)
{
    char text[MAX_ROW];
    va_list ap;
    if (s->used + 1 >= s->rows)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    text[prefix(text, s->columns)] = '\0';
    fprintf(s->f, "%s%s\033[0m\033[K\r\n", style, text);
    s->used++;
}

static const char *text_of(const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    return s ? s : "-";
}

static double number_of(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

/* How much a second of what grows; 0 without a status before. */
static double rate(const struct hd_top *t, const json_t *now, const json_t *before, const char *key)
{
    double ms = number_of(t->status, "at_ms") - number_of(t->before, "at_ms");
    double more = number_of(now, key) - number_of(before, key);
    return before && ms > 0 && more > 0 ? more * 1e3 / ms : 0;
}

static const json_t *worker_before(const struct hd_top *t, const char *name)
{
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(t->before, "workers"), i,
                       w) if (strcmp(text_of(w, "name"), name) == 0) return w;
    return NULL;
}

/* BAR columns: full blocks and light ones. */
static void bar(char *out, size_t size, double share)
{
    size_t n = 0, full = share <= 0 ? 0 : share >= 1 ? BAR : (size_t)(share * BAR + 0.5);
    for (size_t i = 0; i < BAR && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s", i < full ? "█" : "░");
}

/* ---- Parts ----*/

static void draw_head(struct screen *s, const struct hd_top *t)
{
    const json_t *c = json_object_get(t->status, "cluster");
    const json_t *e = json_object_get(t->status, "engine");
    const json_t *old = json_object_get(t->before, "engine");
    const char *state = text_of(c, "state"), *reason = text_of(c, "reason");
    bool ready = strcmp(state, "ready") == 0;
    line(s, BOLD, "%s", text_of(json_object_get(t->status, "model"), "name"));
    line(s, ready ? PLAIN : YELLOW, "%s%s%s, epoch %.0f, recovery %s", state, *reason ? ": " : "",
         reason, number_of(c, "epoch"), text_of(c, "recovery"));
    line(s, PLAIN, "%.1f tokens/s, %.1f prompt tokens/s; %.0f running, %.0f waiting",
         rate(t, e, old, "tokens"), rate(t, e, old, "prompt_tokens"), number_of(e, "running"),
         number_of(e, "waiting"));
}

static double total_rate(const struct hd_top *t, const char *way)
{
    const json_t *now =
        json_object_get(json_object_get(json_object_get(t->status, "cluster"), "traffic"), "kinds");
    const json_t *old =
        json_object_get(json_object_get(json_object_get(t->before, "cluster"), "traffic"), "kinds");
    const char *kind;
    json_t *of;
    double sum = 0;
    json_object_foreach((json_t *)now, kind, of) sum +=
        rate(t, of, json_object_get(old, kind), way);
    return sum;
}

static void draw_traffic(struct screen *s, const struct hd_top *t)
{
    const json_t *c = json_object_get(t->status, "cluster");
    const json_t *steps = json_object_get(json_object_get(c, "traffic"), "decode");
    line(s, PLAIN, "%.2f MB/s down, %.2f MB/s up; a token: %.1f KB down, %.1f KB up",
         total_rate(t, "down") / 1e6, total_rate(t, "up") / 1e6,
         number_of(steps, "down_per_row") / 1e3, number_of(steps, "up_per_row") / 1e3);
    line(s, PLAIN, " ");
}

static void format_heads(const json_t *heads, char *out, size_t size)
{
    size_t n = json_array_size(heads), used = 0;
    snprintf(out, size, "-");
    for (size_t i = 0; i < n && used + 8 < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%d", i ? "," : "",
                                 (int)json_integer_value(json_array_get(heads, i)));
}

static double memory_of(const json_t *w)
{
    return number_of(w, "weight_bytes") + number_of(w, "kv_bytes") + number_of(w, "log_bytes");
}

/* What it owns is not there yet: its memory's bar shows how far it is. */
static bool is_loading(const json_t *w)
{
    return number_of(w, "weight_bytes") < LOADED * number_of(w, "weights_owned_bytes") &&
           strcmp(text_of(w, "state"), "online") == 0;
}

static const char *state_of(const json_t *w)
{
    const char *state = text_of(w, "state"), *pace = text_of(w, "pace");
    if (is_loading(w))
        return "loading";
    if (json_is_true(json_object_get(w, "draining")))
        return "draining";
    bool online = strcmp(state, "online") == 0 && *pace != '-';
    return online && strcmp(pace, "steady") != 0 ? pace : state;
}

static void draw_worker(struct screen *s, const struct hd_top *t, const json_t *w, double most)
{
    char heads[24], memory[BAR * 4], busy[BAR * 4];
    const json_t *old = worker_before(t, text_of(w, "name"));
    double share = rate(t, w, old, "busy_us") / 1e6;
    bool lost = strcmp(text_of(w, "state"), "offline") == 0;
    format_heads(json_object_get(w, "heads"), heads, sizeof heads);
    bar(memory, sizeof memory,
        lost            ? 0
        : is_loading(w) ? number_of(w, "weight_bytes") / number_of(w, "weights_owned_bytes")
                        : memory_of(w) / most);
    bar(busy, sizeof busy, lost ? 0 : share);
    line(s, lost ? RED : PLAIN,
         "%-14.14s %-9s %-10s %5.0f %5.0f  %s %7.1f MB  %s %3.0f %%  %7.2f %7.2f  %6.2f",
         text_of(w, "name"), state_of(w), heads, number_of(w, "ffn_blocks"),
         number_of(w, "vocab_blocks"), memory, lost ? 0 : memory_of(w) / 1e6, busy,
         lost ? 0 : 100 * share, rate(t, w, old, "bytes_out") / 1e6,
         rate(t, w, old, "bytes_in") / 1e6, number_of(w, "rtt_ms"));
}

static void draw_workers(struct screen *s, const struct hd_top *t)
{
    const json_t *list = json_object_get(t->status, "workers");
    double most = 1;
    size_t i;
    json_t *w;
    json_array_foreach((json_t *)list, i, w) most = memory_of(w) > most ? memory_of(w) : most;
    line(s, DIM, "%-14s %-9s %-10s %5s %5s  %-20s  %-15s  %7s %7s  %6s", "worker", "state", "heads",
         "ffn", "vocab", "memory", "busy", "MB/s dn", "MB/s up", "rtt ms");
    json_array_foreach((json_t *)list, i, w) draw_worker(s, t, w, most);
}

/* The latest first. */
static void draw_losses(struct screen *s, const struct hd_top *t)
{
    size_t n = json_array_size(t->losses);
    if (n == 0)
        return;
    line(s, PLAIN, " ");
    line(s, DIM, "%-14s %-9s %5s %7s %6s %9s %9s %9s %9s %9s %9s", "lost", "cause", "heads",
         "rebuilt", "kept", "detect ms", "plan", "weights", "rebuild", "retry", "stall");
    for (size_t i = n; i-- > 0 && i + 5 >= n;) {
        const json_t *f = json_array_get(t->losses, i);
        line(s, PLAIN, "%-14.14s %-9s %5.0f %7.0f %6.0f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f",
             text_of(f, "worker"), text_of(f, "cause"), number_of(f, "heads_lost"),
             number_of(f, "heads_rebuilt"), number_of(f, "heads_reused"), number_of(f, "detect_ms"),
             number_of(f, "plan_ms"), number_of(f, "weights_ms"), number_of(f, "rebuild_ms"),
             number_of(f, "retry_ms"), number_of(f, "stall_ms"));
    }
}

static void draw_events(struct screen *s, const struct hd_top *t)
{
    size_t n = t->n_events;
    if (n > 0)
        line(s, PLAIN, " ");
    for (size_t i = n; i-- > 0 && i + HD_TOP_EVENTS >= n;)
        line(s, DIM, "%s", t->events[i % HD_TOP_EVENTS]);
}

char *hd_top_draw(const struct hd_top *t)
{
    char *text = NULL;
    size_t len;
    struct screen s = {.f = open_memstream(&text, &len), .rows = t->rows, .columns = t->columns};
    if (!s.f)
        return NULL;
    if (t->status) {
        draw_head(&s, t);
        draw_traffic(&s, t);
        draw_workers(&s, t);
        draw_losses(&s, t);
    }
    draw_events(&s, t);
    fclose(s.f);
    return text;
}
