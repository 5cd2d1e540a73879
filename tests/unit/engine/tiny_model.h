/* tiny_model.h - a model of random weights for the engine's tests, in a file of its own. */
#ifndef HD_TESTS_TINY_MODEL_H
#define HD_TESTS_TINY_MODEL_H

#include "common/model/model.h"

struct tiny_model {
    char path[64];
    struct hd_model *model;
    struct hd_units units;
};

void tiny_model_open(struct tiny_model *t, enum hd_dtype type);
void tiny_model_close(struct tiny_model *t); /* removes the file */

#endif
