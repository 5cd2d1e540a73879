/* digests.c - what the model's bytes are is known before anybody computes with them, and watched.
 *
 * Happy path: the digests of this very file are in the state folder, or else they are made on all
 * CPUs, on a thread of libuv's pool that leads a team; workers may join meanwhile, but the core
 * gives them nothing. Then every worker gets the whole list behind its Welcome, and the core may
 * go on. Failure modes: 1. no state folder, or one that cannot be written: made at each start, and
 * said in the log; 2. the leader's file is not, or does not stay, what it was: hd_leader_changed.
 * No request is taken any more, and no worker; what runs may end, since each row of the embedding
 * and each piece is compared when it is used. */
#include "common/model/digests.h"

#include "common/model/files.h"
#include "common/util/clock.h"
#include "common/util/cpus.h"
#include "common/util/state_dir.h"
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_US 2000000 /* how often the open files are looked at */

struct digests_job {
    uv_work_t work;
    struct hd_leader *leader;
    int rc;
    struct hd_error err;
    bool not_kept;
    struct hd_error why_not;
    uint64_t us;
};

/* ---- A file that changes ----*/

void hd_leader_changed(struct hd_leader *l, const char *what)
{
    if (l->changed[0])
        return;
    snprintf(l->changed, sizeof l->changed,
             "the model is not what it was when the leader began: %s; give the leader a whole file "
             "and start it again",
             what);
    hd_errlog(l->o.log, "model_changed", "reason=\"%s\" effect=\"no request is taken any more\"",
              l->changed);
    if (l->o.serving)
        l->o.serving(l->o.arg, l->changed);
}

void hd_digests_tick(struct hd_leader *l, uint64_t now_us)
{
    struct hd_error err = {0};
    if (l->changed[0] || now_us - l->files_checked_us < CHECK_US)
        return;
    l->files_checked_us = now_us;
    if (hd_model_check_files(l->model, &err) < 0)
        hd_leader_changed(l, err.text);
}

const char *hd_digests_wrong_row(void *leader, int32_t token)
{
    struct hd_leader *l = leader;
    const struct hd_tensor *t = &l->model->embedding;
    char what[256];
    uint64_t offset;
    const char *path = hd_model_where(l->model, t->data + (size_t)token * t->row_bytes, &offset);
    snprintf(what, sizeof what, "the embedding of token %d is wrong (%s, byte %" PRIu64 ")", token,
             path ? path : l->model->name, offset);
    hd_leader_changed(l, what);
    return l->changed;
}

void hd_digests_wrong_piece(struct hd_leader *l, struct hd_piece_at at)
{
    struct hd_cuts cuts = hd_piece_cuts(l->model, &l->units, at);
    char what[256];
    uint64_t offset;
    const char *path = hd_model_where(l->model, hd_piece_first_byte(&cuts), &offset);
    snprintf(what, sizeof what, "%s %u of layer %u is wrong (%s, from byte %" PRIu64 " on)",
             hd_unit_kind_name(at.kind), at.unit, at.layer, path ? path : l->model->name, offset);
    hd_leader_changed(l, what);
}

/* ---- The digests ----*/

static void all_known(struct hd_leader *l, const char *from, uint64_t us)
{
    struct hd_event ev = {.type = HD_EV_MODEL_KNOWN};
    if (hd_digests_norms(l->model) != l->digests->norms)
        hd_leader_changed(l, "its norms are wrong");
    hd_digests_tick(l, UINT64_MAX);
    if (l->changed[0])
        return;
    hd_info(l->o.log, "digests", "pieces=%zu from=%s ms=%" PRIu64, l->digests->n, from, us / 1000);
    l->digests_known = true;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (l->slots[s])
            hd_send_digests(l, l->slots[s]);
    hd_leader_event(l, &ev);
}

/* Pool thread. */
static void make(uv_work_t *work)
{
    struct digests_job *j = work->data;
    struct hd_leader *l = j->leader;
    uint64_t t0 = hd_now_us();
    j->rc = hd_digests_make(l->digests, hd_cpus(), &l->stop_reading, &j->err);
    j->us = hd_now_us() - t0;
    if (j->rc == 0 && l->has_state)
        j->not_kept = hd_digests_write(l->digests, l->o.config->state_dir, &j->why_not) < 0;
}

static void on_made(uv_work_t *work, int status)
{
    struct digests_job *j = work->data;
    struct hd_leader *l = j->leader;
    if (j->not_kept)
        hd_warn(l->o.log, "digests_not_kept",
                "reason=\"%s\" effect=\"the next start reads the whole model again\"",
                j->why_not.text);
    if (!l->closing && status == 0 && j->rc == 0)
        all_known(l, "files", j->us);
    else if (!l->closing)
        hd_leader_changed(l, j->err.text);
    free(j);
    l->weights_jobs--;
    hd_leader_maybe_closed(l);
}

static int start_making(struct hd_leader *l, struct hd_error *err)
{
    struct digests_job *j = calloc(1, sizeof *j);
    if (!j)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    j->leader = l;
    j->work.data = j;
    int rc = uv_queue_work(l->o.loop, &j->work, make, on_made);
    if (rc < 0) {
        free(j);
        return hd_fail(err, HD_E_IO, "cannot start reading the model: %s", uv_strerror(rc));
    }
    l->weights_jobs++;
    return 0;
}

int hd_digests_start(struct hd_leader *l, struct hd_error *err)
{
    struct hd_error why = {0};
    uint64_t t0 = hd_now_us();
    if (hd_digests_read(l->digests, l->o.config->state_dir) == 0) {
        all_known(l, "state", hd_now_us() - t0);
        return 0;
    }
    l->has_state = hd_state_dir_make(l->o.config->state_dir, &why) == 0;
    if (!l->has_state)
        hd_warn(l->o.log, "no_state_folder",
                "reason=\"%s\" effect=\"each start reads the whole model\"", why.text);
    return start_making(l, err);
}

int hd_send_digests(struct hd_leader *l, struct hd_peer *p)
{
    size_t n = l->digests->n;
    int rc = 0;
    for (size_t first = 0; first < n && rc == 0; first += HD_PIECE_DIGESTS_MAX) {
        Hydac__V1__PieceDigests m = HYDAC__V1__PIECE_DIGESTS__INIT;
        m.first = first;
        m.count = n - first < HD_PIECE_DIGESTS_MAX ? (uint32_t)(n - first) : HD_PIECE_DIGESTS_MAX;
        size_t bytes = m.count * sizeof *l->digests->piece;
        struct hd_shared *payload = hd_shared_new(bytes);
        if (!payload)
            return HD_E_NOMEM;
        memcpy(hd_shared_data(payload), l->digests->piece + first, bytes);
        rc = hd_peer_send(p, HD_FRAME_PIECE_DIGESTS, &m.base, payload);
        hd_shared_unref(payload);
    }
    return rc;
}
