/* What is written is compared byte by byte with what the format's description asks for. */
#include "leader/metrics/exposition.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

struct page {
    FILE *out;
    char *text;
    size_t len;
};

static void open_page(struct page *p)
{
    p->out = open_memstream(&p->text, &p->len);
    cr_assert_not_null(p->out);
}

static void expect(struct page *p, const char *text)
{
    fclose(p->out);
    cr_assert_str_eq(p->text, text);
    free(p->text);
}

Test(exposition, family_and_sample)
{
    struct page p;
    open_page(&p);
    hd_exposition_family(p.out, &(struct hd_family){"a_total", "counter", "What it is."});
    hd_exposition_sample(p.out, "a_total", NULL, 3);
    expect(&p, "# HELP a_total What it is.\n# TYPE a_total counter\na_total 3\n");
}

Test(exposition, escapes)
{
    struct page p;
    open_page(&p);
    const struct hd_label labels[] = {{"x", "a\"b\\c\nd"}, {"y", "caf\xC3\xA9"}, {0}};
    hd_exposition_family(p.out, &(struct hd_family){"a", "gauge", "say \"x\"\\\n."});
    hd_exposition_sample(p.out, "a", labels, 1);
    expect(&p, "# HELP a say \"x\"\\\\\\n.\n# TYPE a gauge\n"
               "a{x=\"a\\\"b\\\\c\\nd\",y=\"caf\xC3\xA9\"} 1\n");
}

Test(exposition, bytes_that_are_no_text)
{
    struct page p;
    open_page(&p);
    const struct hd_label labels[] = {{"x", "\xFFz\xC3"}, {"y", "\xE2\x82"}, {"z", ""}, {0}};
    hd_exposition_sample(p.out, "a", labels, 1);
    expect(&p, "a{x=\"?z?\",y=\"\?\?\",z=\"\"} 1\n");
}

Test(exposition, values)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "a 0\n"},
                 {0.1, "a 0.1\n"},
                 {-2.5, "a -2.5\n"},
                 {9007199254740991.0, "a 9007199254740991\n"},
                 {1.0 / 3, "a 0.33333333333333331\n"},
                 {1e300, "a 1e+300\n"},
                 {INFINITY, "a +Inf\n"},
                 {-INFINITY, "a -Inf\n"},
                 {NAN, "a NaN\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct page p;
        open_page(&p);
        hd_exposition_sample(p.out, "a", NULL, cases[i].value);
        expect(&p, cases[i].text);
    }
}

Test(exposition, histogram)
{
    static const double bounds[] = {0.1, 1};
    struct hd_histogram h;
    struct page p;
    hd_histogram_init(&h, bounds, 2);
    hd_histogram_observe(&h, 0.05);
    hd_histogram_observe(&h, 0.5);
    hd_histogram_observe(&h, 0.75);
    hd_histogram_observe(&h, 7);
    open_page(&p);
    const struct hd_label labels[] = {{"k", "v"}, {0}};
    hd_exposition_histogram(p.out, "a", labels, &h);
    hd_exposition_histogram(p.out, "b", NULL, &h);
    expect(&p, "a_bucket{k=\"v\",le=\"0.1\"} 1\na_bucket{k=\"v\",le=\"1\"} 3\n"
               "a_bucket{k=\"v\",le=\"+Inf\"} 4\na_sum{k=\"v\"} 8.3\na_count{k=\"v\"} 4\n"
               "b_bucket{le=\"0.1\"} 1\nb_bucket{le=\"1\"} 3\nb_bucket{le=\"+Inf\"} 4\n"
               "b_sum 8.3\nb_count 4\n");
}
