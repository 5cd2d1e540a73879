/* instructions - a prompt of 64 rows and the decoding of one token, for callgrind to count.
 *
 * The leader's engine and a worker's node that owns everything, a synthetic model, one thread: no
 * sockets, no clock that matters, so that two runs execute the same instructions. What counts
 * happens in measured_prefill and measured_decode (instructions.py names them to callgrind).
 *
 *   instructions portable|avx2     77: this CPU has not got it
 *   instructions --compiler        what built it */
#include "common/model/synth.h"
#include "common/net/conn.h"
#include "leader/engine/engine.h"
#include "worker/cpu/cpu.h"
#include "worker/crew/whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS    64  /* of the prompt, in one step */
#define CONTEXT 256 /* positions */
#define SKIPPED 77

#if defined(__clang__)
#define COMPILER "clang"
#define VERSION  __clang_major__
#else
#define COMPILER "gcc"
#define VERSION  __GNUC__
#endif

struct rig {
    char dir[64], path[80];
    struct hd_log log;
    struct hd_model *model;
    struct hd_units units;
    struct hd_unit_list all[HD_UNIT_KINDS];
    struct hd_team *team;
    struct hd_device *device;
    struct hd_node *node;
    struct hd_engine *engine;
    uint64_t steps; /* done */
    unsigned tokens;
};

void measured_prefill(struct rig *r);
void measured_decode(struct rig *r);

static void check(bool good, const struct hd_error *err)
{
    if (good)
        return;
    fprintf(stderr, "instructions: %s\n", err->text);
    exit(1);
}

/* ---- The engine's other side ----*/

static void on_sequence(void *arg, uint32_t sequence, uint32_t max_positions)
{
}

static void on_sequence_end(void *arg, uint32_t sequence)
{
}

static void on_half(void *arg, const struct hd_half_work *work)
{
}

static void on_abandoned(void *arg)
{
}

static void on_step(void *arg, uint64_t step)
{
    struct rig *r = arg;
    r->steps++;
}

static void on_token(void *arg, const struct hd_token_event *t)
{
    struct rig *r = arg;
    r->tokens++;
}

static void on_end(void *arg, const struct hd_request_end *end)
{
}

/* Does the half-step in hand as leader and worker would. */
static void do_half(struct rig *r)
{
    const struct hd_half_work *w = hd_engine_work(r->engine, 0);
    struct hd_error err = {0};
    struct hd_half_output out;
    struct hd_half_step step = {.units = hd_half_units(w->half),
                                .layer = w->layer,
                                .rows = {.x = w->x,
                                         .n = w->rows,
                                         .sequences = w->sequences,
                                         .positions = w->positions,
                                         .shifts = w->shifts,
                                         .want = w->want,
                                         .temperatures = w->temperatures}};
    struct hd_half_result result = {.vocab_blocks = r->all[HD_UNIT_VOCAB].list,
                                    .n_vocab_blocks = r->all[HD_UNIT_VOCAB].n};
    if (w->half == HD_HALF_ATTENTION)
        hd_node_log_inputs(r->node, w->layer, &step.rows);
    check(hd_node_step(r->node, &step, &out, &err) == HD_STEP_DONE, &err);
    result.payload = hd_shared_data(out.payload);
    result.payload_len = hd_shared_len(out.payload);
    result.wide = out.wide;
    result.n_wide = out.n_wide;
    result.bad = out.bad;
    result.n_bad = out.n_bad;
    check(hd_engine_use_result(r->engine, &result, &err) == 0, &err);
    hd_shared_unref(out.payload);
    hd_engine_half_done(r->engine, 0);
}

static void do_step(struct rig *r)
{
    for (uint64_t before = r->steps; r->steps == before;)
        do_half(r);
}

/* Two functions, not one, so that a profile tells them apart. */
__attribute__((noinline)) void measured_prefill(struct rig *r)
{
    do_step(r);
}

__attribute__((noinline)) void measured_decode(struct rig *r)
{
    do_step(r);
}

/* ---- Before and after ----*/

static struct hd_unit_list all_of(uint32_t count)
{
    uint32_t *list = calloc(count, sizeof *list);
    for (uint32_t i = 0; list && i < count; i++)
        list[i] = i;
    return (struct hd_unit_list){list, list ? count : 0};
}

static void open_model(struct rig *r)
{
    struct hd_error err = {.text = "no temporary folder"};
    strcpy(r->dir, "/tmp/hydac-instructions-XXXXXX");
    check(mkdtemp(r->dir) != NULL, &err);
    snprintf(r->path, sizeof r->path, "%s/m.gguf", r->dir);
    struct hd_synth_options o = {.shape = "tiny", .type = HD_Q4_0, .seed = 1, .out = r->path};
    check(hd_synth_write(&o, &err) == 0, &err);
    check(hd_model_open(&r->model, r->path, &err) == 0, &err);
    hd_model_units(r->model, &r->units);
    r->all[HD_UNIT_HEAD] = all_of(r->units.heads);
    r->all[HD_UNIT_FFN] = all_of(r->units.ffn_blocks);
    r->all[HD_UNIT_VOCAB] = all_of(r->units.vocab_blocks);
}

static void open_node(struct rig *r, enum hd_isa isa)
{
    struct hd_error err = {.text = "no memory for a node"};
    struct hd_team_options team = {.threads = 1, .name = "rig"};
    struct hd_kv_report report;
    check(hd_team_new(&r->team, &team) == 0, &err);
    r->log = (struct hd_log){.level = HD_LOG_ERROR, .fd = 2, .who = "rig"};
    struct hd_device_options device = {
        .model = r->model, .threads = 1, .isa = isa, .team = r->team};
    check(hd_cpu_device.create(&r->device, &device, &err) == 0, &err);
    struct hd_node_options o = {.device = r->device,
                                .log = &r->log,
                                .state_dir = r->dir,
                                .log_limit = UINT64_C(1) << 30,
                                .keep_log = true};
    struct hd_node_sizes sizes = {.kv_type = HD_KV_F16,
                                  .activations = r->model->activations,
                                  .max_rows = ROWS,
                                  .max_positions = CONTEXT,
                                  .max_sequences = 1};
    struct hd_assignment a = {.want = {r->all[0], r->all[1], r->all[2]}};
    check(hd_node_new(&r->node, &o) == 0, &err);
    check(hd_node_resize(r->node, &sizes, &err) == 0, &err);
    check(hd_node_assign(r->node, &a, &report, &err) == 0, &err);
    hd_kv_report_deinit(&report);
}

static void open_engine(struct rig *r, const struct hd_kernels *kernels)
{
    struct hd_error err = {0};
    struct hd_engine_options o = {
        .model = r->model,
        .units = &r->units,
        .kernels = kernels,
        .activations = r->model->activations,
        .ops = {r, on_sequence, on_sequence_end, on_half, on_step, on_abandoned},
        .max_sequences = 1,
        .max_rows = ROWS,
        .max_queue = 1,
        .context = CONTEXT,
    };
    check(hd_engine_new(&r->engine, &o, &err) == 0, &err);
    hd_engine_set_ready(r->engine, true);
}

static void submit(struct rig *r)
{
    int32_t prompt[ROWS];
    struct hd_error err = {0};
    struct hd_request *request;
    struct hd_request_options o = {
        .tokens = prompt, .n_tokens = ROWS, .max_tokens = 2, .ignore_eos = true};
    struct hd_request_events ev = {.on_token = on_token, .on_end = on_end};
    for (int i = 0; i < ROWS; i++)
        prompt[i] = 3 + i * 7919 % 250;
    check(hd_engine_submit(r->engine, &o, &ev, r, &request, &err) == 0, &err);
    hd_engine_kick(r->engine);
}

static void close_all(struct rig *r)
{
    hd_engine_free(r->engine);
    hd_node_free(r->node);
    hd_device_free(r->device);
    hd_team_free(r->team);
    hd_model_close(r->model);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        free((void *)r->all[k].list);
    unlink(r->path);
    rmdir(r->dir);
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    enum hd_isa isa = strcmp(what, "avx2") == 0 ? HD_ISA_AVX2 : HD_ISA_PORTABLE;
    struct rig r = {0};
    if (strcmp(what, "--compiler") == 0) {
        printf("%s %d\n", COMPILER, VERSION);
        return 0;
    }
    if (isa == HD_ISA_PORTABLE && strcmp(what, "portable") != 0) {
        fputs("usage: instructions portable|avx2|--compiler\n", stderr);
        return 2;
    }
    const struct hd_kernels *kernels = hd_kernels_get(isa);
    if (!kernels)
        return SKIPPED;
    open_model(&r);
    open_node(&r, isa);
    open_engine(&r, kernels);
    submit(&r);
    measured_prefill(&r);
    measured_decode(&r);
    close_all(&r);
    return r.tokens == 2 ? 0 : 1;
}
