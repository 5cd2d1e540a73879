/* serving.c - times are handed in: nothing here asks a clock. */
#include "leader/metrics/serving.h"

#include "leader/metrics/exposition.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Bounds as those of vLLM (vllm/v1/metrics/loggers.py), so that dashboards and alert rules which
 * name a bound fit; the finest are added, because a small model on one machine is faster. */
static const double first_token_bounds[] = {0.001, 0.005, 0.01, 0.02,  0.04,  0.06,  0.08, 0.1,
                                            0.25,  0.5,   0.75, 1.0,   2.5,   5.0,   7.5,  10.0,
                                            20.0,  40.0,  80.0, 160.0, 640.0, 2560.0};
static const double inter_token_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                            0.1,   0.15,   0.2,   0.3,  0.4,   0.5,  0.75,
                                            1.0,   2.5,    5.0,   7.5,  10.0,  20.0, 40.0};
static const double request_bounds[] = {0.1,   0.3,   0.5,   0.8,   1.0,    1.5,   2.0,  2.5,
                                        5.0,   10.0,  15.0,  20.0,  30.0,   40.0,  50.0, 60.0,
                                        120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};

_Static_assert(COUNT(first_token_bounds) <= HD_HISTOGRAM_MAX_BOUNDS, "fits a histogram");
_Static_assert(COUNT(inter_token_bounds) <= HD_HISTOGRAM_MAX_BOUNDS, "fits a histogram");
_Static_assert(COUNT(request_bounds) <= HD_HISTOGRAM_MAX_BOUNDS, "fits a histogram");

const char *hd_outcome_name(enum hd_outcome o)
{
    static const char *const names[HD_OUTCOMES] = {"stop", "length", "abort", "error"};
    return names[o];
}

void hd_serving_init(struct hd_serving *s)
{
    *s = (struct hd_serving){0};
    hd_histogram_init(&s->queue, request_bounds, COUNT(request_bounds));
    hd_histogram_init(&s->first_token, first_token_bounds, COUNT(first_token_bounds));
    hd_histogram_init(&s->inter_token, inter_token_bounds, COUNT(inter_token_bounds));
    hd_histogram_init(&s->request, request_bounds, COUNT(request_bounds));
}

static double seconds(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0;
}

void hd_serving_started(struct hd_serving *s, uint64_t submitted_us, uint64_t now_us)
{
    if (s)
        hd_histogram_observe(&s->queue, seconds(submitted_us, now_us));
}

void hd_serving_token(struct hd_serving *s, uint64_t submitted_us, uint64_t last_us,
                      uint64_t now_us)
{
    if (!s)
        return;
    if (last_us == 0)
        hd_histogram_observe(&s->first_token, seconds(submitted_us, now_us));
    else
        hd_histogram_observe(&s->inter_token, seconds(last_us, now_us));
}

void hd_serving_ended(struct hd_serving *s, enum hd_outcome how, uint64_t submitted_us,
                      uint64_t now_us)
{
    if (!s)
        return;
    s->outcomes[how]++;
    hd_histogram_observe(&s->request, seconds(submitted_us, now_us));
}

/* ---- GET /metrics ----*/

static void put_latency(FILE *out, const struct hd_family *f, const struct hd_histogram *h)
{
    hd_exposition_family(out, f);
    hd_exposition_histogram(out, f->name, NULL, h);
}

void hd_serving_expose(FILE *out, const struct hd_serving *s)
{
    static const struct hd_family queue = {"hydac_request_queue_time_seconds", "histogram",
                                           "From a request's arrival to its first row."};
    static const struct hd_family first = {"hydac_time_to_first_token_seconds", "histogram",
                                           "From a request's arrival to its first token."};
    static const struct hd_family inter = {"hydac_inter_token_latency_seconds", "histogram",
                                           "From a token to the next one of the same answer."};
    static const struct hd_family whole = {"hydac_e2e_request_latency_seconds", "histogram",
                                           "From a request's arrival to its end."};
    static const struct hd_family ended = {"hydac_request_success_total", "counter",
                                           "Requests that ended, by how."};
    put_latency(out, &queue, &s->queue);
    put_latency(out, &first, &s->first_token);
    put_latency(out, &inter, &s->inter_token);
    put_latency(out, &whole, &s->request);
    hd_exposition_family(out, &ended);
    for (int i = 0; i < HD_OUTCOMES; i++) {
        const struct hd_label how[] = {{"finished_reason", hd_outcome_name(i)}, {0}};
        hd_exposition_sample(out, ended.name, how, (double)s->outcomes[i]);
    }
}
