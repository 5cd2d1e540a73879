/* RoPE against the formulas, through libm. */
#include "fixture.h"

#include "common/model/rope.h"

#include <criterion/criterion.h>
#include <math.h>

TestSuite(rope, .init = folder_init, .fini = folder_fini, .timeout = 60);

static double llama3(const struct hd_rope_config *c, double f)
{
    double wave = 2 * M_PI / f;
    double low = c->original_context / c->low_freq_factor;
    double high = c->original_context / c->high_freq_factor;

    if (wave < high)
        return f;
    if (wave > low)
        return f / c->factor;
    double smooth = (c->original_context / wave - c->low_freq_factor) /
                    (c->high_freq_factor - c->low_freq_factor);
    return (1 - smooth) * f / c->factor + smooth * f;
}

Test(rope, frequencies)
{
    static const double thetas[] = {10000, 100000, 500000, 1.5, 1e15};
    static const uint32_t dims[] = {16, 32, 48, 64, 96, 128, 256};
    double freq[128];

    for (size_t t = 0; t < 5; t++) {
        for (size_t d = 0; d < 7; d++) {
            struct hd_rope_config c = {.theta = thetas[t],
                                       .factor = 32,
                                       .low_freq_factor = 1,
                                       .high_freq_factor = 4,
                                       .original_context = 8192};
            hd_rope_frequencies(&c, dims[d], freq);
            for (uint32_t i = 0; i < dims[d] / 2; i++) {
                double want = pow(thetas[t], -2.0 * i / dims[d]);
                cr_assert_float_eq(freq[i], want, want * 1e-12, "%g %u %u", thetas[t], dims[d], i);
            }
            c.scaling = HD_ROPE_LLAMA3;
            hd_rope_frequencies(&c, dims[d], freq);
            for (uint32_t i = 0; i < dims[d] / 2; i++) {
                double want = llama3(&c, pow(thetas[t], -2.0 * i / dims[d]));
                cr_assert_float_eq(freq[i], want, want * 1e-12, "%g %u %u", thetas[t], dims[d], i);
            }
        }
    }
}

/* The paper's, in transformers' words: the ramp is over pairs. */
static double yarn(const struct hd_rope_config *c, uint32_t rotated, uint32_t i)
{
    double fast = c->beta_fast != 0 ? c->beta_fast : 32,
           slow = c->beta_slow != 0 ? c->beta_slow : 1;
    double low = rotated * log(c->original_context / (fast * 2 * M_PI)) / (2 * log(c->theta));
    double high = rotated * log(c->original_context / (slow * 2 * M_PI)) / (2 * log(c->theta));
    double f = pow(c->theta, -2.0 * i / rotated);

    if (!c->exact_ramp)
        low = floor(low), high = ceil(high);
    low = fmax(low, 0), high = fmin(high, rotated - 1);
    double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
    return f / c->factor * ramp + f * (1 - ramp);
}

Test(rope, yarn)
{
    static const struct hd_rope_config cases[] = {
        {.theta = 1e6, .factor = 4, .original_context = 32768},
        {.theta = 150000, .factor = 32, .original_context = 4096, .exact_ramp = true},
        {.theta = 1e4, .factor = 1, .original_context = 2048},
        {.theta = 5e5, .factor = 16, .original_context = 30, .beta_fast = 40, .beta_slow = 2},
        {.theta = 1e6, .factor = 8.5, .original_context = 300, .beta_slow = 0.5},
    };
    double freq[64];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t rotated = 16; rotated <= 128; rotated *= 2) {
            struct hd_rope_config c = cases[i];

            c.scaling = HD_ROPE_YARN;
            hd_rope_frequencies(&c, rotated, freq);
            for (uint32_t k = 0; k < rotated / 2; k++) {
                double want = yarn(&c, rotated, k);
                cr_assert_float_eq(freq[k], want, want * 1e-12, "%zu %u %u", i, rotated, k);
            }
        }
}

Test(rope, attention_factor)
{
    struct hd_rope_config c = {.theta = 1e6, .factor = 4, .original_context = 32768};

    cr_assert_eq(hd_rope_attention_factor(&c), 1);
    c.scaling = HD_ROPE_YARN;
    cr_assert_float_eq(hd_rope_attention_factor(&c), 0.1 * log(4) + 1, 1e-14);
    c.mscale = 2;
    cr_assert_float_eq(hd_rope_attention_factor(&c), 0.1 * log(4) + 1, 1e-14);
    c.mscale_all_dim = 0.5;
    cr_assert_float_eq(hd_rope_attention_factor(&c), (0.2 * log(4) + 1) / (0.05 * log(4) + 1),
                       1e-14);
    c.attention_factor = 1.25;
    cr_assert_eq(hd_rope_attention_factor(&c), 1.25);
    c = (struct hd_rope_config){.theta = 1e6, .scaling = HD_ROPE_YARN, .factor = 1};
    cr_assert_eq(hd_rope_attention_factor(&c), 1);
}

Test(rope, logarithm)
{
    for (double x = 1e-9; x < 1e18; x *= 1.37)
        cr_assert_float_eq(hd_rope_ln(x), log(x), 1e-14 * (1 + fabs(log(x))), "%g", x);
    cr_assert_eq(hd_rope_ln(1), 0);
}

Test(rope, cos_and_sin)
{
    for (uint64_t i = 0; i < 200000; i++) {
        uint64_t r = random_at(11, i);
        uint32_t pos = (uint32_t)(r % HD_MAX_CONTEXT);
        double freq = HD_ROPE_MAX_FREQ / (double)(1 + (r >> 20) % 100000), c, s;

        if (i % 16 == 0)
            pos = HD_MAX_CONTEXT - 1 - (uint32_t)(i / 16 % 1000), freq = HD_ROPE_MAX_FREQ;
        hd_rope_cos_sin(pos, freq, &c, &s);
        cr_assert_float_eq(c, cos(pos * freq), 1e-10, "%u %g", pos, freq);
        cr_assert_float_eq(s, sin(pos * freq), 1e-10, "%u %g", pos, freq);
    }
}

/* The frequencies come through the file as 32-bit divisors, as llama.cpp's converter writes them.
 */
Test(rope, of_a_gguf_with_divisors)
{
    struct hd_model *m = open_ok(make_synth("tiny", HD_Q8_0, 1));
    const struct hd_rope_config c = {.theta = 500000,
                                     .factor = 32,
                                     .low_freq_factor = 1,
                                     .high_freq_factor = 4,
                                     .original_context = 64};
    float cs[32];

    for (uint32_t i = 0; i < 16; i++) {
        double want = llama3(&c, pow(500000, -2.0 * i / 32));
        cr_assert_float_eq(m->rope_freq[i], want, want * 1e-6);
    }
    hd_model_rope(m, 1777, cs);
    for (uint32_t i = 0; i < 16; i++) {
        cr_assert_float_eq(cs[2 * i], cos(1777 * m->rope_freq[i]), 1e-7);
        cr_assert_float_eq(cs[2 * i + 1], sin(1777 * m->rope_freq[i]), 1e-7);
    }
    hd_model_rope(m, 0, cs);
    for (uint32_t i = 0; i < 16; i++)
        cr_assert(cs[2 * i] == 1 && cs[2 * i + 1] == 0);
    hd_model_close(m);
}

Test(rope, parameters_out_of_range)
{
    static const struct hd_rope_config bad[] = {
        {.theta = 0},
        {.theta = 1},
        {.theta = NAN},
        {.theta = INFINITY},
        {.theta = 1e4, .scaling = HD_ROPE_LINEAR, .factor = 0.5},
        {.theta = 1e4, .scaling = HD_ROPE_LINEAR, .factor = NAN},
        {.theta = 1e4, .scaling = HD_ROPE_LLAMA3, .factor = 8},
        {1e4, HD_ROPE_LLAMA3, 8, 4, 4, .original_context = 8192},
        {1e4, HD_ROPE_LLAMA3, 8, 1, 4, .original_context = 0},
        {1e4, HD_ROPE_YARN, 8, .original_context = 0},
        {1e4, HD_ROPE_YARN, 0.5, .original_context = 64},
        {1e4, HD_ROPE_YARN, 8, .original_context = 64, .beta_fast = 1, .beta_slow = 2},
        {1e4, HD_ROPE_YARN, 8, .original_context = 64, .beta_slow = -1},
        {1e4, HD_ROPE_YARN, 8, .original_context = 64, .beta_fast = INFINITY},
        {1e4, HD_ROPE_YARN, 8, .original_context = 64, .attention_factor = -1},
        {1e4, HD_ROPE_YARN, 8, .original_context = 64, .mscale = NAN},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hd_error err = {0};

        cr_assert_eq(hd_rope_check(&bad[i], &err), HD_E_RANGE, "%zu", i);
        cr_assert_eq(err.code, HD_E_RANGE);
    }
}
