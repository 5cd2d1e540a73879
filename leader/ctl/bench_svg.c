/* bench_svg.c - bars and lines as SVG text; the scales are computed here, nothing is fetched. */
#include "leader/ctl/bench_svg.h"

#include <math.h>

#define WIDTH    860
#define LEFT     130 /* room for labels */
#define RIGHT    190 /* room for notes and legends */
#define PLOT     (WIDTH - LEFT - RIGHT)
#define BAR      22
#define BAR_STEP 30
#define TOP      30
#define LEGEND   30
#define HEIGHT   260 /* of the plot of lines */

/* Each for one meaning, so that a picture's colours say nothing wrong about the next one's. All are
 * told apart by colour-blind people: Okabe and Ito's for the parts of a stall, of Tol's for the
 * rest.
 */
static const char *const palettes[HD_SVG_PALETTES][HD_SVG_MAX_PARTS] = {
    [HD_SVG_PHASES] = {"#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#999999", "#56b4e9",
                       "#f0e442"},
    [HD_SVG_MEMORY] = {"#332288", "#b3a9d9"},
    [HD_SVG_POLICIES] = {"#222222", "#882255", "#999933", "#6699cc"},
};

static void open_svg(FILE *f, const char *title, double height)
{
    fprintf(f,
            "<div class=\"pic\"><svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"%s\">\n"
            "<text x=\"0\" y=\"16\" class=\"t\">%s</text>\n",
            WIDTH, height, title, title);
}

static void print_box(FILE *f, const double box[4], const char *color)
{
    fprintf(f, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\">", box[0],
            box[1], box[2], box[3], color);
}

static void print_legend(FILE *f, const struct hd_svg_bars *b, double y)
{
    for (size_t i = 0; i < b->n_parts; i++) {
        double x = LEFT + (double)i * (PLOT + RIGHT) / (double)b->n_parts;
        print_box(f, (double[]){x, y, 12, 12}, palettes[b->palette][i]);
        fprintf(f, "</rect><text x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 17, y + 11,
                b->part_names[i]);
    }
}

static double sum_of(const struct hd_svg_bar *bar, size_t n_parts)
{
    double sum = 0;
    for (size_t i = 0; i < n_parts; i++)
        sum += bar->parts[i];
    return sum;
}

static void print_bar(FILE *f, const struct hd_svg_bars *b, const struct hd_svg_bar *bar, double y,
                      double scale)
{
    double x = LEFT;
    fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 8, y + 16,
            bar->label);
    for (size_t i = 0; i < b->n_parts; i++) {
        double w = bar->parts[i] * scale;
        print_box(f, (double[]){x, y, w, BAR}, palettes[b->palette][i]);
        fprintf(f, "<title>%s %.3f %s</title></rect>\n", b->part_names[i], bar->parts[i], b->unit);
        x += w;
    }
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 6, y + 16, bar->note);
}

void hd_svg_bars(FILE *f, const struct hd_svg_bars *b)
{
    double max = 0;
    for (size_t i = 0; i < b->n; i++)
        max = fmax(max, sum_of(&b->bars[i], b->n_parts));
    open_svg(f, b->title, TOP + (double)b->n * BAR_STEP + LEGEND);
    for (size_t i = 0; i < b->n; i++) {
        double whole = b->shares ? sum_of(&b->bars[i], b->n_parts) : max;
        print_bar(f, b, &b->bars[i], TOP + (double)i * BAR_STEP, whole > 0 ? PLOT / whole : 0);
    }
    print_legend(f, b, TOP + (double)b->n * BAR_STEP + 8);
    fputs("</svg></div>\n", f);
}

/* ---- Lines ----------------------------------------------------------------------------------*/
struct frame {
    double low, high; /* powers of ten around the values */
    size_t n;         /* of the longest line */
};

static struct frame frame_of(const struct hd_svg_lines *l)
{
    double min = INFINITY, max = 0;
    struct frame fr = {.n = 2};
    for (size_t i = 0; i < l->n; i++) {
        fr.n = l->lines[i].n > fr.n ? l->lines[i].n : fr.n;
        for (size_t k = 0; k < l->lines[i].n; k++) {
            double v = l->lines[i].y[k];
            max = fmax(max, v);
            min = v > 0 ? fmin(min, v) : min;
        }
    }
    max = max > 0 ? max : 1;
    min = min < max ? min : max / 10;
    min = fmax(min, max / 1e6); /* several tokens of one event: no time between */
    fr.low = floor(log10(min));
    fr.high = fmax(ceil(log10(max)), fr.low + 1);
    return fr;
}

static double x_of(const struct frame *fr, double i)
{
    return LEFT + PLOT * i / (double)(fr->n - 1);
}

static double y_of(const struct frame *fr, double v)
{
    double at = v > 0 ? (log10(v) - fr->low) / (fr->high - fr->low) : 0;
    return TOP + HEIGHT * (1 - fmax(at, 0));
}

static void print_grid(FILE *f, const struct hd_svg_lines *l, const struct frame *fr)
{
    for (double p = fr->low; p <= fr->high; p++) {
        double y = y_of(fr, pow(10, p));
        fprintf(f,
                "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"g\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g %s</text>\n",
                LEFT, y, LEFT + PLOT, y, LEFT - 8, y + 5, pow(10, p), l->unit);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\">%zu</text>", LEFT, TOP + HEIGHT + 18, l->first);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">token %zu</text>\n", LEFT + PLOT,
            TOP + HEIGHT + 18, l->first + fr->n - 1);
    double x = x_of(fr, (double)(l->mark - l->first));
    fprintf(f,
            "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"m\"/>"
            "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">killed</text>\n",
            x, TOP, x, TOP + HEIGHT, x, TOP + HEIGHT + 18);
}

static void print_line(FILE *f, const struct hd_svg_line *line, const struct frame *fr, size_t i)
{
    const char *color = palettes[HD_SVG_POLICIES][i % HD_SVG_MAX_LINES];
    double y = TOP + 14 + 20 * (double)i;
    const char *dash = line->dashed ? " stroke-dasharray=\"5 4\"" : "";
    fprintf(f, "<polyline class=\"l\" stroke=\"%s\"%s points=\"", color, dash);
    for (size_t k = 0; k < line->n; k++)
        fprintf(f, "%.1f,%.1f ", x_of(fr, (double)k), y_of(fr, line->y[k]));
    fprintf(f,
            "\"/>\n<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" class=\"l\" "
            "stroke=\"%s\"%s/><text x=\"%d\" y=\"%.1f\">%s</text>\n",
            LEFT + PLOT + 12, LEFT + PLOT + 42, y, y, color, dash, LEFT + PLOT + 48, y + 5,
            line->label);
}

void hd_svg_lines(FILE *f, const struct hd_svg_lines *l)
{
    struct frame fr = frame_of(l);
    open_svg(f, l->title, TOP + HEIGHT + LEGEND);
    print_grid(f, l, &fr);
    for (size_t i = 0; i < l->n; i++)
        print_line(f, &l->lines[i], &fr, i);
    fputs("</svg></div>\n", f);
}
