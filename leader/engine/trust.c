/* trust.c - what becomes of requests when something was found wrong: they end, or say that they may
 * be wrong; of those that have ended it is known when they ran. */
#include "leader/engine/engine_impl.h"

#include "common/util/clock.h"

#include <string.h>

void hd_requests_fail(struct hd_engine *e, hd_which_requests *which, uint64_t us, const char *why)
{
    struct hd_request *lists[] = {e->running, e->waiting};
    bool any = false;
    for (size_t i = 0; i < 2; i++)
        for (struct hd_request *r = lists[i]; r; r = r->next)
            any |= r->cancelled || which(r, us);
    if (!any)
        return;
    if (e->n_rows > 0) {
        hd_step_abandon(e);
        e->o.ops.step_abandoned(e->o.ops.arg);
    }
    for (size_t i = 0; i < 2; i++)
        for (struct hd_request *r = lists[i]; r; r = r->next)
            if (which(r, us) && !r->cancelled && !r->ended)
                hd_request_end(e, r, HD_FINISH_ERROR, why);
    hd_requests_sweep(e);
}

static bool told_since(const struct hd_request *r, uint64_t since_us)
{
    return r->told_us > 0 && r->told_us >= since_us;
}

static bool has_begun(const struct hd_request *r, uint64_t us)
{
    return r->started_us > 0 || r->reused > 0; /* rows of before count as computed */
}

void hd_engine_fail_told(struct hd_engine *e, uint64_t since_us, const char *why)
{
    hd_requests_fail(e, told_since, since_us, why);
    hd_cache_doom(e, UINT64_MAX);
}

void hd_engine_fail_running(struct hd_engine *e, const char *why)
{
    hd_requests_fail(e, has_begun, 0, why);
    hd_cache_doom(e, UINT64_MAX);
}

static uint64_t set_of(uint32_t sequence)
{
    return sequence == HD_ALL_SEQUENCES ? UINT64_MAX : UINT64_C(1) << sequence;
}

unsigned hd_engine_suspect(struct hd_engine *e, uint32_t sequence)
{
    uint64_t of = set_of(sequence);
    unsigned n = 0;
    for (struct hd_request *r = e->running; r; r = r->next) {
        if (!has_begun(r, 0) || !(r->lineage & of))
            continue;
        n += !r->suspect;
        r->suspect = true;
    }
    hd_cache_doom(e, of);
    return n;
}

void hd_request_note_end(struct hd_engine *e, const struct hd_request *r)
{
    if (r->told_us == 0)
        return;
    struct hd_ended_request *to = &e->ended[e->n_ended++ % HD_ENDED_REQUESTS];
    *to = (struct hd_ended_request){
        .sequences = r->lineage, .started_us = r->started_us, .ended_us = hd_now_us()};
    memcpy(to->id, r->o.id, sizeof to->id);
}

bool hd_engine_ended(const struct hd_engine *e, uint64_t since_us, uint32_t sequence,
                     void (*take)(void *arg, const struct hd_ended_request *r), void *arg)
{
    for (uint64_t i = 0; i < e->n_ended; i++) {
        const struct hd_ended_request *r = &e->ended[(e->n_ended - 1 - i) % HD_ENDED_REQUESTS];
        if (i == HD_ENDED_REQUESTS)
            return false;
        if (r->ended_us < since_us)
            break; /* they ended in this order */
        if (r->sequences & set_of(sequence))
            take(arg, r);
    }
    return true;
}
