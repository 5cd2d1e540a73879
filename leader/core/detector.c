/* detector.c - mean and deviation of the last intervals give the chance that silence is still
 * chance. */
#include "leader/core/detector.h"

#include <math.h>

/* Beyond this the tail of the normal distribution is no longer a double. */
#define PHI_MAX 300.0

struct hd_detector_options hd_detector_defaults(uint64_t interval_us)
{
    return (struct hd_detector_options){
        .interval_us = interval_us,
        .max_mean_us = interval_us * 6 / 5,
        .min_std_us = interval_us * 3 / 5,
        .max_std_us = interval_us * 13 / 20,
        .phi_suspect = 3,
        .phi_offline = 8,
    };
}

void hd_detector_init(struct hd_detector *d, const struct hd_detector_options *o, uint64_t now_us)
{
    *d = (struct hd_detector){.o = *o, .silence = {.heard_us = now_us}};
}

void hd_detector_heard(struct hd_detector *d, uint64_t now_us)
{
    uint64_t interval = hd_silence_of(&d->silence, now_us);
    d->interval[d->next] = interval > UINT32_MAX ? UINT32_MAX : (uint32_t)interval;
    d->next = (d->next + 1) % HD_DETECTOR_WINDOW;
    if (d->n < HD_DETECTOR_WINDOW)
        d->n++;
    hd_silence_heard(&d->silence, now_us);
}

void hd_detector_excuse(struct hd_detector *d, uint64_t late_us)
{
    hd_silence_excuse(&d->silence, late_us);
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static void window(const struct hd_detector *d, double *mean, double *std)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < d->n; i++)
        sum += d->interval[i];
    *mean = d->n ? sum / d->n : (double)d->o.interval_us;
    for (uint32_t i = 0; i < d->n; i++)
        squares += (d->interval[i] - *mean) * (d->interval[i] - *mean);
    /* Until there is something to judge by, the most patient. */
    *std = d->n ? sqrt(squares / d->n) : (double)d->o.max_std_us;
    *mean = clamp(*mean, (double)d->o.interval_us, (double)d->o.max_mean_us);
    *std = clamp(*std, (double)d->o.min_std_us, (double)d->o.max_std_us);
}

static double phi_at(const struct hd_detector *d, double silence_us)
{
    double mean, std;
    window(d, &mean, &std);
    double later = 0.5 * erfc((silence_us - mean) / (std * sqrt(2)));
    double phi = later > 0 ? -log10(later) : PHI_MAX;
    return phi > PHI_MAX ? PHI_MAX : phi;
}

double hd_detector_phi(const struct hd_detector *d, uint64_t now_us)
{
    return phi_at(d, (double)hd_silence_of(&d->silence, now_us));
}

uint64_t hd_detector_deadline(const struct hd_detector *d, double phi)
{
    uint64_t low = 0, high = d->o.max_mean_us + 40 * d->o.max_std_us; /* 40 deviations: PHI_MAX */
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (phi_at(d, (double)mid) >= phi)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}
