/* bootstrap.c - a session that ends with the first answer. */
#include "worker/link/bootstrap.h"

#include "common/model/outline.h"
#include "hydac.pb-c.h"
#include "worker/link/dial.h"

#include <inttypes.h>
#include <stdlib.h>

#define MAX_QUEUED (UINT64_C(1) << 20) /* one small request is all that is sent */

enum state { PAUSED, RESOLVING, CONNECTING, ASKING, ENDING };

struct hd_bootstrap {
    struct hd_bootstrap_options o;
    enum state state;
    struct hd_conn *conn;
    struct hd_dial dial;
    uv_timer_t timer; /* PAUSED: when to try again; later: when silence has lasted too long */
    bool has_timer;
    struct hd_model *model; /* what was asked for */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void begin(struct hd_bootstrap *b);
static void on_timer(uv_timer_t *timer);

/* ---- The end ----*/

/* Nothing is open any more: the model goes to who asked, or nobody wants it. */
static void maybe_finish(struct hd_bootstrap *b)
{
    if ((!b->closing && !b->model) || b->conn || b->state == RESOLVING || b->has_timer)
        return;
    struct hd_bootstrap_options o = b->o;
    struct hd_model *model = b->model;
    void (*closed)(void *arg) = b->closed;
    void *closed_arg = b->closed_arg;
    bool closing = b->closing;
    free(b);
    if (!closing) {
        o.done(o.arg, model);
        return;
    }
    hd_model_close(model);
    closed(closed_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct hd_bootstrap *b = handle->data;
    b->has_timer = false;
    maybe_finish(b);
}

static void end(struct hd_bootstrap *b)
{
    if (!uv_is_closing((uv_handle_t *)&b->timer))
        uv_close((uv_handle_t *)&b->timer, on_timer_closed);
    maybe_finish(b);
}

void hd_bootstrap_close(struct hd_bootstrap *b, void (*closed)(void *arg), void *arg)
{
    b->closing = true;
    b->closed = closed;
    b->closed_arg = arg;
    if (b->state == RESOLVING)
        hd_resolve_cancel(&b->dial.resolve);
    else if (b->conn)
        hd_conn_close(b->conn, false);
    end(b);
}

/* ---- Trying again ----*/

static void pause_it(struct hd_bootstrap *b, const char *why)
{
    b->state = PAUSED;
    if (b->closing || b->model) {
        end(b);
        return;
    }
    uv_timer_start(&b->timer, on_timer, hd_dial_pause(&b->dial, why), 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct hd_bootstrap *b = timer->data;
    if (b->state == PAUSED) {
        begin(b);
        return;
    }
    hd_warn(b->o.log, "leader_silent", "asked=\"which model\"");
    b->state = ENDING;
    hd_conn_close(b->conn, false);
}

/* ---- The answer ----*/

int hd_model_from_message(struct hd_model **out, const struct Hydac__V1__ModelOutline *m,
                          struct hd_error *err)
{
    struct hd_outline o = {
        .shape = {.n_layers = m->layers,
                  .dim = m->dim,
                  .n_heads = m->heads,
                  .n_kv_heads = m->kv_heads,
                  .head_dim = m->head_dim,
                  .ffn_dim = m->ffn_dim,
                  .n_experts = m->experts,
                  .n_used = m->experts_used,
                  .vocab = m->vocab,
                  .context = m->context,
                  .rope_dim = m->rope_dim,
                  .norm_eps = m->norm_eps,
                  .tied_output = m->tied_output},
        .rope_order = m->rope_order,
        .rope_freq = m->rope_freq,
        .n_rope_freq = m->n_rope_freq,
        .rope_scale = m->rope_scale,
        .n_rope_scale = m->n_rope_scale,
        .long_from = m->long_from,
        .name = m->name,
        .digest = m->digest,
        .types = m->types.data,
        .n_types = m->types.len,
        .block = {.norm_offset = m->norm_offset,
                  .attention_scale = m->attention_scale,
                  .attention_cap = m->attention_cap,
                  .logit_scale = m->logit_scale,
                  .clamp = {m->clamp_alpha, m->clamp_limit},
                  .growth = m->growth,
                  .growth_from = m->growth_from,
                  .logit_cap = m->logit_cap},
        .activation = m->activation,
        .norm = m->norm,
        .windows = m->windows,
        .n_windows = m->n_windows,
        .layer_rope = m->layer_rope.data,
        .n_layer_rope = m->layer_rope.len,
        .slots = m->slots,
    };
    return hd_model_from_outline(out, &o, err);
}

static int take_frame(struct hd_bootstrap *b, const struct hd_frame *f, struct hd_error *err)
{
    if (f->type == HD_FRAME_REJECT) {
        Hydac__V1__Reject *m = hydac__v1__reject__unpack(NULL, f->body_len, f->body);
        hd_fail(err, HD_E_STATE, "the leader refuses: %s", m ? m->reason : "without a reason");
        if (m)
            hydac__v1__reject__free_unpacked(m, NULL);
        return HD_E_STATE;
    }
    if (f->type != HD_FRAME_MODEL_OUTLINE)
        return hd_fail(err, HD_E_PROTO, "a %s frame makes no sense now",
                       hd_frame_type_name(f->type));
    Hydac__V1__ModelOutline *m = hydac__v1__model_outline__unpack(NULL, f->body_len, f->body);
    if (!m)
        return hd_fail(err, HD_E_PROTO, "a ModelOutline frame cannot be read");
    int rc = hd_model_from_message(&b->model, m, err);
    hydac__v1__model_outline__free_unpacked(m, NULL);
    return rc < 0 ? hd_fail_in(err, "ModelOutline") : 0;
}

/* ---- The connection ----*/

static void on_open(void *arg, struct hd_conn *conn)
{
    struct hd_bootstrap *b = arg;
    Hydac__V1__ModelRequest m = HYDAC__V1__MODEL_REQUEST__INIT;
    b->state = ASKING;
    if (hd_conn_send(conn, HD_FRAME_MODEL_REQUEST, &m.base, NULL) < 0)
        hd_conn_close(conn, false);
}

static void on_frame(void *arg, struct hd_conn *conn, struct hd_frame *f)
{
    struct hd_bootstrap *b = arg;
    struct hd_error err = {0};
    if (b->state == ASKING && !b->closing) {
        if (take_frame(b, f, &err) < 0)
            hd_errlog(b->o.log, "no_model", "leader=%s reason=\"%s\"", hd_conn_peer(conn),
                      err.text);
        else
            hd_info(b->o.log, "model", "leader=%s name=\"%s\" digest=%016" PRIx64 " layers=%u",
                    hd_conn_peer(conn), b->model->name, b->model->digest, b->model->shape.n_layers);
        b->state = ENDING;
        hd_conn_close(conn, false);
    }
    hd_frame_clear(f);
}

static void on_close(void *arg, struct hd_conn *conn, int code, const char *why)
{
    struct hd_bootstrap *b = arg;
    (void)conn;
    b->conn = NULL;
    if (!uv_is_closing((uv_handle_t *)&b->timer))
        uv_timer_stop(&b->timer);
    pause_it(b, code == 0 ? "the connection was given up" : why);
}

static void on_address(void *arg, int code, const struct sockaddr *addr, const char *why)
{
    struct hd_bootstrap *b = arg;
    struct hd_error err = {0};
    if (code < 0 || b->closing) {
        pause_it(b, why);
        return;
    }
    struct hd_conn_options o = {
        .events = {.on_open = on_open, .on_frame = on_frame, .on_close = on_close},
        .arg = b,
        .limits = {.max_body = HD_FRAME_OUTLINE_BODY},
        .max_queued = MAX_QUEUED,
    };
    if (hd_dial_connect(&b->dial, addr, &o, &b->conn, &err) < 0) {
        pause_it(b, err.text);
        return;
    }
    b->state = CONNECTING;
    uv_timer_start(&b->timer, on_timer, hd_dial_patience_ms(&b->dial, false), 0);
}

static void begin(struct hd_bootstrap *b)
{
    struct hd_error err = {0};
    b->state = RESOLVING;
    if (hd_dial_look_up(&b->dial, &err) < 0)
        pause_it(b, err.text);
}

int hd_bootstrap_start(struct hd_bootstrap **out, const struct hd_bootstrap_options *o)
{
    struct hd_bootstrap *b = calloc(1, sizeof *b);
    if (!b)
        return HD_E_NOMEM;
    b->o = *o;
    b->dial = (struct hd_dial){.loop = o->loop, .config = o->config, .log = o->log, .tls = o->tls};
    hd_dial_init(&b->dial, on_address, b);
    uv_timer_init(o->loop, &b->timer);
    b->timer.data = b;
    b->has_timer = true;
    uv_timer_start(&b->timer, on_timer, 0, 0);
    *out = b;
    return 0;
}
