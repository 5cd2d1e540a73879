/* Two leaders and five workers in one process: nothing in them is global, clusters of different
 * sizes give the same tokens, and so does one that loses workers on the way. */
#include "common/model/synth.h"
#include "tests/golden/local_cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PROMPT = 90, ANSWER = 40 };

struct stream {
    struct local_cluster cluster;
    int32_t tokens[ANSWER];
    unsigned n;
    unsigned
        lose_at[MAX_LOCAL_WORKERS]; /* number of tokens after which a worker is lost; 0: never */
    bool ended;
    struct hd_failover failovers[4];
    size_t n_failovers;
};

static uv_loop_t loop;
static unsigned running;
static struct stream streams[2];

static void on_token(void *arg, const struct hd_token_event *t)
{
    struct stream *s = arg;
    s->tokens[s->n++] = t->id;
    for (unsigned i = 0; i < s->cluster.n_workers; i++)
        if (s->lose_at[i] == s->n)
            local_cluster_lose(&s->cluster, i);
}

static void on_end(void *arg, const struct hd_request_end *end)
{
    struct stream *s = arg;
    cr_assert_eq(end->finish, HD_FINISH_LENGTH, "%s", end->error ? end->error : "stopped early");
    s->ended = true;
    s->n_failovers = end->n_failovers;
    cr_assert_leq(end->n_failovers, 4);
    for (size_t i = 0; i < end->n_failovers; i++)
        s->failovers[i] = end->failovers[i];
    if (--running == 0)
        for (size_t i = 0; i < 2; i++)
            local_cluster_stop(&streams[i].cluster);
}

static void start(struct stream *s, const char *model, unsigned workers)
{
    static const struct hd_request_events events = {.on_token = on_token, .on_end = on_end};
    struct hd_error err = {0};
    struct hd_request *r;
    int32_t ids[PROMPT];
    for (int i = 0; i < PROMPT; i++)
        ids[i] = 3 + i * 31 % 400;
    struct hd_request_options o = {.tokens = ids,
                                   .n_tokens = PROMPT,
                                   .max_tokens = ANSWER,
                                   .sampling = {.temperature = 0.7, .top_p = 0.9, .seed = 5},
                                   .ignore_eos = true};
    cr_assert_eq(local_cluster_start(&s->cluster, &loop, model, workers, LOCAL_USUAL, &err), 0,
                 "%s", err.text);
    cr_assert_eq(hd_engine_submit(hd_leader_engine(s->cluster.leader), &o, &events, s, &r, &err), 0,
                 "%s", err.text);
    running++;
}

/* Both clusters answer, with the same tokens; the first loses workers as its stream says. */
static void same_tokens(const struct hd_synth_options *model, const unsigned workers[2])
{
    struct hd_error err = {0};
    cr_assert_eq(hd_synth_write(model, &err), 0, "%s", err.text);
    uv_loop_init(&loop);
    for (size_t i = 0; i < 2; i++)
        start(&streams[i], model->out, workers[i]);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0, "a handle was left open");
    for (size_t i = 0; i < 2; i++) {
        cr_assert(streams[i].ended);
        cr_assert_eq(streams[i].n, ANSWER);
        cr_assert_eq(streams[i].cluster.open, 0);
        local_cluster_clean(&streams[i].cluster);
    }
    cr_assert_eq(memcmp(streams[0].tokens, streams[1].tokens, sizeof streams[0].tokens), 0, "%s",
                 hd_dtype_name((int)model->type));
}

static void temporary(char *path)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

/* Rows of whole blocks, but for one matrix whose columns heads cut in the middle of a block. */
Test(local, one_worker_and_three_with_every_type, .timeout = 120)
{
    char path[] = "/tmp/hydac-local-XXXXXX";
    temporary(path);
    for (int type = 0; type < HD_DTYPES; type++) {
        struct hd_synth_options so = {.shape = "tiny-256", .seed = 4, .out = path};
        so.type = (enum hd_dtype)type;
        memset(streams, 0, sizeof streams);
        if (hd_dtype_is_ggml(type))
            same_tokens(&so, (const unsigned[]){1, 3});
    }
    unlink(path);
}

Test(local, two_leaders_and_five_workers, .timeout = 120)
{
    char path[] = "/tmp/hydac-local-XXXXXX";
    temporary(path);
    streams[0].lose_at[1] = 7;
    streams[0].lose_at[2] = 25;
    same_tokens(
        &(struct hd_synth_options){.shape = "tiny", .type = HD_Q8_0, .seed = 9, .out = path},
        (const unsigned[]){3, 2});
    cr_assert_eq(streams[0].n_failovers, 2);
    cr_assert_eq(streams[1].n_failovers, 0);
    for (size_t i = 0; i < 2; i++) {
        const struct hd_failover *f = &streams[0].failovers[i];
        cr_assert_eq(f->cause, HD_LOSS_CLOSED);
        cr_assert_eq(f->heads_rebuilt, f->heads_lost);
        cr_assert_gt(f->heads_lost, 0);
        cr_assert_eq(f->rows_replayed, 0);
    }
    unlink(path);
}
