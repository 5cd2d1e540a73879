/* bootstrap.h - a worker without a model file asks its leader which model there is.
 *
 *   PAUSED --timer--> RESOLVING --address--> CONNECTING --open, ModelRequest--> ASKING
 *     ^                   |                      |                                |
 *     +--name unknown-----+<--- on_close --------+<-------------------------------+--> done
 *
 * Happy path: hd_bootstrap_start -> connect -> ModelRequest -> ModelOutline -> the model is made of
 * it, the connection closed -> `done`. Failure modes, each tried again after a growing pause, for
 * ever: 1. the leader cannot be reached, or ends the connection; 2. it says nothing for
 * HD_GREETING_MS; 3. what it says makes no sense (the log says what). hd_bootstrap_close may come
 * at any moment before `done`, which then never fires. */
#ifndef HD_WORKER_BOOTSTRAP_H
#define HD_WORKER_BOOTSTRAP_H

#include "common/model/model.h"
#include "common/util/log.h"
#include "worker/config.h"

#include <uv.h>

struct hd_bootstrap;
struct hd_tls_context;

struct hd_bootstrap_options {
    uv_loop_t *loop;
    const struct hd_worker_config *config; /* all borrowed until the end */
    const struct hd_log *log;
    struct hd_tls_context *tls; /* NULL: plaintext */
    /* Fires once, from the loop; the model is the receiver's, the bootstrap is gone. */
    void (*done)(void *arg, struct hd_model *model);
    void *arg;
};

struct Hydac__V1__ModelOutline;
/* The model that a leader tells of; as hd_model_from_outline. */
int hd_model_from_message(struct hd_model **out, const struct Hydac__V1__ModelOutline *m,
                          struct hd_error *err);

/* 0 or HD_E_NOMEM; then `done` never fires. */
int hd_bootstrap_start(struct hd_bootstrap **out, const struct hd_bootstrap_options *o);
/* `closed` fires once, from the loop; the bootstrap is gone after it. */
void hd_bootstrap_close(struct hd_bootstrap *b, void (*closed)(void *arg), void *arg);

#endif
