/* logits_dump - teacher-forced logits of a whole text, through a real cluster in this process.
 *
 *   logits_dump MODEL WORKERS usual|exact|compact OUT ID...
 *
 * Writes f32 [ids][vocab], little-endian: row i holds the logits after ids 0..i. */
#include "leader/engine/sample.h"
#include "tests/golden/local_cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dump {
    struct local_cluster cluster;
    FILE *out;
    float *row; /* [vocab] */
    uint32_t next;
    bool failed;
};

static void on_logits(void *arg, uint32_t position, const struct hd_candidate *c, size_t n)
{
    struct dump *d = arg;
    if (!d->row)
        d->row = malloc(n * sizeof *d->row);
    for (size_t i = 0; d->row && i < n; i++)
        d->row[i] = c[i].logit;
    d->failed |= position != d->next++ || !d->row || fwrite(d->row, sizeof *d->row, n, d->out) != n;
}

static void on_token(void *arg, const struct hd_token_event *t)
{
}

static void on_end(void *arg, const struct hd_request_end *end)
{
    struct dump *d = arg;
    if (end->finish == HD_FINISH_ERROR) {
        fprintf(stderr, "logits_dump: %s\n", end->error);
        d->failed = true;
    }
    local_cluster_stop(&d->cluster);
}

static int submit(struct dump *d, int32_t *ids, size_t n, struct hd_error *err)
{
    static const struct hd_request_events events = {
        .on_token = on_token, .on_end = on_end, .on_logits = on_logits};
    struct hd_request_options o = {
        .tokens = ids, .n_tokens = n, .max_tokens = 0, .prompt_logprobs = true};
    struct hd_request *r;
    return hd_engine_submit(hd_leader_engine(d->cluster.leader), &o, &events, d, &r, err);
}

static int run(struct dump *d, char **argv, int32_t *ids, size_t n, struct hd_error *err)
{
    enum local_way way = strcmp(argv[3], "exact") == 0     ? LOCAL_EXACT
                         : strcmp(argv[3], "compact") == 0 ? LOCAL_COMPACT
                                                           : LOCAL_USUAL;
    uv_loop_t loop;
    uv_loop_init(&loop);
    int rc = local_cluster_start(&d->cluster, &loop, argv[1], (unsigned)atoi(argv[2]), way, err);
    if (rc == 0 && (rc = submit(d, ids, n, err)) < 0)
        local_cluster_stop(&d->cluster);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    local_cluster_clean(&d->cluster);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: logits_dump MODEL WORKERS usual|exact|compact OUT ID...\n");
        return 2;
    }
    static struct dump d; /* configurations are large */
    struct hd_error err = {0};
    size_t n = (size_t)argc - 5;
    int32_t *ids = calloc(n, sizeof *ids);
    d.out = fopen(argv[4], "wb");
    if (!ids || !d.out) {
        perror(argv[4]);
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        ids[i] = atoi(argv[5 + i]);
    if (run(&d, argv, ids, n, &err) < 0) {
        fprintf(stderr, "logits_dump: %s\n", err.text);
        d.failed = true;
    }
    free(ids);
    free(d.row);
    d.failed |= fclose(d.out) != 0 || d.next != n;
    return d.failed ? 1 : 0;
}
