/* fuzz_model_config.c - config.json of a Hugging Face folder, or params.json of Meta's, up to the
 * model's shape. */
#include "common/model/model_impl.h"
#include "fuzz.h"

typedef int reader(struct hd_hyper *h, const char *path, struct hd_warnings *w,
                   struct hd_error *err);

static void read_as(reader *read, const char *path)
{
    struct hd_model *m = calloc(1, sizeof *m);
    struct hd_hyper h;
    struct hd_error err = {0};
    FUZZ_CHECK(m);
    int rc = read(&h, path, &m->warnings, &err);
    if (rc == 0)
        rc = hd_model_set_shape(m, &h, &err);
    FUZZ_CHECK(rc == 0 || err.text[0]);
    FUZZ_CHECK(rc < 0 || (m->shape.vocab <= HD_MAX_VOCAB && m->eos < (int32_t)m->shape.vocab));
    hd_model_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("config.json", data, size);
    read_as(hd_hf_config_read, path);
    read_as(hd_meta_params_read, path);
    return 0;
}
