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
};

static int read_parameters(const json_t *o, struct hd_rope_config *r, struct hd_error *err)
{
    const struct {
        const char *key;
        unsigned of;
        double *out;
    } parameters[] = {
        {"factor", LINEAR | DYNAMIC | LLAMA3 | YARN, &r->factor},
        {"low_freq_factor", LLAMA3, &r->low_freq_factor},
        {"high_freq_factor", LLAMA3, &r->high_freq_factor},
        {"beta_fast", YARN, &r->beta_fast},
        {"beta_slow", YARN, &r->beta_slow},
        {"attention_factor", YARN, &r->attention_factor},
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

static int read_kind(const json_t *o, struct hd_rope_config *r, struct hd_error *err)
{
    static const char *const kinds[HD_ROPE_SCALINGS] = {[HD_ROPE_PLAIN] = "default",
                                                        [HD_ROPE_LINEAR] = "linear",
                                                        [HD_ROPE_DYNAMIC] = "dynamic",
                                                        [HD_ROPE_LLAMA3] = "llama3",
                                                        [HD_ROPE_YARN] = "yarn"};
    const json_t *now = json_object_get(o, "rope_type"), *then = json_object_get(o, "type");
    const char *type = "default";

    if (!hf_absent(now) && !hf_absent(then) && !json_equal(now, then))
        return hd_fail(err, HD_E_UNSUPPORTED, "rope_type and type of RoPE contradict");
    now = hf_absent(now) ? then : now;
    if (!hf_absent(now))
        type = json_is_string(now) ? json_string_value(now) : "?";
    for (int i = 0; i < HD_ROPE_SCALINGS; i++)
        if (strcmp(type, kinds[i]) == 0) {
            r->scaling = (enum hd_rope_scaling)i;
            return 0;
        }
    return hd_fail(
        err, HD_E_UNSUPPORTED,
        "rope_type \"%.40s\" is not supported (default, linear, dynamic, llama3 and yarn "
        "are)",
        type);
}

/* As in transformers, the model's own original length goes before that of the scaling, and its
 * whole length stands in where neither is said. What is not said of yarn's factor is by how much
 * the whole is longer. */
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
    if (rc == 0 && r->scaling == HD_ROPE_YARN && r->factor == 0 && *out > 0)
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
        rc = read_kind(p, r, err);
    if (rc == 0)
        rc = hf_check_fields(p, h->arch->hf_rules, hd_rope_rules, "field of RoPE", h, NULL, err);
    if (rc == 0)
        rc = read_parameters(p, r, err);
    if (rc == 0)
        rc = read_part(p, h, err);
    return rc < 0 ? rc : read_original(o, p, h, r, err);
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
    if (h->arch->local_theta != 0 && json_object_get(p, "full_attention"))
        return read_both(o, p, h, err);
    return read_scaling(o, p, h, &h->rope, err);
}
