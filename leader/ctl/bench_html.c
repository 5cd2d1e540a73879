/* bench_html.c - report.html: text, tables and pictures in one file, without scripts. */
#include "leader/ctl/bench.h"
#include "leader/ctl/bench_svg.h"
#include "leader/ctl/files.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>hydac: what a lost worker costs</title>\n<style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;"
    "color:#222;background:#fff}\n"
    "table{border-collapse:collapse;margin:1em 0}\n"
    "td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right;vertical-align:bottom}\n"
    "td{white-space:nowrap}th{font-weight:600}td:first-child,th:first-child{text-align:left}\n"
    ".pic,.wide{overflow-x:auto}.pic svg{width:100%;min-width:600px;height:auto;margin:.6em 0}\n"
    "svg text{font-size:13px;fill:#222}\n"
    "@media(max-width:600px){td,th{padding:.2em .35em;font-size:.85em}}\n"
    "details{border-top:1px solid #ddd}details details{border:0}\n"
    "summary{cursor:pointer;padding:.5em 0;font-weight:600}h2{font-size:1.2em}\n"
    "svg .t{font-weight:600;font-size:14px}svg .g{stroke:#ddd}\n"
    "svg .m{stroke:#222;stroke-dasharray:2 3}svg .l{fill:none;stroke-width:2}\n"
    ".bad{color:#c00;font-weight:600}.note{color:#555}\n"
    "</style></head><body>\n<h1>What a lost worker costs</h1>\n";

static const char explanation[] =
    "<h2>How to read this</h2>\n<p>Every number is from the runs: the leader's reports of its "
    "recoveries, its counters, and the arrival of tokens by the client's clock. In each run the "
    "same request is answered twice by the same cluster, first undisturbed; in the second answer "
    "the workers are killed after a third of the tokens. Shown is, of each policy, the run with "
    "the median stall.</p>\n<ul>\n"
    "<li><b>detect</b>: last sign of life to declared lost. <b>plan</b>: to the new assignments. "
    "<b>weights</b>, <b>rebuild</b>: the slowest survivor's loading of units and computing of K/V. "
    "<b>retry</b>: all confirmed to the interrupted work done again; with <code>full</code> that "
    "is the replay. <b>other</b>: the rest of the stall, which is waiting on the network.</li>\n"
    "<li>Loading and rebuilding may be of two survivors that work at once: no part is shown longer "
    "than what is left of the stall. The reports as they came are in results.json.</li>\n"
    "<li>A K/V row is that of one layer, KV head and position.</li>\n</ul>\n";

static void print_escaped(FILE *f, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '&':
            fputs("&amp;", f);
            break;
        default:
            putc(*text, f);
        }
}

static void print_intro(FILE *f, const struct hd_bench *b)
{
    const char *name = json_string_value(json_object_get(b->model, "name"));
    fputs("<p>Model <b>", f);
    print_escaped(f, name ? name : "?");
    fprintf(f,
            "</b> (%lld layers, %lld KV heads); %u cores; %llu killed with SIGKILL; %llu tokens an "
            "answer; %llu repeats; started %s.</p>\n",
            (long long)json_integer_value(json_object_get(b->model, "layers")),
            (long long)json_integer_value(json_object_get(b->model, "kv_heads")), b->cores,
            (unsigned long long)b->o->lost, (unsigned long long)b->o->tokens,
            (unsigned long long)b->o->repeat, b->started);
}

static void print_speedup(FILE *f, double speedup)
{
    if (speedup > 0)
        fprintf(f, "<td>%.1f</td>", speedup);
    else
        fputs("<td>&ndash;</td>", f);
}

static void print_summary(FILE *f, const struct hd_bench_group *g, size_t n)
{
    size_t runs = 0, identical = 0;
    for (size_t i = 0; i < n; i++) {
        runs += g[i].n;
        identical += g[i].identical ? g[i].n : 0;
    }
    fprintf(f, "<p%s>Tokens identical to the undisturbed answer's in %s %zu runs.</p>\n",
            identical == runs ? "" : " class=\"bad\"", identical == runs ? "all of" : "NOT all of",
            runs);
    fputs("<div class=\"wide\"><table><tr><th>policy</th><th>workers</th><th>context</th><th>stall "
          "ms</th>"
          "<th>least</th><th>most</th><th>faster than full, times</th><th>tokens identical</th>"
          "</tr>\n",
          f);
    for (size_t i = 0; i < n; i++) {
        fprintf(f, "<tr><td>%s</td><td>%llu</td><td>%llu</td><td><b>%.1f</b></td>", g[i].policy,
                (unsigned long long)g[i].workers, (unsigned long long)g[i].context,
                g[i].median->stall_ms);
        fprintf(f, "<td>%.1f</td><td>%.1f</td>", g[i].min_ms, g[i].max_ms);
        print_speedup(f, g[i].speedup);
        fputs(g[i].identical ? "<td>yes</td></tr>\n" : "<td class=\"bad\">no</td></tr>\n", f);
    }
    fputs("</table></div>\n", f);
}

/* ---- One combination: groups of the same workers and context --------------------------------*/
static void print_stalls(FILE *f, const struct hd_bench_group *g, size_t n)
{
    struct hd_svg_bar bars[HD_BENCH_MAX_LIST] = {0};
    for (size_t i = 0; i < n; i++) {
        memcpy(bars[i].parts, g[i].median->parts_ms, sizeof g[i].median->parts_ms);
        snprintf(bars[i].label, sizeof bars[i].label, "%s", g[i].policy);
        snprintf(bars[i].note, sizeof bars[i].note, "%.1f ms", g[i].median->stall_ms);
    }
    struct hd_svg_bars b = {.title = "Stall",
                            .unit = "ms",
                            .part_names = hd_bench_part_names,
                            .n_parts = HD_BENCH_PARTS,
                            .bars = bars,
                            .n = n};
    hd_svg_bars(f, &b);
    b.title = "What each stall is made of (every bar is the whole stall)";
    b.shares = true;
    hd_svg_bars(f, &b);
}

static void print_parts(FILE *f, const struct hd_bench_group *g, size_t n)
{
    fputs("<div class=\"wide\"><table><tr><th>ms</th>", f);
    for (int p = 0; p < HD_BENCH_PARTS; p++)
        fprintf(f, "<th>%s</th>", hd_bench_part_names[p]);
    fputs("<th>stall</th></tr>\n", f);
    for (size_t i = 0; i < n; i++) {
        fprintf(f, "<tr><td>%s</td>", g[i].policy);
        for (int p = 0; p < HD_BENCH_PARTS; p++)
            fprintf(f, "<td>%.2f</td>", g[i].median->parts_ms[p]);
        fprintf(f, "<td><b>%.2f</b></td></tr>\n", g[i].median->stall_ms);
    }
    fputs("</table></div>\n", f);
}

static void print_saving(FILE *f, const char *policy, const struct hd_bench_run *r)
{
    double all = (double)(r->rows_kept + r->rows_rebuilt);
    if (r->rows_replayed > 0)
        fprintf(f, "<p><code>%s</code> ran %llu tokens again through the whole model.</p>\n",
                policy, (unsigned long long)r->rows_replayed);
    else if (all > 0)
        fprintf(f,
                "<p><code>%s</code> ran no token again: %.1f %% of the K/V rows stayed where they "
                "were, the others were computed from input logs.</p>\n",
                policy, 100 * (double)r->rows_kept / all);
}

/* A row for each number, a column for each policy: narrow, however many numbers there are. */
static void print_work(FILE *f, const struct hd_bench_group *g, size_t n)
{
    static const struct {
        const char *name;
        size_t offset;
    } rows[] = {
        {"heads lost", offsetof(struct hd_bench_run, heads_lost)},
        {"heads computed", offsetof(struct hd_bench_run, heads_rebuilt)},
        {"heads reused", offsetof(struct hd_bench_run, heads_reused)},
        {"K/V rows rebuilt", offsetof(struct hd_bench_run, rows_rebuilt)},
        {"K/V rows kept", offsetof(struct hd_bench_run, rows_kept)},
        {"tokens replayed", offsetof(struct hd_bench_run, rows_replayed)},
        {"positions", offsetof(struct hd_bench_run, positions)},
    };
    fputs("<div class=\"wide\"><table><tr><th>computed again</th>", f);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "<th>%s</th>", g[i].policy);
    fputs("</tr>\n", f);
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        fprintf(f, "<tr><td>%s</td>", rows[k].name);
        for (size_t i = 0; i < n; i++) {
            const char *run = (const char *)g[i].median;
            fprintf(f, "<td>%llu</td>",
                    (unsigned long long)*(const uint64_t *)(run + rows[k].offset));
        }
        fputs("</tr>\n", f);
    }
    fputs("</table></div>\n", f);
    for (size_t i = 0; i < n; i++)
        print_saving(f, g[i].policy, g[i].median);
}

static void print_curve(FILE *f, const struct hd_bench_group *g, size_t n)
{
    struct hd_svg_line lines[HD_BENCH_MAX_LIST + 1];
    for (size_t i = 0; i < n; i++)
        lines[i] = (struct hd_svg_line){
            .label = g[i].policy, .y = g[i].median->loss.ms, .n = g[i].median->loss.n};
    lines[n] = (struct hd_svg_line){.label = "undisturbed",
                                    .y = g[0].median->quiet.ms,
                                    .n = g[0].median->quiet.n,
                                    .dashed = true};
    struct hd_svg_lines l = {.title = "Time per token as the client sees it",
                             .unit = "ms",
                             .lines = lines,
                             .n = n + 1,
                             .first = 2,
                             .mark = g[0].median->kill_after + 1};
    hd_svg_lines(f, &l);
    fputs("<div class=\"wide\"><table><tr><th>ms a "
          "token</th><th>undisturbed</th><th>before</th><th>longest after the "
          "kill</th><th>after that</th></tr>\n",
          f);
    for (size_t i = 0; i < n; i++) {
        const struct hd_bench_run *r = g[i].median;
        fprintf(f,
                "<tr><td>%s</td><td>%.2f</td><td>%.2f</td><td><b>%.2f</b></td><td>%.2f</td></tr>\n",
                g[i].policy, r->quiet_ms, r->before_ms, r->gap_ms, r->after_ms);
    }
    fputs("</table></div>\n", f);
}

static size_t add_memory(const json_t *list, const char *when, struct hd_svg_bar *bars, size_t max)
{
    size_t n = 0;
    for (; n < json_array_size(list) && n < max; n++) {
        const json_t *w = json_array_get(list, n);
        const char *name = json_string_value(json_object_get(w, "name"));
        double kv = json_number_value(json_object_get(w, "kv_bytes")) / 1e6;
        double log = json_number_value(json_object_get(w, "log_bytes")) / 1e6;
        bars[n].parts[0] = kv;
        bars[n].parts[1] = log;
        snprintf(bars[n].label, sizeof bars[n].label, "%s %s", name ? name : "?", when);
        snprintf(bars[n].note, sizeof bars[n].note, "%.2f + %.2f MB", kv, log);
    }
    return n;
}

static void print_memory(FILE *f, const struct hd_bench_group *g, size_t n)
{
    static const char *const names[] = {"K/V", "input log"};
    struct hd_svg_bar bars[2 * HD_MAX_WORKERS];
    char title[80];
    for (size_t i = 0; i < n; i++) {
        const struct hd_bench_run *r = g[i].median;
        memset(bars, 0, sizeof bars);
        size_t k = add_memory(r->memory_before, "before", bars, HD_MAX_WORKERS);
        k += add_memory(r->memory_after, "after", bars + k, HD_MAX_WORKERS);
        snprintf(title, sizeof title, "Memory by worker, policy %s", g[i].policy);
        struct hd_svg_bars b = {.title = title,
                                .unit = "MB",
                                .part_names = names,
                                .n_parts = 2,
                                .palette = HD_SVG_MEMORY,
                                .bars = bars,
                                .n = k};
        hd_svg_bars(f, &b);
    }
}

/* Folded, but for the first: what it comes to is what one sees of the others. */
static void print_combination(FILE *f, const struct hd_bench_group *g, size_t n, bool open)
{
    fprintf(f, "<details%s><summary>%llu workers, context %llu:", open ? " open" : "",
            (unsigned long long)g->workers, (unsigned long long)g->context);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%s %s %.1f ms", i ? "," : "", g[i].policy, g[i].median->stall_ms);
    fputs("</summary>\n", f);
    print_stalls(f, g, n);
    print_parts(f, g, n);
    print_work(f, g, n);
    print_curve(f, g, n);
    fputs("<details><summary>Memory by worker</summary>\n", f);
    print_memory(f, g, n);
    fputs("</details></details>\n", f);
}

struct page {
    const struct hd_bench *b;
    struct hd_bench_group *groups;
    size_t n;
};

static void print_page(FILE *f, const void *what)
{
    const struct page *p = what;
    fputs(head, f);
    print_intro(f, p->b);
    print_summary(f, p->groups, p->n);
    for (size_t i = 0; i < p->n; i += p->b->o->n_policies)
        print_combination(f, &p->groups[i], p->b->o->n_policies, i == 0);
    fputs(explanation, f);
    fputs("</body></html>\n", f);
}

int hd_bench_write_html(const struct hd_bench *b, const char *path, struct hd_error *err)
{
    struct page p = {.b = b};
    p.groups = hd_bench_groups(b, &p.n);
    if (!p.groups)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    int rc = hd_write_text(path, print_page, &p, err);
    free(p.groups);
    return rc;
}
