/* test_detector.c - the failure detector in virtual time. */
#include "leader/core/detector.h"

#include <criterion/criterion.h>

#define MS 1000u

static struct hd_detector detector(void)
{
    struct hd_detector d;
    struct hd_detector_options o = hd_detector_defaults(50 * MS);
    hd_detector_init(&d, &o, 0);
    return d;
}

static uint64_t random_below(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % n;
}

/* However the answers came before, 300 ms of silence are enough, a tick's delay included. */
Test(core_detector, silence_is_found_in_time)
{
    static const uint64_t spreads[] = {1, 20 * MS, 100 * MS, 400 * MS};
    for (size_t i = 0; i < sizeof spreads / sizeof *spreads; i++) {
        struct hd_detector d = detector();
        uint64_t now = 0, seed = i;
        for (int n = 0; n < 200; n++) {
            uint64_t deadline = hd_detector_deadline(&d, d.o.phi_offline);
            cr_assert(deadline >= 215 * MS && deadline + 50 * MS < 300 * MS);
            cr_assert(hd_detector_phi(&d, now + deadline) >= 8);
            cr_assert(hd_detector_phi(&d, now + deadline - 1) < 8);
            now += 1 + random_below(&seed, spreads[i]);
            hd_detector_heard(&d, now);
        }
    }
}

/* Heartbeats every 50 ms, answers up to 150 ms late: nobody is declared lost. */
Test(core_detector, jitter_is_no_loss)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct hd_detector d = detector();
        uint64_t state = seed, heard = 0;
        for (uint64_t beat = 1; beat < 500; beat++) {
            uint64_t answer = beat * 50 * MS + random_below(&state, 150 * MS);
            for (uint64_t t = heard; t < answer; t += 5 * MS)
                cr_assert(hd_detector_phi(&d, t) < d.o.phi_offline);
            if (answer > heard)
                hd_detector_heard(&d, heard = answer);
        }
    }
}

Test(core_detector, phi_only_grows_with_silence)
{
    struct hd_detector d = detector();
    double last = -1;
    for (uint64_t t = 0; t < 10000 * MS; t += 10 * MS) {
        double phi = hd_detector_phi(&d, t);
        cr_assert(phi >= last && phi >= 0 && phi <= 300);
        last = phi;
    }
    cr_assert(last == 300);
}

Test(core_detector, own_lateness_is_excused)
{
    struct hd_detector d = detector();
    hd_detector_heard(&d, 50 * MS);
    hd_detector_excuse(&d, 900 * MS);
    cr_assert(hd_detector_phi(&d, 1000 * MS) < d.o.phi_suspect);
    cr_assert(hd_detector_phi(&d, 1000 * MS + 250 * MS) >= d.o.phi_offline);
    hd_detector_heard(&d, 1010 * MS); /* the excuse is used up */
    cr_assert(hd_detector_phi(&d, 1260 * MS) >= d.o.phi_offline);
}

/* Frames between heartbeats make short intervals; these must not make it impatient. */
Test(core_detector, many_frames_do_not_make_it_impatient)
{
    struct hd_detector d = detector();
    uint64_t now = 0;
    for (int i = 0; i < 1000; i++)
        hd_detector_heard(&d, now += 500);
    cr_assert(hd_detector_phi(&d, now + 200 * MS) < d.o.phi_offline);
}

Test(core_detector, clock_that_stands_still)
{
    struct hd_detector d = detector();
    hd_detector_heard(&d, 100 * MS);
    hd_detector_heard(&d, 100 * MS);
    cr_assert(hd_detector_phi(&d, 90 * MS) < 1); /* earlier than the last answer: no silence */
}
