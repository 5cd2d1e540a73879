/* pooled.h - what a model's file says of embeddings of texts: how one vector is made of the rows
 * behind the last norm.
 *
 * A file that says nothing of it makes none. GGUF: the key ARCH.pooling_type. Folders: what
 * sentence-transformers reads, modules.json and the modules' folders. What is not understood whole
 * is not done; `why_not` says by its name what it is. The model's text is not touched by it. */
#ifndef HD_MODEL_POOLED_H
#define HD_MODEL_POOLED_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stdint.h>

enum hd_pooling {
    HD_POOLING_NONE,
    HD_POOLING_LAST, /* the last token's row */
    HD_POOLING_MEAN, /* of all rows */
};

#define HD_MATRYOSHKA 32 /* lengths that a file may list */

struct hd_pooled {
    enum hd_pooling pooling;
    char why_not[160];   /* with NONE: what the file asks for and is not done; "": nothing */
    bool normalise;      /* to length 1 */
    bool only;           /* there is no output matrix: it writes no text */
    uint32_t max_tokens; /* of a text; 0: the context */
    /* The first so many values are a vector as well: any number of them, or these. */
    bool any_length;
    uint32_t lengths[HD_MATRYOSHKA];
    uint32_t n_lengths;
};

/* A vector of so many values is one, of a model with `dim`. */
bool hd_pooled_has_length(const struct hd_pooled *p, uint32_t dim, uint32_t length);

#endif
