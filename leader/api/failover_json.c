/* failover_json.c - one object a recovery; its members are described in leader/README.md. */
#include "leader/api/failover_json.h"

#include <math.h>

json_t *hd_real_json(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

json_t *hd_failover_json(const struct hd_failover *f)
{
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "worker",
        f->worker, "cause", hd_loss_cause_name(f->cause), "policy", f->policy, "epoch",
        (json_int_t)f->epoch, "heads_lost", (json_int_t)f->heads_lost, "heads_reused",
        (json_int_t)f->heads_reused, "heads_rebuilt", (json_int_t)f->heads_rebuilt, "heads_ready",
        (json_int_t)f->heads_ready, "positions", (json_int_t)f->positions, "rows_rebuilt",
        (json_int_t)f->rows_rebuilt, "rows_kept", (json_int_t)f->rows_kept, "rows_replayed",
        (json_int_t)f->rows_replayed, "bytes", (json_int_t)f->bytes, "flops", (json_int_t)f->flops);
    json_t *t =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "detect_ms", hd_real_json(f->detect_ms),
                  "plan_ms", hd_real_json(f->plan_ms), "weights_ms", hd_real_json(f->weights_ms),
                  "rebuild_ms", hd_real_json(f->rebuild_ms), "retry_ms", hd_real_json(f->retry_ms),
                  "stall_ms", hd_real_json(f->stall_ms));
    if (!o || !t || json_object_update(o, t) < 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(t);
    return o;
}
