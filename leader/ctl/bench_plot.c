/* bench_plot.c - failover.png: stall by policy for each combination, drawn by gnuplot. */
#include "leader/ctl/bench.h"

#include "leader/ctl/files.h"

#include <signal.h>
#include <stdlib.h>

int hd_bench_check_plot(struct hd_error *err)
{
    char path[PATH_MAX];
    if (hd_find_in_path("gnuplot", path, sizeof path))
        return 0;
    return hd_fail(err, HD_E_NOTFOUND,
                   "--plot needs gnuplot, which is not installed (Debian: apt-get install "
                   "gnuplot-nox); report.html needs nothing");
}

/* A string of gnuplot between single quotes. */
static void print_quoted(FILE *f, const char *text)
{
    putc('\'', f);
    for (; *text; text++) {
        if (*text == '\'')
            putc('\'', f);
        putc(*text, f);
    }
    putc('\'', f);
}

/* A line for each combination: its name, then the median stall of each policy. */
static void print_data(FILE *f, const struct hd_bench_group *g, size_t n, size_t n_policies)
{
    fputs("$stalls << END\n", f);
    for (size_t i = 0; i < n; i++) {
        if (i % n_policies == 0)
            fprintf(f, "\"%llu workers\\ncontext %llu\"", (unsigned long long)g[i].workers,
                    (unsigned long long)g[i].context);
        fprintf(f, " %.3f%s", g[i].median->stall_ms, (i + 1) % n_policies == 0 ? "\n" : "");
    }
    fputs("END\n", f);
}

static void print_commands(FILE *f, const struct hd_bench *b, const char *path,
                           const struct hd_bench_group *g, size_t n)
{
    size_t n_policies = b->o->n_policies;
    print_data(f, g, n, n_policies);
    fprintf(f, "set terminal png size %zu,480\nset output ", 400 + 110 * n / n_policies);
    print_quoted(f, path);
    fputs("\nset title 'Stall when a worker is lost (ms, median)'\n"
          "set style data histogram\nset style histogram clustered gap 1\n"
          "set style fill solid 0.9\nset logscale y\nset grid ytics\nset bmargin 4\nset key top "
          "left\n"
          "plot ",
          f);
    for (size_t i = 0; i < n_policies; i++)
        fprintf(f, "%s $stalls using %zu%s title '%s'", i ? "," : "", i + 2, i ? "" : ":xtic(1)",
                b->o->policies[i]);
    fputs("\n", f);
}

int hd_bench_plot(const struct hd_bench *b, const char *path, struct hd_error *err)
{
    size_t n;
    struct hd_bench_group *groups = hd_bench_groups(b, &n);
    if (!groups)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    signal(SIGPIPE, SIG_IGN); /* gnuplot may end early; its status says so */
    FILE *f = popen("gnuplot", "w");
    if (f)
        print_commands(f, b, path, groups, n);
    free(groups);
    if (!f || pclose(f) != 0)
        return hd_fail(err, HD_E_IO, "gnuplot could not draw %s", path);
    return 0;
}
