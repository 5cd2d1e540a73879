/* synth.h - models of random weights in a given shape, with a valid tokenizer: "try it without
 * weights", and what tests and benchmarks run on. The same (shape, type, seed) gives the same
 * bytes on every machine. */
#ifndef HD_MODEL_SYNTH_H
#define HD_MODEL_SYNTH_H

#include "common/math/tensor.h"
#include "common/util/error.h"

struct hd_synth_options {
    const char *shape;  /* "tiny", "tiny-gqa3", "smollm2-135m", "llama-3.2-1b", ... */
    enum hd_dtype type; /* of the matrices; norms are F32 */
    uint64_t seed;
    const char *out; /* path of the GGUF file to write (through a temporary name) */
    uint32_t layers; /* only the first so many, the same as in the whole; 0: all */
    bool sparse;     /* matrices are holes in the file, and 0 */
};
int hd_synth_write(const struct hd_synth_options *o, struct hd_error *err);
/* Names of the known shapes, NULL-terminated, for usage texts. */
const char *const *hd_synth_shapes(void);

#endif
