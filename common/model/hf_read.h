/* hf_read.h - reading fields of config.json, shared by the files hf_*.c only. */
#ifndef HD_MODEL_HF_READ_H
#define HD_MODEL_HF_READ_H

#include "common/model/arch.h"
#include "common/model/json.h"
#include "common/model/rules.h"

/* Not there, or null. */
bool hf_absent(const json_t *j);
/* An integer from 1; absent is 0, as struct hd_hyper has it. 0 or HD_E_FORMAT, as the next two. */
int hf_read_count(const json_t *o, const char *key, uint64_t *out, struct hd_error *err);
/* Several. */
struct hf_count {
    const char *key;
    uint64_t *out;
};
int hf_read_counts(const json_t *o, const struct hf_count *list, size_t n, struct hd_error *err);
/* *out keeps its value when absent. */
int hf_read_real(const json_t *o, const char *key, double *out, struct hd_error *err);
int hf_read_flag(const json_t *o, const char *key, bool *out, struct hd_error *err);

/* Every field is one that a table knows with its value: the family's own (may be NULL), or that of
 * all. `what`: "field", or "field of ...". null stands for what is not there, whatever its name. */
int hf_check_fields(const json_t *o, const struct hd_rule *own, const struct hd_rule *rules,
                    const char *what, const struct hd_hyper *h, struct hd_warnings *w,
                    struct hd_error *err);

/* hf_wrapped.c: *o becomes the language model's own fields, if the model is one that sees or hears.
 */
int hf_unwrap(json_t **o, bool *wrapped, struct hd_warnings *w, struct hd_error *err);
/* hf_rope.c */
int hf_read_rope(const json_t *o, struct hd_hyper *h, struct hd_error *err);
/* hf_quantized.c: that it is FP8, and how; what is not understood is refused. */
int hf_read_quantized(const json_t *o, struct hd_hyper *h, struct hd_error *err);
/* hf_block.c: scales, caps, windows, biases, which layers are what */
int hf_read_block(const json_t *o, struct hd_hyper *h, struct hd_error *err);

/* hf_pooled.c: what sentence-transformers would make of the folder's model. */
void hf_read_pooled(struct hd_pooled *p, const char *folder, uint32_t dim);

#endif
