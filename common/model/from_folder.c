/* A Llama model in a Hugging Face folder: config.json and safetensors. */
#include "common/model/model_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int get(const void *arg, const char *name, struct hd_tensor *out)
{
    return hd_safetensors_tensor(arg, name, out);
}

static bool ends_with(struct hd_str s, const char *end)
{
    size_t n = strlen(end);

    return s.len >= n && memcmp(s.data + s.len - n, end, n) == 0;
}

static bool ignorable(const struct hd_model *m, struct hd_str name)
{
    static const char head[] = "lm_head.weight";

    if (m->shape.tied_output && name.len == strlen(head) && ends_with(name, head))
        return true;                                /* the same matrix saved twice */
    return ends_with(name, ".rotary_emb.inv_freq"); /* old files keep what config.json says */
}

static int load(struct hd_model *m, const struct hd_safetensors *st, struct hd_error *err)
{
    const struct hd_source src = {.arg = st,
                                  .get = get,
                                  .names = hd_safetensors_names(st),
                                  .hf_names = true,
                                  .ignorable = ignorable};
    struct hd_error why = {0};
    int rc = hd_model_load(m, &src, &why);

    return rc < 0 ? hd_fail(err, rc, "%s: %s", m->folder, why.text) : 0;
}

static int read_config(struct hd_model *m, struct hd_error *err)
{
    struct hd_hf_config c;
    struct hd_error why = {0};
    char *path;

    if (asprintf(&path, "%s/config.json", m->folder) < 0)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", m->folder);
    int rc = hd_hf_config_read(&c, path, err);
    if (rc == 0) {
        m->bos = c.bos;
        m->eos = c.eos;
        rc = hd_model_set_shape(m, &c.hyper, &why);
        if (rc < 0)
            hd_fail(err, rc, "%s: %s", path, why.text);
    }
    free(path);
    return rc;
}

int hd_model_from_folder(struct hd_model *m, struct hd_error *err)
{
    struct hd_safetensors *st;
    int rc = read_config(m, err);

    if (rc < 0)
        return rc;
    rc = hd_safetensors_open(&st, m->folder, err);
    if (rc < 0)
        return rc;
    m->impl = st;
    m->rope_order = HD_ROPE_HALVES;
    return load(m, st, err);
}
