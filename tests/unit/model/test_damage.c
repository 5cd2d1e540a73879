/* Damaged files: cut short at many lengths, and with bits flipped at thousands of places. Each must
 * end in an error with a sentence, or in a model within the limits; under a sanitizer this also
 * says that nothing is read outside the file. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(damage, .init = folder_init, .fini = folder_fini, .timeout = 300);

static void check_limits(const struct hd_model *m)
{
    const struct hd_model_shape *s = &m->shape;
    struct hd_units u;
    float cs[2 * 512];

    cr_assert(s->n_layers >= 1 && s->n_layers <= HD_MAX_LAYERS);
    cr_assert(s->dim >= 1 && s->dim <= HD_MAX_DIM);
    cr_assert(s->n_heads >= 1 && s->n_heads <= HD_MAX_HEADS);
    cr_assert(s->n_kv_heads >= 1 && s->n_heads % s->n_kv_heads == 0);
    cr_assert(s->head_dim >= 4 && s->head_dim % 4 == 0 && s->head_dim <= 512);
    cr_assert(s->ffn_dim >= 1 && s->ffn_dim <= HD_MAX_FFN);
    cr_assert(s->vocab >= 1 && s->vocab <= HD_MAX_VOCAB);
    cr_assert(s->context >= 1 && s->context <= HD_MAX_CONTEXT);
    cr_assert(m->bos >= -1 && m->bos < (int32_t)s->vocab);
    cr_assert(m->eos >= -1 && m->eos < (int32_t)s->vocab);
    hd_model_units(m, &u);
    hd_model_rope(m, s->context - 1, cs);
    for (uint32_t i = 0; i < s->head_dim; i++)
        cr_assert(cs[i] >= -1.001f && cs[i] <= 1.001f);
}

/* Reads the first and the last value of a tensor: both must be in the file. */
static void touch(const struct hd_tensor *t)
{
    size_t block = hd_dtype_block(t->type);
    float v[256];

    hd_dequant(t, 0, 0, block, v);
    hd_dequant(t, t->rows - 1, t->cols - block, block, v);
}

/* Whether the model still opens. */
static bool survives(const char *path, const char *what, size_t at)
{
    struct hd_model *m = NULL;
    struct hd_error err = {0};
    int rc = hd_model_open(&m, path, &err);

    if (rc < 0) {
        cr_assert_null(m);
        cr_assert_eq(err.code, rc, "%s %zu", what, at);
        cr_assert_neq(err.text[0], '\0', "%s %zu", what, at);
        return false;
    }
    cr_assert_eq(rc, 0);
    check_limits(m);
    touch(&m->embedding);
    touch(&m->output);
    for (uint32_t l = 0; l < m->shape.n_layers; l++) {
        touch(&m->layers[l].attn_norm);
        touch(&m->layers[l].wk);
        touch(&m->layers[l].down);
    }
    hd_model_close(m);
    return true;
}

/* Cuts the file shorter and shorter: `model` (the file or its folder) must never open. */
static void truncate_all(const char *model, const char *file, size_t dense)
{
    size_t len;
    uint8_t *bytes = file_read(file, &len);

    cr_assert(survives(model, "whole", len));
    for (size_t at = len; at-- > 0;) {
        size_t stride = at > dense ? len / 97 + 1 : 7;

        at -= at < stride ? at : stride - 1;
        cr_assert_eq(truncate(file, (off_t)at), 0);
        cr_assert_not(survives(model, "cut at", at), "opens when cut at %zu of %zu", at, len);
    }
    file_write(file, bytes, len);
    free(bytes);
}

/* Flips 1 to 3 bits among the first `range` bytes, `rounds` times; how many were noticed. */
static size_t flip_all(const char *model, const char *file, size_t range, size_t rounds)
{
    size_t len, noticed = 0;
    uint8_t *bytes = file_read(file, &len);
    int fd = open(file, O_RDWR);

    cr_assert(fd >= 0);
    if (range > len)
        range = len;
    for (size_t i = 0; i < rounds; i++) {
        int n = 1 + (int)(random_at(1, i) % 3);
        size_t at[3];

        for (int k = 0; k < n; k++) {
            uint64_t r = random_at(2 + (uint64_t)k, i);
            at[k] = (size_t)(r >> 8) % range;
            uint8_t byte = bytes[at[k]] ^ (uint8_t)(1u << (r & 7));
            cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at[k]), 1);
        }
        noticed += !survives(model, "flip", i);
        for (int k = 0; k < n; k++)
            cr_assert_eq(pwrite(fd, &bytes[at[k]], 1, (off_t)at[k]), 1);
    }
    cr_assert(survives(model, "restored", 0));
    close(fd);
    free(bytes);
    return noticed;
}

Test(damage, gguf_cut_short)
{
    const char *path = make_synth("tiny-mha", HD_Q4_0, 1);

    truncate_all(path, path, 40000);
}

Test(damage, small_gguf_cut_at_every_seventh_byte)
{
    const char *path = small_gguf(&(struct twist){0});

    truncate_all(path, path, SIZE_MAX);
}

Test(damage, gguf_with_flipped_bits)
{
    const char *path = small_gguf(&(struct twist){.own_output = true});

    /* Keys and the list of tensors take about 2,400 bytes. */
    cr_assert(flip_all(path, path, 2400, 8000) > 4000);
    path = make_synth("tiny-mha", HD_Q4_1, 1);
    flip_all(path, path, SIZE_MAX, 500);
}

Test(damage, safetensors_cut_short)
{
    const char *path = small_folder(&(struct twist){0});

    truncate_all(path, in_folder("small-hf/model.safetensors"), 4000);
}

Test(damage, safetensors_with_flipped_bits)
{
    const char *path = small_folder(&(struct twist){.own_output = true});

    cr_assert(flip_all(path, in_folder("small-hf/model.safetensors"), 2000, 5000) > 4000);
}

Test(damage, config_cut_short_and_flipped)
{
    const char *path = small_folder(&(struct twist){0});
    char file[600];

    snprintf(file, sizeof file, "%s/config.json", path);
    truncate_all(path, file, SIZE_MAX);
    cr_assert(flip_all(path, file, SIZE_MAX, 4000) > 2000);
}

Test(damage, index_cut_short_and_flipped)
{
    const char *path = small_folder(&(struct twist){.sharded = true});
    char file[600];

    snprintf(file, sizeof file, "%s/model.safetensors.index.json", path);
    truncate_all(path, file, SIZE_MAX);
    cr_assert(flip_all(path, file, SIZE_MAX, 2000) > 1000);
}
