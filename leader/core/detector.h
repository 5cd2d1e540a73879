/* detector.h - phi-accrual failure detector (Hayashibara et al. 2004) for one worker. Pure.
 *
 * phi(t) = -log10 P(an answer comes later than t after the last one), answers' intervals taken as
 * normal with the window's mean and deviation. Both are clamped, so that with the default interval
 * of 50 ms phi passes `phi_offline` between 215 and 245 ms of silence, however regular or irregular
 * the answers were: a worker that answers 150 ms late is not lost, and a silent one is found by the
 * first tick after that, before 300 ms. Time during which the detector's own loop was late does not
 * count as silence. */
#ifndef HD_CORE_DETECTOR_H
#define HD_CORE_DETECTOR_H

#include "common/util/silence.h"

#include <stdint.h>

#define HD_DETECTOR_WINDOW 64

struct hd_detector_options {
    uint64_t interval_us; /* heartbeat interval */
    uint64_t max_mean_us; /* default interval * 1.2; the mean is never below the interval */
    uint64_t min_std_us;  /* default interval * 0.6 */
    uint64_t max_std_us;  /* default interval * 0.65 */
    double phi_suspect;   /* default 3 */
    double phi_offline;   /* default 8 */
};
struct hd_detector_options hd_detector_defaults(uint64_t interval_us);

struct hd_detector {
    struct hd_detector_options o;
    struct hd_silence silence; /* since the last answer */
    uint32_t n, next;
    uint32_t interval[HD_DETECTOR_WINDOW]; /* ring of intervals, us */
};
void hd_detector_init(struct hd_detector *d, const struct hd_detector_options *o, uint64_t now_us);
void hd_detector_heard(struct hd_detector *d, uint64_t now_us);
/* The loop that feeds this detector woke `late_us` after it wanted to. */
void hd_detector_excuse(struct hd_detector *d, uint64_t late_us);
double hd_detector_phi(const struct hd_detector *d, uint64_t now_us);
/* Silence in us after which phi reaches `phi`, with the present window (for tests and status). */
uint64_t hd_detector_deadline(const struct hd_detector *d, double phi);

#endif
