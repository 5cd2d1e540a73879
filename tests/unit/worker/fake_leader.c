/* fake_leader.c - listens, answers Hello, and sends what the test tells it to. */
#include "fake_leader.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Connections ----*/

static void on_frame(void *arg, struct hd_conn *conn, struct hd_frame *f)
{
    struct fake_leader *l = arg;
    cr_assert_lt(l->n_frames, FAKE_FRAMES);
    l->frames[l->n_frames++] = *f;
}

static void on_open(void *arg, struct hd_conn *conn)
{
}

static void on_close(void *arg, struct hd_conn *conn, int code, const char *why)
{
    ((struct fake_leader *)arg)->conn = NULL;
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

static void send_garbage(struct fake_leader *l)
{
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    uv_buf_t buf = uv_buf_init((char *)l->garbage, (unsigned)strlen(l->garbage));
    uv_tcp_init(&l->loop, tcp);
    cr_assert_eq(uv_accept((uv_stream_t *)&l->listener, (uv_stream_t *)tcp), 0);
    uv_try_write((uv_stream_t *)tcp, &buf, 1);
    uv_close((uv_handle_t *)tcp, free_handle);
    l->garbage = NULL;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct fake_leader *l = listener->data;
    struct hd_error err;
    struct hd_conn_options o = {
        .events = {.on_open = on_open, .on_frame = on_frame, .on_close = on_close},
        .arg = l,
        .limits = {.max_body = 1 << 20, .max_payload = 16 << 20},
        .max_queued = 64 << 20,
    };
    cr_assert_eq(status, 0);
    l->joins++;
    if (l->garbage)
        send_garbage(l);
    else
        cr_assert_eq(hd_conn_accept(&l->conn, listener, &o, &err), 0, "%s", err.text);
}

/* ---- Start and stop ----*/

static void on_refused(void *arg, const char *why)
{
    struct fake_leader *l = arg;
    snprintf(l->refused, sizeof l->refused, "%s", why);
}

static unsigned listen_anywhere(struct fake_leader *f)
{
    struct sockaddr_in addr;
    int len = sizeof addr;
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_init(&f->loop, &f->listener);
    f->listener.data = f;
    cr_assert_eq(uv_tcp_bind(&f->listener, (const struct sockaddr *)&addr, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&f->listener, 8, on_connection), 0);
    uv_tcp_getsockname(&f->listener, (struct sockaddr *)&addr, &len);
    return ntohs(addr.sin_port);
}

void fake_start(struct fake_leader *f, struct rig *r)
{
    fake_start_with(f, r, &(struct fake_options){0});
}

void fake_start_with(struct fake_leader *f, struct rig *r, const struct fake_options *o)
{
    struct hd_error err = {0};
    memset(f, 0, sizeof *f);
    f->rig = r;
    uv_loop_init(&f->loop);
    strcpy(f->dir, "/tmp/hydac-fake-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    hd_worker_config_defaults(&f->config);
    rig_model_path(r, f->config.model, sizeof f->config.model);
    snprintf(f->config.leader, sizeof f->config.leader, "127.0.0.1:%u", listen_anywhere(f));
    snprintf(f->config.name, sizeof f->config.name, "w1");
    snprintf(f->config.state_dir, sizeof f->config.state_dir, "%s/a/b", f->dir);
    f->config.threads = 2;
    f->config.retry_min_ms = 1;
    f->config.retry_max_ms = 4;
    f->log = (struct hd_log){.level = HD_LOG_ERROR + 1, .fd = 2, .who = "w1"};
    f->config.log_limit = o->log_limit ? o->log_limit : f->config.log_limit;
    f->config.log_keep = !o->no_log;
    f->config.drain_ms = o->drain_ms;
    struct hd_worker_options worker = {
        .loop = &f->loop, .config = &f->config, .log = &f->log, .refused = on_refused, .arg = f};
    cr_assert_eq(hd_worker_new(&f->worker, &worker, &err), 0, "%s", err.text);
}

static void on_worker_closed(void *arg)
{
    ((struct fake_leader *)arg)->worker_closed = true;
}

void fake_stop(struct fake_leader *f)
{
    char path[128];
    hd_worker_close(f->worker, on_worker_closed, f);
    uv_close((uv_handle_t *)&f->listener, NULL);
    if (f->conn)
        hd_conn_close(f->conn, false);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    cr_assert(f->worker_closed);
    cr_assert_eq(uv_loop_close(&f->loop), 0, "a handle is still open");
    for (size_t i = 0; i < f->n_frames; i++)
        hd_frame_clear(&f->frames[i]);
    snprintf(path, sizeof path, "%s/a/b", f->dir);
    rmdir(path);
    snprintf(path, sizeof path, "%s/a", f->dir);
    rmdir(path);
    cr_assert_eq(rmdir(f->dir), 0);
}

/* ---- Frames ----*/

struct hd_frame fake_take(struct fake_leader *f, int type)
{
    while (f->n_frames == 0)
        uv_run(&f->loop, UV_RUN_ONCE);
    struct hd_frame frame = f->frames[0];
    memmove(f->frames, f->frames + 1, --f->n_frames * sizeof *f->frames);
    cr_assert_eq(frame.type, type, "%s came, %s was expected", hd_frame_type_name(frame.type),
                 hd_frame_type_name(type));
    return frame;
}

void fake_wait_gone(struct fake_leader *f)
{
    while (f->conn)
        uv_run(&f->loop, UV_RUN_ONCE);
}

void fake_send(struct fake_leader *f, int type, const ProtobufCMessage *m, const void *payload,
               size_t len)
{
    struct hd_shared *shared = len ? hd_shared_new(len) : NULL;
    if (shared)
        memcpy(hd_shared_data(shared), payload, len);
    cr_assert_eq(hd_conn_send(f->conn, type, m, shared), 0);
    hd_shared_unref(shared);
}

void fake_welcome(struct fake_leader *f, uint64_t epoch)
{
    fake_welcome_only(f, epoch);
    fake_digests(f, 0);
}

void fake_welcome_only(struct fake_leader *f, uint64_t epoch)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_HELLO);
    Hydac__V1__Hello *hello = hydac__v1__hello__unpack(NULL, frame.body_len, frame.body);
    f->kept = hello->kept;
    f->term = hello->term > f->term ? hello->term : f->term;
    hydac__v1__hello__free_unpacked(hello, NULL);
    hd_frame_clear(&frame);
    Hydac__V1__Welcome m = HYDAC__V1__WELCOME__INIT;
    m.epoch = epoch;
    m.heartbeat_ms = 50;
    m.kv_type = HD_KV_F16;
    m.activations = f->rig->node->sizes.activations;
    m.max_rows = RIG_ROWS;
    m.max_positions = RIG_POSITIONS;
    m.max_sequences = RIG_SEQUENCES;
    m.audit_every = f->audit_every;
    m.term = f->term - f->old_term;
    fake_send(f, HD_FRAME_WELCOME, &m.base, NULL, 0);
}

void fake_digests(struct fake_leader *f, size_t others)
{
    Hydac__V1__PieceDigests m = HYDAC__V1__PIECE_DIGESTS__INIT;
    struct hd_digests *d = rig_digests(f->rig->model);
    m.count = (uint32_t)d->n;
    for (size_t i = 0; i < others; i++)
        d->piece[i]++;
    fake_send(f, HD_FRAME_PIECE_DIGESTS, &m.base, d->piece, d->n * sizeof *d->piece);
    hd_digests_free(d);
}

static uint32_t *count_up(uint32_t *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        list[i] = i;
    return list;
}

void fake_assign_all(struct fake_leader *f, const struct rig *r, uint64_t epoch,
                     Hydac__V1__SequenceNeed *need)
{
    Hydac__V1__AssignHeads m = HYDAC__V1__ASSIGN_HEADS__INIT;
    uint32_t heads[64], ffn[256], vocab[256];
    m.epoch = epoch;
    Hydac__V1__Units own = HYDAC__V1__UNITS__INIT;
    m.own = &own;
    own.n_heads = r->units.heads;
    own.heads = count_up(heads, r->units.heads);
    own.n_ffn_blocks = r->units.ffn_blocks;
    own.ffn_blocks = count_up(ffn, r->units.ffn_blocks);
    own.n_vocab_blocks = r->units.vocab_blocks;
    own.vocab_blocks = count_up(vocab, r->units.vocab_blocks);
    m.n_sequences = need != NULL;
    m.sequences = &need;
    uint32_t layers_done = r->model->shape.n_layers;
    m.layers_done = &layers_done;
    m.n_layers_done = 1;
    fake_send(f, HD_FRAME_ASSIGN, &m.base, NULL, 0);
}

void fake_step(struct fake_leader *f, const struct rig_rows *rows, uint64_t epoch,
               Hydac__V1__Half half)
{
    struct hd_half_step step = rig_step(f->rig, rows, HD_UNIT_HEAD, 0);
    Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
    m.epoch = epoch;
    m.step = 77;
    m.group = f->group;
    m.half = half;
    m.layer = f->layer;
    m.n_tokens = f->tokens && f->layer == 0 ? rows->n : 0;
    m.tokens = (uint32_t *)f->tokens;
    m.n_sequences = m.n_positions = rows->n;
    m.sequences = (uint32_t *)rows->sequences;
    m.positions = (uint32_t *)rows->positions;
    m.n_shifts = half == HYDAC__V1__HALF__LOGITS ? 0 : rows->n;
    m.shifts = (int32_t *)rows->shifts;
    m.n_want = m.n_temperatures = half == HYDAC__V1__HALF__LOGITS ? rows->n : 0;
    m.want = (uint32_t *)rows->want;
    m.temperatures = (float *)rows->temperatures;
    fake_send(f, HD_FRAME_STEP, &m.base, step.rows.x, rows->n * hd_node_row_bytes(f->rig->node));
}

void fake_audit(struct fake_leader *f, const struct rig_rows *rows, Hydac__V1__Half half,
                bool fresh)
{
    static const uint64_t first_id = 1000;
    struct hd_half_step step = rig_step(f->rig, rows, HD_UNIT_HEAD, 0);
    struct hd_unit_list units = hd_shard_owned(f->rig->node->shard, hd_half_units(half));
    Hydac__V1__Audit m = HYDAC__V1__AUDIT__INIT;
    m.id = first_id + half;
    m.fresh = fresh;
    m.half = half;
    m.n_units = units.n;
    m.units = (uint32_t *)units.list;
    m.n_sequences = m.n_positions = rows->n;
    m.sequences = (uint32_t *)rows->sequences;
    m.positions = (uint32_t *)rows->positions;
    m.n_shifts = half == HYDAC__V1__HALF__LOGITS ? 0 : rows->n;
    m.shifts = (int32_t *)rows->shifts;
    m.n_want = m.n_temperatures = half == HYDAC__V1__HALF__LOGITS ? rows->n : 0;
    m.want = (uint32_t *)rows->want;
    m.temperatures = (float *)rows->temperatures;
    fake_send(f, HD_FRAME_AUDIT, &m.base, step.rows.x, rows->n * hd_node_row_bytes(f->rig->node));
}
