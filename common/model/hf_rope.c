/* RoPE in config.json: `rope_theta` beside `rope_scaling`, or `rope_parameters`. */
#include "common/model/hf_read.h"

#include <string.h>

/* Parameters, and the kinds of scaling that use them. One that its kind does not use was meant for
 * another. */
enum {
    LINEAR = 1 << HD_ROPE_LINEAR,
    DYNAMIC = 1 << HD_ROPE_DYNAMIC,
    LLAMA3 = 1 << HD_ROPE_LLAMA3,
    YARN = 1 << HD_ROPE_YARN,
    LONG = 1 << HD_ROPE_LONGROPE,
};

static int read_parameters(const json_t *o, struct hd_rope_config *r, struct hd_error *err)
{
    const struct {
        const char *key;
        unsigned of;
        double *out;
    } parameters[] = {
        {"factor", LINEAR | DYNAMIC | LLAMA3 | YARN | LONG, &r->factor},
        {"low_freq_factor", LLAMA3, &r->low_freq_factor},
        {"high_freq_factor", LLAMA3, &r->high_freq_factor},
        {"beta_fast", YARN, &r->beta_fast},
        {"beta_slow", YARN, &r->beta_slow},
        {"attention_factor", YARN | LONG, &r->attention_factor},
        {"mscale", YARN, &r->mscale},
        {"mscale_all_dim", YARN, &r->mscale_all_dim},
    };
    bool truncate = true;
    int rc = hf_read_flag(o, "truncate", &truncate, err);

    r->exact_ramp = !truncate;
    for (size_t i = 0; rc == 0 && i < sizeof parameters / sizeof *parameters; i++) {
        double v = 1;

        rc = hf_read_real(o, parameters[i].key, &v, err);
        if (rc == 0 && !(parameters[i].of & 1u << r->scaling) && v != 1)
            rc = hd_fail(err, HD_E_UNSUPPORTED,
                         "field %s of RoPE is %g, and its rope_type does not use it: say which "
                         "scaling is meant",
                         parameters[i].key, v);
        if (rc == 0 && !hf_absent(json_object_get(o, parameters[i].key)))
            *parameters[i].out = v;
    }
    return rc;
}

/* Divisors of the frequencies, a number for each pair; their count is compared with the pairs when
 * these are known. */
static int read_factors(const json_t *o, const char *key, double *out, size_t *n,
                        struct hd_error *err)
{
    const json_t *list = json_object_get(o, key);

    *n = json_array_size(list);
    if (*n == 0 || *n > HD_ROPE_FACTORS)
        return hd_fail(err, HD_E_FORMAT, "%s of RoPE is not a list of 1 to %d numbers", key,
                       HD_ROPE_FACTORS);
    for (size_t i = 0; i < *n; i++) {
        out[i] = json_number_value(json_array_get(list, i));
        if (!(out[i] >= HD_ROPE_FACTOR_MIN && out[i] <= HD_ROPE_FACTOR_MAX))
            return hd_fail(err, HD_E_RANGE, "%s of RoPE: number %zu is %g", key, i, out[i]);
    }
    return 0;
}

static int read_long(const json_t *o, struct hd_hyper *h, struct hd_rope_config *r,
                     struct hd_error *err)
{
    size_t n = 0;
    int rc;

    if (r->scaling != HD_ROPE_LONGROPE && (!hf_absent(json_object_get(o, "long_factor")) ||
                                           !hf_absent(json_object_get(o, "short_factor"))))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "RoPE has long_factor or short_factor, and its rope_type does not use them");
    if (r->scaling != HD_ROPE_LONGROPE)
        return 0;
    rc = read_factors(o, "short_factor", h->short_factors, &h->n_factors, err);
    if (rc == 0)
        rc = read_factors(o, "long_factor", h->long_factors, &n, err);
    if (rc == 0 && n != h->n_factors)
        rc = hd_fail(err, HD_E_FORMAT, "RoPE has %zu short and %zu long factors", h->n_factors, n);
    r->divisors = h->short_factors;
    return rc;
}

#define MROPE ((struct hd_str){"mrope_section", 13})

/* Phi3's first files call longrope by other names, as transformers knows. */
static bool is_kind(const struct hd_hyper *h, const char *type, const char *kind)
{
    static const struct hd_rule none[] = {HD_RULES_END};

    if (hd_rule_find(h->arch->hf_rules ? h->arch->hf_rules : none, MROPE) &&
        strcmp(type, "mrope") == 0) /* of a text all three positions are one */
        type = "default";
    if (h->arch->long_rope && (strcmp(type, "su") == 0 || strcmp(type, "yarn") == 0))
        type = "longrope";
    return strcmp(type, kind) == 0;
}

static int read_kind(const json_t *o, const struct hd_hyper *h, struct hd_rope_config *r,
                     struct hd_error *err)
{
    static const char *const kinds[HD_ROPE_SCALINGS] = {
        [HD_ROPE_PLAIN] = "default", [HD_ROPE_LINEAR] = "linear", [HD_ROPE_DYNAMIC] = "dynamic",
        [HD_ROPE_LLAMA3] = "llama3", [HD_ROPE_YARN] = "yarn",     [HD_ROPE_LONGROPE] = "longrope"};
    const json_t *now = json_object_get(o, "rope_type"), *then = json_object_get(o, "type");
    const char *type = "default";

    if (!hf_absent(now) && !hf_absent(then) && !json_equal(now, then))
        return hd_fail(err, HD_E_UNSUPPORTED, "rope_type and type of RoPE contradict");
    now = hf_absent(now) ? then : now;
    if (!hf_absent(now))
        type = json_is_string(now) ? json_string_value(now) : "?";
    for (int i = 0; i < HD_ROPE_SCALINGS; i++)
        if (is_kind(h, type, kinds[i])) {
            r->scaling = (enum hd_rope_scaling)i;
            return 0;
        }
    return hd_fail(
        err, HD_E_UNSUPPORTED,
        "rope_type \"%.40s\" is not supported (default, linear, dynamic, llama3, yarn and "
        "longrope are)",
        type);
}

/* As in transformers, the model's own original length goes before that of the scaling, and its
 * whole length stands in where neither is said. A factor of yarn or longrope that is not
 * said is by how much the whole is longer. */
static int read_original(const json_t *o, const json_t *p, const struct hd_hyper *h,
                         struct hd_rope_config *r, struct hd_error *err)
{
    static const char key[] = "original_max_position_embeddings";
    double *out = &r->original_context;
    int rc;

    *out = (double)h->context;
    rc = hf_read_real(p, key, out, err);
    if (rc == 0)
        rc = hf_read_real(o, key, out, err);
    if (rc == 0 && (r->scaling == HD_ROPE_YARN || r->scaling == HD_ROPE_LONGROPE) &&
        r->factor == 0 && *out > 0)
        r->factor = (double)h->context / *out;
    return rc;
}

static int read_part(const json_t *p, struct hd_hyper *h, struct hd_error *err)
{
    static const char key[] = "partial_rotary_factor";
    uint64_t head = h->head_dim ? h->head_dim : h->n_heads ? h->dim / h->n_heads : 0;
    double part = 0;
    int rc = h->arch->partial_rope ? hf_read_real(p, key, &part, err) : 0;

    if (rc < 0 || part == 0)
        return rc;
    if (!(part > 0 && part <= 1))
        return hd_fail(err, HD_E_FORMAT, "%s is %g, which is not from 0 to 1", key, part);
    h->rope_dim = (uint64_t)((double)head * part);
    return 0;
}

static int read_scaling(const json_t *o, const json_t *p, struct hd_hyper *h,
                        struct hd_rope_config *r, struct hd_error *err)
{
    int rc = hf_read_real(p, "rope_theta", &r->theta, err);

    if (rc == 0)
        rc = read_kind(p, h, r, err);
    if (rc == 0)
        rc = hf_check_fields(p, h->arch->hf_rules, hd_rope_rules, "field of RoPE", h, NULL, err);
    if (rc == 0)
        rc = read_parameters(p, r, err);
    if (rc == 0)
        rc = read_long(p, h, r, err);
    if (rc == 0)
        rc = hf_read_real(p, "llama_4_scaling_beta", &h->growth, err);
    if (rc == 0)
        rc = read_part(p, h, err);
    if (rc == 0)
        rc = read_original(o, p, h, r, err);
    h->growth_from = r->original_context;
    return rc;
}

/* One object for layers with a window, one for the others: as transformers 5 writes them. */
static int read_both(const json_t *o, const json_t *p, struct hd_hyper *h, struct hd_error *err)
{
    const json_t *all = json_object_get(p, "full_attention"),
                 *local = json_object_get(p, "sliding_attention");
    int rc = 0;

    if (json_object_size(p) != 2 || !json_is_object(all) || !json_is_object(local))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "rope_parameters are not those of full_attention and sliding_attention");
    rc = read_scaling(o, all, h, &h->rope, err);
    return rc < 0 ? rc : read_scaling(o, local, h, &h->local, err);
}

int hf_read_rope(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    const json_t *p = json_object_get(o, "rope_parameters"),
                 *then = json_object_get(o, "rope_scaling");
    int rc;

    h->rope.theta = 10000;
    h->local.theta = h->arch->local_theta;
    rc = hf_read_real(o, "rope_theta", &h->rope.theta, err);
    if (rc == 0 && h->arch->local_theta != 0)
        rc = hf_read_real(o, "rope_local_base_freq", &h->local.theta, err);
    if (rc == 0)
        rc = read_part(o, h, err);
    if (rc == 0 && !hf_absent(p) && !hf_absent(then) && !json_equal(p, then))
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "rope_parameters and rope_scaling are both given and differ");
    p = hf_absent(p) ? then : p;
    if (rc < 0 || hf_absent(p))
        return rc;
    if (!json_is_object(p))
        return hd_fail(err, HD_E_FORMAT, "rope_parameters or rope_scaling is not an object");
    if ((h->arch->local_theta != 0 || h->arch->local_plain) && json_object_get(p, "full_attention"))
        return read_both(o, p, h, err);
    rc = read_scaling(o, p, h, &h->rope, err);
    if (h->arch->local_plain && h->rope.scaling != HD_ROPE_PLAIN)
        h->local.theta = h->rope.theta;
    return rc;
}
