/* bench_svg.h - the two kinds of picture in the report, as SVG elements. */
#ifndef HD_CTL_BENCH_SVG_H
#define HD_CTL_BENCH_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define HD_SVG_MAX_PARTS 8
#define HD_SVG_MAX_LINES 4 /* told apart by their colours; more take turns */

enum hd_svg_palette { HD_SVG_PHASES, HD_SVG_MEMORY, HD_SVG_POLICIES, HD_SVG_PALETTES };

struct hd_svg_bar {
    char label[48], note[64]; /* before and behind the bar */
    double parts[HD_SVG_MAX_PARTS];
};

/* Horizontal bars of stacked parts. */
struct hd_svg_bars {
    const char *title, *unit;
    const char *const *part_names;
    size_t n_parts;
    enum hd_svg_palette palette; /* what the parts are of */
    const struct hd_svg_bar *bars;
    size_t n;
    bool shares; /* each bar fills the width; else all have one scale */
};
void hd_svg_bars(FILE *f, const struct hd_svg_bars *b);

/* Values over the numbers of tokens; the vertical scale is logarithmic. */
struct hd_svg_line {
    const char *label;
    const double *y; /* [n] */
    size_t n;
    bool dashed;
};
struct hd_svg_lines {
    const char *title, *unit;
    const struct hd_svg_line *lines;
    size_t n;
    size_t first; /* token of the first values */
    size_t mark;  /* a vertical line at this token */
};
void hd_svg_lines(FILE *f, const struct hd_svg_lines *l);

#endif
