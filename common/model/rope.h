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
    HD_ROPE_LINEAR,  /* every frequency divided by `factor` */
    HD_ROPE_DYNAMIC, /* another base for sequences longer than the model's context, which are not
                      * served: plain */
    HD_ROPE_LLAMA3,  /* long waves divided by `factor`, short ones kept, a ramp between (the rule of
                      * Llama 3.1, as in Hugging Face's modeling_rope_utils) */
    HD_ROPE_YARN,    /* pairs that turn often kept, those that turn seldom divided by `factor`, a
                      * ramp over the pairs between (Peng et al. 2023, section 3.2) */
    HD_ROPE_LONGROPE, /* a divisor for each pair, others in sequences longer than the original
                       * context (Ding et al. 2024) */
    HD_ROPE_SCALINGS,
};

struct hd_rope_config {
    double theta;
    enum hd_rope_scaling scaling;
    double factor;
    double low_freq_factor, high_freq_factor; /* llama3 */
    double original_context;                  /* llama3, yarn, longrope */
    const double *divisors;                   /* longrope: [rotated/2], borrowed */
    /* yarn. Turns within the original context from which a pair is kept, and up to which it is
     * divided; 0: 32 and 1. */
    double beta_fast, beta_slow;
    bool exact_ramp; /* yarn: the ramp's ends are not rounded to whole pairs */
    /* yarn, longrope: what cosines and sines are multiplied by; 0: as the paper has it from the
     * factor: yarn 0.1 ln(factor) + 1, or that of mscale by that of mscale_all_dim if both are
     * given; longrope sqrt(1 + ln(factor) / ln(original context)). */
    double attention_factor, mscale, mscale_all_dim;
};

/* Above this a frequency makes no sense (plain ones are at most 1), and the reduction of angles
 * would lose bits. */
#define HD_ROPE_MAX_FREQ   4.0
#define HD_ROPE_FACTOR_MIN 0.25 /* of a divisor: no frequency is above HD_ROPE_MAX_FREQ */
#define HD_ROPE_FACTOR_MAX 1e6
#define HD_ROPE_FACTORS    512 /* lists of them are no longer: heads of up to 1,024 values */

/* HD_E_RANGE when a parameter is outside what the formulas are made for; `err` says which. */
int hd_rope_check(const struct hd_rope_config *c, struct hd_error *err);
/* freq[rotated/2], for so many values of a head; the configuration has been checked. */
void hd_rope_frequencies(const struct hd_rope_config *c, uint32_t rotated, double *freq);
/* What scaling divides the frequencies by: what a GGUF's rope_freqs.weight holds.
 * divisor[rotated/2] */
void hd_rope_divisors(const struct hd_rope_config *c, uint32_t rotated, double *divisor);
/* What cosines and sines are multiplied by; 1 as a rule. */
double hd_rope_attention_factor(const struct hd_rope_config *c);
/* The natural logarithm of x > 0, of plain operations. */
double hd_rope_ln(double x);
/* cos and sin of pos * freq, for pos below 2^20 and freq up to HD_ROPE_MAX_FREQ; error below
 * 1e-10. */
void hd_rope_cos_sin(uint32_t pos, double freq, double *cos_out, double *sin_out);

#endif
