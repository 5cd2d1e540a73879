/* digests.c - what the model's bytes are is known before anybody computes with them, and watched.
 *
 * Happy path: the digests of this very file are in the state folder, or else they are made on all
 * CPUs, on a thread of libuv's pool that leads a team; workers may join meanwhile, but the core
 * gives them nothing. Then every worker gets the whole list behind its Welcome, and the core may
 * go on. Failure modes: 1. no state folder, or one that cannot be written: made at each start, and
 * said in the log; 2. the leader's file is not, or does not stay, what it was: hd_leader_changed.
 * No request is taken any more, and no worker; what runs may end, since each row of the embedding
 * and each piece is compared when it is used; 3. it has been written to, but not made longer or
 * shorter: no request is taken until it was read once more, beside what runs, and nobody wrote to
 * it meanwhile. The same digests: as if nothing had been; others: 2. */
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
    struct hd_digests *to; /* the leader's, or what is to be compared with them: the job's own */
    unsigned threads;
    int rc;
    struct hd_error err;
    bool same; /* as the leader's; else: */
    struct hd_digests_part differs;
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

/* ---- Reading all of it ----*/

/* Pool thread. What the leader has is not changed by anybody while a job reads the files again. */
static void make(uv_work_t *work)
{
    struct digests_job *j = work->data;
    struct hd_leader *l = j->leader;
    uint64_t t0 = hd_now_us();
    j->rc = hd_digests_make(j->to, j->threads, &l->stop_reading, &j->err);
    j->us = hd_now_us() - t0;
    hd_model_let_go(
        l->model); /* of all that was read a row of the embedding is used now and then */
    j->same = j->rc == 0 && hd_digests_same(l->digests, j->to, &j->differs);
    if (j->same && l->has_state)
        j->not_kept = hd_digests_write(j->to, l->o.config->state_dir, &j->why_not) < 0;
}

static void end_job(struct digests_job *j)
{
    struct hd_leader *l = j->leader;
    if (j->not_kept)
        hd_warn(l->o.log, "digests_not_kept",
                "reason=\"%s\" effect=\"the next start reads the whole model again\"",
                j->why_not.text);
    if (j->to != l->digests)
        hd_digests_free(j->to);
    free(j);
    l->weights_jobs--;
    hd_leader_maybe_closed(l);
}

/* Takes the job, also when it fails. */
static int begin_job(struct digests_job *j, void (*made)(uv_work_t *work, int status),
                     struct hd_error *err)
{
    struct hd_leader *l = j->leader;
    j->work.data = j;
    l->weights_jobs++;
    int rc = uv_queue_work(l->o.loop, &j->work, make, made);
    if (rc == 0)
        return 0;
    end_job(j);
    return hd_fail(err, HD_E_IO, "cannot start reading the model: %s", uv_strerror(rc));
}

/* ---- Once more, when a file was written to ----*/

static void tell_serving(const struct hd_leader *l)
{
    const char *why = hd_digests_not_ready(l);
    if (!why && hd_core_state(l->core) != HD_CLUSTER_READY)
        why = hd_core_reason(l->core);
    if (l->o.serving)
        l->o.serving(l->o.arg, why);
}

static void say_what_differs(struct hd_leader *l, const struct hd_digests_part *what)
{
    if (what->kind == HD_DIGESTS_PIECE)
        hd_digests_wrong_piece(l, hd_piece_nth(l->model, &l->units, what->index));
    else if (what->kind == HD_DIGESTS_ROW)
        hd_digests_wrong_row(l, (int32_t)what->index);
    else
        hd_leader_changed(l, "its norms are wrong");
}

static void on_made_again(uv_work_t *work, int status)
{
    struct digests_job *j = work->data;
    struct hd_leader *l = j->leader;
    l->reading_again = false;
    if (l->closing || l->changed[0]) {
        end_job(j);
        return;
    }
    if (status < 0 || j->rc < 0) {
        hd_leader_changed(l, status < 0 ? uv_strerror(status) : j->err.text);
    } else if (j->rc == 0 && !j->same) {
        say_what_differs(l, &j->differs);
    } else if (j->rc == 0) { /* else it was written to again, which the next tick sees */
        hd_info(l->o.log, "model_same", "ms=%" PRIu64 " effect=\"requests are taken again\"",
                j->us / 1000);
        l->doubted[0] = 0;
        tell_serving(l);
    }
    end_job(j);
}

/* A quarter of the CPUs: what runs goes on. */
static void begin_again(struct hd_leader *l)
{
    struct hd_error err = {0};
    struct digests_job *j = calloc(1, sizeof *j);
    if (!j || hd_digests_new(&j->to, l->model) < 0) {
        free(j);
        return; /* at the next tick */
    }
    j->leader = l;
    j->threads = 1 + hd_cpus() / 4;
    l->reading_again = begin_job(j, on_made_again, &err) == 0;
}

static void doubt(struct hd_leader *l, const char *what)
{
    if (l->doubted[0])
        return;
    snprintf(l->doubted, sizeof l->doubted,
             "%s; it is read once more, and requests are taken again if its bytes are the same",
             what);
    hd_warn(l->o.log, "model_touched", "reason=\"%s\"", l->doubted);
    tell_serving(l);
}

const char *hd_digests_not_ready(const struct hd_leader *l)
{
    return l->changed[0] ? l->changed : l->doubted[0] ? l->doubted : NULL;
}

void hd_digests_tick(struct hd_leader *l, uint64_t now_us)
{
    struct hd_error err = {0};
    if (l->changed[0] || l->reading_again || now_us - l->files_checked_us < CHECK_US)
        return;
    l->files_checked_us = now_us;
    int rc = hd_model_check_files(l->model, &err);
    if (rc < 0 || (rc == HD_FILES_TOUCHED && !l->digests_known)) {
        hd_leader_changed(l, err.text);
        return;
    }
    if (rc == HD_FILES_TOUCHED) {
        doubt(l, err.text);
        hd_model_note_files(l->model);
    } else if (l->doubted[0]) { /* nobody has written to it since the last look */
        begin_again(l);
    }
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
    hd_trust_name_model(l);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (l->slots[s])
            hd_send_digests(l, l->slots[s]);
    hd_leader_event(l, &ev);
}

static void on_made(uv_work_t *work, int status)
{
    struct digests_job *j = work->data;
    struct hd_leader *l = j->leader;
    if (!l->closing && status == 0 && j->rc == 0)
        all_known(l, "files", j->us);
    else if (!l->closing)
        hd_leader_changed(l, j->err.text);
    end_job(j);
}

static int start_making(struct hd_leader *l, struct hd_error *err)
{
    struct digests_job *j = calloc(1, sizeof *j);
    if (!j)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    j->leader = l;
    j->to = l->digests;
    j->threads = hd_cpus();
    return begin_job(j, on_made, err);
}

int hd_digests_start(struct hd_leader *l, struct hd_error *err)
{
    struct hd_error why = {0};
    uint64_t t0 = hd_now_us();
    if (hd_digests_read(l->digests, l->o.config->state_dir) == 0) {
        l->has_state = true;
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
