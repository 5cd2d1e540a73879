/* test_probe.c - the speed that a worker reports. */
#include "tests/unit/worker/rig.h"
#include "worker/cpu/probe.h"

#include <criterion/criterion.h>

static uint64_t probe(enum hd_dtype type, enum hd_isa isa, unsigned threads)
{
    struct rig rig;
    rig_open(&rig, &(struct rig_options){.shape = "tiny", .type = type, .threads = 1});
    uint64_t speed =
        hd_probe(&(struct hd_device_options){.model = rig.model, .isa = isa, .threads = threads});
    rig_close(&rig);
    return speed;
}

/* On a busy machine a measurement may fail; one of many does not. What no machine reaches would be
 * a mistake in counting. */
Test(probe, is_a_speed)
{
    static const enum hd_dtype types[] = {HD_F32, HD_Q8_0, HD_Q4_1};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        uint64_t speed = 0;
        for (int tries = 0; tries < 20 && speed == 0; tries++)
            speed = probe(types[i], hd_isa_best(), 1 + i % 2);
        cr_assert_gt(speed, 1000000);
        cr_assert_lt(speed, 1000000000000000);
    }
}
