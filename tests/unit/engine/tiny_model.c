/* tiny_model.c - `hydac synth` as a function, into a temporary file. */
#include "tests/unit/engine/tiny_model.h"

#include "common/model/synth.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void tiny_model_open(struct tiny_model *t, enum hd_dtype type)
{
    struct hd_error err = {0};
    snprintf(t->path, sizeof t->path, "/tmp/hydac-engine-XXXXXX");
    int fd = mkstemp(t->path);
    cr_assert_geq(fd, 0);
    close(fd);
    struct hd_synth_options so = {.shape = "tiny", .type = type, .seed = 3, .out = t->path};
    cr_assert_eq(hd_synth_write(&so, &err), 0, "%s", err.text);
    cr_assert_eq(hd_model_open(&t->model, t->path, &err), 0, "%s", err.text);
    hd_model_units(t->model, &t->units);
}

void tiny_model_close(struct tiny_model *t)
{
    hd_model_close(t->model);
    unlink(t->path);
}
