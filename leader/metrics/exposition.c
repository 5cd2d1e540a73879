/* exposition.c - families, labels and values as lines of text, escaped as the format wants it. */
#include "leader/metrics/exposition.h"

#include "common/text/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* HELP escapes backslash and newline, a label's value the double quote too. */
static void put_escaped(FILE *out, const char *text, char quote)
{
    const char *end = text + strlen(text);
    for (const char *p = text; p < end;) {
        int n = hd_utf8_next(p, (size_t)(end - p));
        if (n <= 0) { /* a server refuses what is not UTF-8 */
            fputc('?', out);
            p += n < 0 ? -n : 1;
            continue;
        }
        if (*p == '\n') {
            fputs("\\n", out);
        } else {
            if (*p == '\\' || *p == quote)
                fputc('\\', out);
            fwrite(p, 1, (size_t)n, out);
        }
        p += n;
    }
}

/* The shortest form that reads back as the same number. */
static void put_value(FILE *out, double value)
{
    char text[40];
    if (isnan(value)) {
        fputs("NaN", out);
    } else if (isinf(value)) {
        fputs(value > 0 ? "+Inf" : "-Inf", out);
    } else {
        snprintf(text, sizeof text, "%.15g", value);
        if (strtod(text, NULL) != value)
            snprintf(text, sizeof text, "%.17g", value);
        fputs(text, out);
    }
}

/* `le`: the bound of a bucket, NULL for other samples. */
static void put_labels(FILE *out, const struct hd_label *labels, const double *le)
{
    char sep = '{';
    for (; labels && labels->name; labels++, sep = ',') {
        fprintf(out, "%c%s=\"", sep, labels->name);
        put_escaped(out, labels->value, '"');
        fputc('"', out);
    }
    if (le) {
        fprintf(out, "%cle=\"", sep);
        put_value(out, *le);
        fputc('"', out);
        sep = ',';
    }
    if (sep == ',')
        fputc('}', out);
}

void hd_exposition_family(FILE *out, const struct hd_family *f)
{
    fprintf(out, "# HELP %s ", f->name);
    put_escaped(out, f->help, '\0');
    fprintf(out, "\n# TYPE %s %s\n", f->name, f->type);
}

void hd_exposition_sample(FILE *out, const char *name, const struct hd_label *labels, double value)
{
    fputs(name, out);
    put_labels(out, labels, NULL);
    fputc(' ', out);
    put_value(out, value);
    fputc('\n', out);
}

void hd_exposition_histogram(FILE *out, const char *name, const struct hd_label *labels,
                             const struct hd_histogram *h)
{
    uint64_t below = 0;
    for (size_t i = 0; i <= h->n; i++) {
        double bound = i < h->n ? h->bounds[i] : INFINITY;
        below += h->counts[i];
        fprintf(out, "%s_bucket", name);
        put_labels(out, labels, &bound);
        fprintf(out, " %llu\n", (unsigned long long)below);
    }
    fprintf(out, "%s_sum", name);
    put_labels(out, labels, NULL);
    fputc(' ', out);
    put_value(out, h->sum);
    fprintf(out, "\n%s_count", name);
    put_labels(out, labels, NULL);
    fprintf(out, " %llu\n", (unsigned long long)below);
}
