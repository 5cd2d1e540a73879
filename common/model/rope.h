/* rope.h - rotary position embedding: angle per position for each pair of a head's values.
 * Internal to common/model.
 *
 * Only +, -, *, / and comparisons of IEEE doubles: the libraries of two machines may differ in the
 * last bit of pow, sin and cos, and that bit must not decide a token. */
#ifndef HD_MODEL_ROPE_H
#define HD_MODEL_ROPE_H

#include "common/model/gguf.h"

enum hd_rope_scaling {
    HD_ROPE_PLAIN,
    HD_ROPE_LINEAR, /* every frequency divided by `factor` */
    HD_ROPE_LLAMA3, /* long waves divided by `factor`, short ones kept, a ramp between (the rule of
                     * Llama 3.1, as in Hugging Face's modeling_rope_utils) */
};

struct hd_rope_config {
    double theta;
    enum hd_rope_scaling scaling;
    double factor;
    double low_freq_factor, high_freq_factor, original_context; /* llama3 */
};

/* Above this a frequency makes no sense (plain ones are at most 1), and the reduction of angles
 * would lose bits. */
#define HD_ROPE_MAX_FREQ 4.0

/* HD_E_RANGE when a parameter is outside what the formulas are made for; `err` says which. */
int hd_rope_check(const struct hd_rope_config *c, struct hd_error *err);
/* freq[rotated/2], for so many values of a head; the configuration has been checked. */
void hd_rope_frequencies(const struct hd_rope_config *c, uint32_t rotated, double *freq);
/* What scaling divides a frequency by: what a GGUF's rope_freqs.weight holds. */
double hd_rope_divisor(const struct hd_rope_config *c, double freq);
/* cos and sin of pos * freq, for pos below 2^20 and freq up to HD_ROPE_MAX_FREQ; error below
 * 1e-10. */
void hd_rope_cos_sin(uint32_t pos, double freq, double *cos_out, double *sin_out);

#endif
