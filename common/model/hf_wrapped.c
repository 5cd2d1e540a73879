/* config.json of models that see or hear: the language model's own fields stand in it under
 * text_config, or beside the others in the oldest files. Only that model is served. */
#include "common/model/hf_read.h"

#include <string.h>

/* What such a model is called, and its language model where that does not say so itself. */
static const struct wrapper {
    const char *type, *text;
    bool tied; /* the output is the embedding, if neither part says */
} wrappers[] = {
    {"gemma3", "gemma3_text", true},
    {"mistral3", "mistral", true},
    {"llava", "llama"},
    {"qwen2_vl", "qwen2_vl_text"},
    {"qwen2_5_vl", "qwen2_5_vl_text"},
    {"qwen3_vl", "qwen3_vl_text"},
};

/* clang-format off */
/* What is the encoder's, or where its rows go among those of a text. */
static const struct hd_rule wrapper_rules[] = {
    HD_NOTE("vision_config"), HD_NOTE("audio_config"), HD_NOTE("projector_hidden_act"),
    HD_NOTE("multimodal_projector_bias"), HD_NOTE("vision_feature_layer"),
    HD_NOTE("vision_feature_select_strategy"), HD_NOTE("spatial_merge_size"),
    HD_NOTE("image_seq_length"), HD_NOTE("mm_tokens_per_image"), HD_NOTE("image_token_index"),
    HD_NOTE("image_token_id"), HD_NOTE("video_token_index"), HD_NOTE("video_token_id"),
    HD_NOTE("boi_token_index"), HD_NOTE("eoi_token_index"), HD_NOTE("boi_token_id"),
    HD_NOTE("eoi_token_id"), HD_NOTE("vision_start_token_id"), HD_NOTE("vision_end_token_id"),
    HD_NOTE("vision_token_id"), HD_NOTE("ignore_index"), HD_NOTE("text_config"),
    HD_RULES_END,
};
/* clang-format on */

static bool is_note(const struct hd_rule *table, const char *name)
{
    const struct hd_rule *r = hd_rule_find(table, (struct hd_str){name, strlen(name)});

    return r && r->kind == HD_RULE_NOTE;
}

static int set(json_t *o, const char *name, json_t *value, struct hd_error *err)
{
    return json_object_set_new(o, name, value) < 0
               ? hd_fail(err, HD_E_NOMEM, "no memory for its fields")
               : 0;
}

/* A field of the whole goes to the language model when it has none such. Two that differ leave open
 * which is meant; that the output is the embedding either may say. */
static int take_field(json_t *text, const char *name, json_t *value, struct hd_error *err)
{
    const json_t *own = json_object_get(text, name);
    bool ties = strcmp(name, "tie_word_embeddings") == 0;

    if (strcmp(name, "model_type") == 0 || is_note(wrapper_rules, name) || hf_absent(value))
        return 0;
    if (ties && (json_is_true(own) || json_is_false(value)))
        return 0;
    if (hf_absent(own) || ties)
        return set(text, name, json_incref(value), err);
    if (json_equal(own, value) || is_note(hd_config_rules, name) || strstr(name, "_token_id"))
        return 0;
    return hd_fail(err, HD_E_UNSUPPORTED, "field %s differs from that of text_config", name);
}

static int unwrap(json_t **o, const struct wrapper *whole, struct hd_error *err)
{
    json_t *text = json_object_get(*o, "text_config"), *value;
    const char *name;
    void *next;
    int rc = 0;

    if (text && !json_is_object(text))
        return hd_fail(err, HD_E_FORMAT, "text_config is not an object");
    text = text ? json_deep_copy(text) : json_object();
    if (!text)
        return hd_fail(err, HD_E_NOMEM, "no memory for its fields");
    json_object_foreach_safe(*o, next, name, value)
    {
        rc = rc < 0 ? rc : take_field(text, name, value, err);
    }
    if (rc == 0 && hf_absent(json_object_get(text, "model_type")))
        rc = set(text, "model_type", json_string(whole->text), err);
    if (rc == 0 && hf_absent(json_object_get(*o, "tie_word_embeddings")) && whole->tied)
        rc = set(text, "tie_word_embeddings", json_true(), err);
    if (rc < 0) {
        json_decref(text);
        return rc;
    }
    json_decref(*o);
    *o = text;
    return 0;
}

int hf_unwrap(json_t **o, bool *wrapped, struct hd_warnings *w, struct hd_error *err)
{
    const char *type = json_string_value(json_object_get(*o, "model_type"));
    int rc = 0;

    *wrapped = false;
    for (size_t i = 0; type && i < sizeof wrappers / sizeof *wrappers && !*wrapped; i++)
        if (strcmp(type, wrappers[i].type) == 0) {
            *wrapped = true;
            hd_warnings_add(w,
                            "this is a \"%s\" model: its part for text is served, and takes no "
                            "images or sound",
                            type);
            rc = unwrap(o, &wrappers[i], err);
        }
    return rc;
}
