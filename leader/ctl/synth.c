/* synth.c - hydac synth: a model of random weights. */
#include "common/model/synth.h"
#include "leader/ctl/ctl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char about[] =
    "hydac synth [OPTIONS] OUT.gguf\n"
    "\n"
    "Writes a model of random weights with a valid tokenizer, to try hydac without real weights.\n"
    "The same shape, type and seed give the same bytes everywhere.\n";

static int parse_type(const char *word, enum hd_dtype *type)
{
    for (int t = 0; t < HD_DTYPES; t++)
        if (hd_dtype_is_ggml(t) && strcasecmp(hd_dtype_name(t), word) == 0) {
            *type = (enum hd_dtype)t;
            return 0;
        }
    return HD_E_RANGE;
}

static bool shape_known(const char *name)
{
    for (const char *const *s = hd_synth_shapes(); *s; s++)
        if (strcmp(*s, name) == 0)
            return true;
    return false;
}

/* "tiny (default) or one of tiny-mha, ..." */
static void describe_shapes(char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "tiny (default) or one of:");
    for (const char *const *s = hd_synth_shapes(); *s && n < size; s++)
        n += (size_t)snprintf(text + n, size - n, " %s", *s);
}

static int wrong(const char *what, const char *word)
{
    fprintf(stderr, "hydac: unknown %s '%s'; see hydac synth --help\n", what, word);
    return 2;
}

int hd_cmd_synth(int argc, char **argv)
{
    struct hd_synth_options o = {.shape = "tiny"};
    const char *type = "f16";
    uint64_t layers = 0;
    struct hd_arg_list rest = {.n = 0};
    struct hd_error err = {0};
    struct stat st;
    char shapes[1024];
    describe_shapes(shapes, sizeof shapes);
    const struct hd_arg args[] = {
        {"--shape", HD_ARG_STRING, &o.shape, "SHAPE", shapes},
        {"--type", HD_ARG_STRING, &type, "TYPE",
         "of the matrices: f32, f16 (default), bf16, or a quantized type of GGUF (q8_0, q4_0, "
         "q4_k, "
         "iq4_xs, ...); those that it does not fit are q8_0"},
        {"--seed", HD_ARG_UINT, &o.seed, "S", "0 (default) to 2^64-1", 0, 0x1p64},
        {"--layers", HD_ARG_UINT, &layers, "N", "only the first N layers, the same as in the whole",
         1, 4096},
        {"--sparse", HD_ARG_FLAG, &o.sparse, NULL,
         "matrices are 0 and take no room on the disk: keys, names and sizes alone"},
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, &rest, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (parse_type(type, &o.type) < 0)
        return wrong("type", type);
    if (!shape_known(o.shape))
        return wrong("shape", o.shape);
    if (rest.n != 1) {
        fputs("hydac: synth needs one output file; see hydac synth --help\n", stderr);
        return 2;
    }
    o.out = rest.items[0];
    o.layers = (uint32_t)layers;
    if (hd_synth_write(&o, &err) < 0)
        return hd_complain(&err);
    if (stat(o.out, &st) == 0)
        printf("%s: %s, %s, seed %llu, %.1f MB\n", o.out, o.shape, type, (unsigned long long)o.seed,
               (double)st.st_size / 1e6);
    return 0;
}
