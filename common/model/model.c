/* model.c - opens a file as GGUF and a folder as safetensors, and says what activations suit it. */
#include "common/model/arch.h"
#include "common/model/model_impl.h"

#include "common/math/q8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The last part of the path, without ".gguf". A folder may be given as "." or with slashes behind:
 * its real name is asked for. */
static void name_from_path(struct hd_model *m, const char *path)
{
    char *real = realpath(path, NULL);
    const char *from = real ? real : path;
    const char *slash = strrchr(from, '/');
    size_t len;

    if (slash)
        from = slash + 1;
    snprintf(m->name, sizeof m->name, "%s", *from ? from : "model");
    len = strlen(m->name);
    if (len > 5 && strcmp(m->name + len - 5, ".gguf") == 0)
        m->name[len - 5] = '\0';
    for (char *c = m->name; *c; c++)
        if (*c < 0x20 || *c >= 0x7F)
            *c = '_';
    free(real);
}

static int open_folder(struct hd_model *m, const char *path, struct hd_error *err)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    m->folder = strndup(path, len);
    if (!m->folder)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", path);
    return hd_model_from_folder(m, err);
}

static int open_file(struct hd_model *m, const char *path, struct hd_error *err)
{
    int rc = hd_gguf_open(&m->gguf, path, err);

    return rc < 0 ? rc : hd_model_from_gguf(m, err);
}

static bool is_quantized(const struct hd_tensor *t)
{
    return hd_dtype_is_quantized(t->type);
}

enum hd_activations hd_model_best_activations(const struct hd_model *m)
{
    bool quantized = m->shape.dim % HD_Q8_BLOCK == 0;

    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        for (uint32_t l = 0; l < hd_slot_layers(m, s) && hd_slot_takes_input(s); l++)
            quantized = quantized && is_quantized(hd_slot_of(m, s, l));
    return quantized ? HD_ACTIVATIONS_Q8 : HD_ACTIVATIONS_F32;
}

int hd_model_open(struct hd_model **out, const char *path, struct hd_error *err)
{
    struct stat st;
    int rc;

    *out = NULL;
    if (stat(path, &st) < 0)
        return hd_fail(err, HD_E_IO, "%s: %s", path, strerror(errno));
    struct hd_model *m = calloc(1, sizeof *m);
    if (!m)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", path);
    m->bos = m->eos = -1;
    name_from_path(m, path);
    rc = S_ISDIR(st.st_mode) ? open_folder(m, path, err) : open_file(m, path, err);
    if (rc < 0) {
        hd_model_close(m);
        if (rc != HD_E_NOTFOUND)
            return rc;
        if (err) /* a file of the folder is missing */
            err->code = HD_E_IO;
        return HD_E_IO;
    }
    m->activations = hd_model_best_activations(m);
    *out = m;
    return 0;
}

void hd_model_close(struct hd_model *m)
{
    if (!m)
        return;
    hd_safetensors_close(m->impl);
    hd_gguf_close(m->gguf);
    free(m->layers);
    free(m->expert_data);
    for (size_t i = 0; i < m->n_splits; i++)
        free(m->splits[i]);
    free(m->splits);
    free(m->rope_freq);
    free(m->folder);
    free(m);
}

bool hd_model_has_tail(const struct hd_model *m)
{
    return m->long_from != 0 ||
           m->slots & (HD_SLOT_BIT(HD_SLOT_Q_WHOLE_NORM) | HD_SLOT_BIT(HD_SLOT_K_WHOLE_NORM));
}

size_t hd_model_row_bytes(const struct hd_model *m, enum hd_activations a)
{
    size_t tail = hd_model_has_tail(m) ? sizeof(struct hd_row_tail) : 0;

    return tail +
           (a == HD_ACTIVATIONS_Q8 ? hd_q8_row_bytes(m->shape.dim) : m->shape.dim * sizeof(float));
}

struct hd_row_tail hd_model_tail(const struct hd_model *m, const void *row, size_t row_bytes)
{
    struct hd_row_tail t = {0};

    if (hd_model_has_tail(m))
        memcpy(&t, (const uint8_t *)row + row_bytes - sizeof t, sizeof t);
    return t;
}

enum hd_layer_rope hd_model_rope_set(const struct hd_model *m, uint32_t layer,
                                     const struct hd_row_tail *t)
{
    enum hd_layer_rope set = m->layers[layer].rope;

    return set == HD_LAYER_ROPE_MAIN && m->long_from != 0 && t->is_long ? HD_LAYER_ROPE_LONG : set;
}

float hd_model_attention_scale(const struct hd_model *m, uint32_t position)
{
    const struct hd_block *b = &m->block;

    if (b->growth_from == 0 || position < b->growth_from)
        return b->attention_scale;
    double grown = 1 + (double)b->growth * hd_rope_ln(1 + position / b->growth_from);
    return (float)((double)b->attention_scale * grown);
}

size_t hd_model_sum_bytes(const struct hd_model *m, enum hd_wire w)
{
    size_t dim = m->shape.dim;
    if (w == HD_WIRE_EXACT)
        return dim * sizeof(int32_t);
    return dim % HD_Q8_BLOCK == 0 ? hd_q8_row_bytes(dim) : 0;
}

const char *const hd_wires[] = {"exact", "compact", NULL};
