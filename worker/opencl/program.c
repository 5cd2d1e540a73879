/* program.c - compiling, and the files in which what was compiled is kept. */
#include "worker/opencl/program.h"

#include "worker/opencl/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define OPTIONS "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt"
#define NVIDIA  " -cl-nv-maxrregcount=128"   /* two work-groups of 256 on a multiprocessor */
#define MAGIC   UINT64_C(0x316c636f63616479) /* of a kept program: "ydacocl1" */
#define MOST    (UINT64_C(64) << 20)         /* bytes of one */
#define PARTS   5                            /* texts of one program */

struct source {
    char options[512];
    const char *part[PARTS];
    cl_uint n;
};

/* ---- What is kept ----*/

struct header {
    uint64_t magic, bytes, digest;
};

static uint64_t key_of(const struct hd_cl *cl, const struct source *s)
{
    uint64_t h = XXH3_64bits(&cl->info.platform, strlen(cl->info.platform));
    h = XXH3_64bits_withSeed(cl->info.name, strlen(cl->info.name), h);
    h = XXH3_64bits_withSeed(cl->info.driver, strlen(cl->info.driver), h);
    h = XXH3_64bits_withSeed(s->options, strlen(s->options), h);
    for (cl_uint i = 0; i < s->n; i++)
        h = XXH3_64bits_withSeed(s->part[i], strlen(s->part[i]), h);
    return h;
}

/* False: nothing is kept. */
static bool path_of(const struct hd_cl *cl, uint64_t key, char *path, size_t size)
{
    if (cl->state_dir[0] == '\0')
        return false;
    snprintf(path, size, "%s/opencl", cl->state_dir);
    mkdir(path, 0700); /* if that fails, so does opening a file in it */
    int n = snprintf(path, size, "%s/opencl/%016llx", cl->state_dir, (unsigned long long)key);
    return n > 0 && (size_t)n < size;
}

/* The caller frees; NULL: it is not there, or damaged. */
static uint8_t *read_kept(const char *path, size_t *bytes)
{
    struct header h;
    uint8_t *data = NULL;
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    if (fread(&h, sizeof h, 1, f) == 1 && h.magic == MAGIC && h.bytes > 0 && h.bytes <= MOST)
        data = malloc(h.bytes);
    if (data && (fread(data, 1, h.bytes, f) != h.bytes || XXH3_64bits(data, h.bytes) != h.digest)) {
        free(data);
        data = NULL;
    }
    fclose(f);
    *bytes = data ? h.bytes : 0;
    return data;
}

/* Beside it, then renamed: two workers may do so at once. What fails costs time alone. */
static void write_kept(const char *path, const uint8_t *data, size_t bytes)
{
    char beside[4200];
    struct header h = {MAGIC, bytes, XXH3_64bits(data, bytes)};
    if ((size_t)snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid()) >= sizeof beside)
        return;
    FILE *f = fopen(beside, "wb");
    if (!f)
        return;
    bool good = fwrite(&h, sizeof h, 1, f) == 1 && fwrite(data, 1, bytes, f) == bytes;
    good = fclose(f) == 0 && good;
    if (!good || rename(beside, path) != 0)
        unlink(beside);
}

static void keep(struct hd_cl *cl, cl_program p, const char *path)
{
    size_t bytes = 0;
    if (cl->call.GetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) !=
        CL_SUCCESS)
        return;
    uint8_t *data = bytes > 0 && bytes <= MOST ? malloc(bytes) : NULL;
    if (data &&
        cl->call.GetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof data, &data, NULL) == CL_SUCCESS)
        write_kept(path, data, bytes);
    free(data);
}

/* ---- Compiling ----*/

static cl_program from_kept(struct hd_cl *cl, const struct source *s, const char *path)
{
    size_t bytes;
    uint8_t *data = read_kept(path, &bytes);
    cl_int rc = CL_SUCCESS;
    if (!data)
        return NULL;
    const unsigned char *binary = data;
    cl_program p =
        cl->call.CreateProgramWithBinary(cl->context, 1, &cl->device, &bytes, &binary, NULL, &rc);
    free(data);
    if (rc != CL_SUCCESS)
        return NULL;
    if (cl->call.BuildProgram(p, 1, &cl->device, s->options, NULL, NULL) == CL_SUCCESS)
        return p;
    cl->call.ReleaseProgram(p);
    return NULL;
}

static int fail_build(struct hd_cl *cl, cl_program p, struct hd_error *err)
{
    enum { LOG = 1 << 16 };
    char *log = calloc(1, LOG);
    if (log)
        cl->call.GetProgramBuildInfo(p, cl->device, CL_PROGRAM_BUILD_LOG, LOG - 1, log, NULL);
    for (char *c = log; c && *c; c++)
        if (*c == '\n' || *c == '"')
            *c = ' ';
    int rc = hd_fail(err, HD_E_CONFIG, "the compiler of %s does not take hydac's kernels: %.300s",
                     cl->info.name, log ? log : "");
    free(log);
    return rc;
}

static cl_program from_source(struct hd_cl *cl, struct source *s, int *rc, struct hd_error *err)
{
    cl_int code;
    cl_program p = cl->call.CreateProgramWithSource(cl->context, s->n, s->part, NULL, &code);
    *rc = 0;
    if (code != CL_SUCCESS) {
        *rc = hd_cl_fail(cl, code, "clCreateProgramWithSource", err);
        return NULL;
    }
    if (cl->call.BuildProgram(p, 1, &cl->device, s->options, NULL, NULL) == CL_SUCCESS)
        return p;
    *rc = fail_build(cl, p, err);
    cl->call.ReleaseProgram(p);
    return NULL;
}

static cl_program build(struct hd_cl *cl, struct source *s, int *rc, struct hd_error *err)
{
    char path[4200];
    bool kept = path_of(cl, key_of(cl, s), path, sizeof path);
    cl_program p = kept ? from_kept(cl, s, path) : NULL;
    *rc = 0;
    if (p)
        return p;
    p = from_source(cl, s, rc, err);
    if (p && kept)
        keep(cl, p, path);
    return p;
}

static cl_kernel kernel_of(struct hd_cl *cl, cl_program p, const char *name, int *rc,
                           struct hd_error *err)
{
    cl_int code = CL_SUCCESS;
    cl_kernel k = *rc == 0 ? cl->call.CreateKernel(p, name, &code) : NULL;
    if (code != CL_SUCCESS)
        *rc = hd_cl_fail(cl, code, name, err);
    return code == CL_SUCCESS ? k : NULL;
}

static void device_options(const struct hd_cl *cl, struct source *s)
{
    snprintf(s->options, sizeof s->options, OPTIONS "%s -DHD_NVIDIA=%d -DHD_DOT=%d -DHD_MMA=%d",
             cl->info.is_nvidia ? NVIDIA : "", cl->info.is_nvidia, cl->info.has_dot,
             cl->info.has_mma);
}

int hd_cl_programs_init(struct hd_cl_programs *p, struct hd_cl *cl, struct hd_error *err)
{
    struct source s = {.part = {hd_cl_text_common, hd_cl_text_xxh3, hd_cl_text_attention,
                                hd_cl_text_rows, hd_cl_text_logits},
                       .n = PARTS};
    int rc;
    *p = (struct hd_cl_programs){.cl = cl};
    device_options(cl, &s);
    p->common = build(cl, &s, &rc, err);
#define X(name) p->name.kernel = kernel_of(cl, p->common, #name, &rc, err);
    HD_CL_KERNELS(X)
#undef X
    return rc;
}

static const char *const product_names[HD_CL_PRODUCTS] = {
    "project_f32", "reduce_f32", "project_few", "reduce_few",
    "project_one", "reduce_one", "project_mma"};

int hd_cl_programs_add(struct hd_cl_programs *p, enum hd_pack_id form, struct hd_error *err)
{
    struct hd_pack f = hd_pack_of(form);
    struct source s = {.part = {hd_cl_text_common, hd_cl_text_products, hd_cl_text_mma}, .n = 3};
    bool quants = f.is_float == HD_PACK_QUANT;
    int rc = 0;
    if (p->products[form])
        return 0;
    device_options(p->cl, &s);
    size_t at = strlen(s.options);
    snprintf(s.options + at, sizeof s.options - at,
             " -DHD_FLOAT=%d -DHD_SPAN=%u -DHD_BITS=%u -DHD_SCALE=%u -DHD_BIAS=%u -DHD_MIN=%d",
             quants                       ? 0
             : f.is_float == HD_PACK_BF16 ? 1
                                          : (int)f.bits,
             f.span, f.bits, f.scale, f.bias, f.has_min);
    p->products[form] = build(p->cl, &s, &rc, err);
    unsigned n = !quants               ? HD_CL_PROJECT_FEW
                 : p->cl->info.has_mma ? HD_CL_PRODUCTS
                                       : HD_CL_PROJECT_MMA;
    for (unsigned i = 0; i < n; i++)
        p->product[form][i].kernel =
            kernel_of(p->cl, p->products[form], product_names[i], &rc, err);
    return rc;
}

static void release(struct hd_cl *cl, const struct hd_cl_kernel *k)
{
    if (k->kernel)
        cl->call.ReleaseKernel(k->kernel);
}

void hd_cl_programs_deinit(struct hd_cl_programs *p)
{
    if (!p->cl)
        return;
#define X(name) release(p->cl, &p->name);
    HD_CL_KERNELS(X)
#undef X
    for (unsigned f = 0; f < HD_PACK_COUNT; f++) {
        for (unsigned i = 0; i < HD_CL_PRODUCTS; i++)
            release(p->cl, &p->product[f][i]);
        if (p->products[f])
            p->cl->call.ReleaseProgram(p->products[f]);
    }
    if (p->common)
        p->cl->call.ReleaseProgram(p->common);
}

void hd_cl_put(struct hd_cl_launch *l, size_t size, const void *value)
{
    struct hd_cl_kernel *k = l->k;
    cl_uint i = l->n++;
    uint64_t is = size;
    if (k->released != atomic_load_explicit(&l->cl->released, memory_order_relaxed)) {
        memset(k->is_set, 0, sizeof k->is_set);
        k->released = l->cl->released;
    }
    if (value) {
        is = 0;
        memcpy(&is, value, size);
    }
    if (k->is_set[i] && k->value[i] == is)
        return;
    cl_int rc = l->cl->call.SetKernelArg(k->kernel, i, size, value);
    k->is_set[i] = rc == CL_SUCCESS;
    k->value[i] = is;
    l->rc = l->rc == CL_SUCCESS ? rc : l->rc;
}

void hd_cl_put_slabs(struct hd_cl_launch *l, const cl_mem slabs[HD_CL_SLABS])
{
    for (unsigned i = 0; i < HD_CL_SLABS; i++)
        hd_cl_put_buffer(l, slabs[i] ? slabs[i] : slabs[0]);
}

cl_int hd_cl_go(const struct hd_cl_launch *l, size_t items, size_t x, size_t y, size_t z)
{
    size_t global[3] = {x * items, y, z}, local[3] = {items, 1, 1};
    if (l->rc != CL_SUCCESS || x == 0 || y == 0 || z == 0)
        return l->rc;
    return l->cl->call.EnqueueNDRangeKernel(l->cl->queue, l->k->kernel, 3, NULL, global, local, 0,
                                            NULL, NULL);
}
