/* quantization_config of config.json: FP8 as several programs write it, and gpt-oss' MXFP4. What
 * the weights are the tensors say themselves; this says that nothing else is meant. Activations of
 * 8 bits, which the programs behind such files may compute with, are not: ours are wider. */
#include "common/model/hf_read.h"

#include <string.h>

/* clang-format off */
static const struct hd_rule mxfp4_rules[] = {
    HD_READ("quant_method"), HD_NOTE("modules_to_not_convert"), HD_NOTE("dequantize"), HD_RULES_END,
};

/* transformers' own, as DeepSeek and Qwen publish them */
static const struct hd_rule fp8_rules[] = {
    HD_READ("quant_method"), HD_READ("weight_block_size"), HD_WORDS("fmt", "e4m3|float8_e4m3fn|e5m2"),
    HD_WORDS("activation_scheme", "dynamic|static"), HD_WORDS("scale_fmt", "ue8m0|float"),
    HD_NOTE("modules_to_not_convert"), HD_NOTE("ignored_layers"), HD_NOTE("dequantize"),
    HD_IS("is_checkpoint_fp8_serialized", 1), HD_RULES_END,
};

static const struct hd_rule fbgemm_rules[] = {
    HD_READ("quant_method"), HD_NOTE("modules_to_not_convert"), HD_NOTE("activation_scale_ub"),
    HD_RULES_END,
};

static const struct hd_rule modelopt_rules[] = {
    HD_READ("quant_method"), HD_WORDS("quant_algo", "FP8"), HD_NOTE("kv_cache_quant_algo"),
    HD_NOTE("kv_cache_scheme"), HD_NOTE("ignore"), HD_NOTE("exclude_modules"), HD_NOTE("producer"),
    HD_READ("config_groups"), HD_RULES_END,
};

static const struct hd_rule compressed_rules[] = {
    HD_READ("quant_method"), HD_READ("config_groups"),
    HD_WORDS("format", "float-quantized|naive-quantized"),
    HD_WORDS("quantization_status", "compressed|frozen"),
    HD_NOTE("ignore"), HD_NOTE("kv_cache_scheme"), HD_NOTE("version"),
    HD_NOTE("global_compression_ratio"), HD_EMPTY("transform_config"), HD_READ("sparsity_config"),
    HD_RULES_END,
};

static const struct hd_rule group_rules[] = {
    HD_READ("weights"), HD_NOTE("targets"), HD_NOTE("input_activations"),
    HD_EMPTY("output_activations"), HD_WORDS("format", "float-quantized|naive-quantized"),
    HD_RULES_END,
};

static const struct hd_rule weights_rules[] = {
    HD_WORDS("type", "float"), HD_IS("num_bits", 8), HD_IS("symmetric", 1), HD_IS("dynamic", 0),
    HD_WORDS("strategy", "tensor|channel|block"), HD_READ("block_structure"),
    HD_NOTE("observer"), HD_NOTE("observer_kwargs"), HD_NOTE("scale_dtype"),
    HD_NOTE("zp_dtype"), /* of symmetric weights, which have no zero point */
    HD_RULES_END,
};

static const struct hd_rule sparsity_rules[] = {
    HD_WORDS("format", "dense"), HD_NOTE("registry_requires_subclass"), HD_RULES_END,
};

static const struct method {
    const char *name;
    const struct hd_rule *rules;
} methods[] = {
    {"fp8", fp8_rules},
    {"fbgemm_fp8", fbgemm_rules},
    {"compressed-tensors", compressed_rules},
    {"modelopt", modelopt_rules},
};
/* clang-format on */

#define WHAT "field of quantization_config"

/* [rows, columns] that share a scale. */
static int read_blocks(const json_t *o, const char *key, struct hd_hyper *h, struct hd_error *err)
{
    const json_t *j = json_object_get(o, key);
    json_int_t rows = json_integer_value(json_array_get(j, 0)),
               cols = json_integer_value(json_array_get(j, 1));

    if (hf_absent(j))
        return 0;
    if (json_array_size(j) != 2 || rows < 1 || cols < 1 || rows > HD_MAX_FFN || cols > HD_MAX_FFN)
        return hd_fail(err, HD_E_FORMAT, "%s of quantization_config is not two sizes", key);
    h->f8_rows = (uint64_t)rows;
    h->f8_cols = (uint64_t)cols;
    return 0;
}

static int read_groups(const json_t *how, struct hd_hyper *h, struct hd_error *err)
{
    const char *name;
    json_t *group;
    int rc = 0;

    json_object_foreach(json_object_get(how, "config_groups"), name, group)
    {
        const json_t *weights = json_object_get(group, "weights");

        if (rc == 0 && hf_absent(weights))
            rc = hd_fail(err, HD_E_UNSUPPORTED, "quantization_config has a group without weights");
        if (rc == 0)
            rc = hf_check_fields(group, NULL, group_rules, WHAT, h, NULL, err);
        if (rc == 0)
            rc = hf_check_fields(weights, NULL, weights_rules, WHAT, h, NULL, err);
        if (rc == 0)
            rc = read_blocks(weights, "block_structure", h, err);
    }
    return rc;
}

static int refuse(const char *method, struct hd_error *err)
{
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "quantization_config is of quant_method %.40s, which is not supported (fp8, "
                   "fbgemm_fp8, compressed-tensors and modelopt of FP8 are, and gpt-oss' mxfp4): "
                   "take the model as it was before, or a GGUF file",
                   method ? method : "none");
}

int hf_read_quantized(const json_t *o, struct hd_hyper *h, struct hd_error *err)
{
    const json_t *how = json_object_get(o, "quantization_config"),
                 *sparsity = json_object_get(how, "sparsity_config");
    const char *method = json_string_value(json_object_get(how, "quant_method"));
    const struct hd_rule *rules = NULL;
    int rc;

    if (hf_absent(how))
        return 0;
    /* MXFP4 is seen by the names of its tensors. */
    if (method && strcmp(method, "mxfp4") == 0 &&
        hd_rule_reads(h->arch->hf_rules, "quantization_config"))
        return hf_check_fields(how, NULL, mxfp4_rules, WHAT, h, NULL, err);
    for (size_t i = 0; method && i < sizeof methods / sizeof *methods; i++)
        if (strcmp(method, methods[i].name) == 0)
            rules = methods[i].rules;
    if (!rules)
        return refuse(method, err);
    h->f8 = true;
    rc = hf_check_fields(how, NULL, rules, WHAT, h, NULL, err);
    if (rc == 0)
        rc = read_blocks(how, "weight_block_size", h, err);
    if (rc == 0)
        rc = read_groups(how, h, err);
    return rc < 0 || hf_absent(sparsity)
               ? rc
               : hf_check_fields(sparsity, NULL, sparsity_rules, WHAT, h, NULL, err);
}
