/* dial.c - one attempt after another: look up, connect, wait twice as long. */
#include "worker/link/dial.h"

#include "common/net/tls.h"

#include <inttypes.h>
#include <limits.h>

#define SHUNNED_MS 1000

void hd_dial_init(struct hd_dial *w,
                  void (*found)(void *arg, int code, const struct sockaddr *addr, const char *why),
                  void *arg)
{
    w->resolve.done = found;
    w->resolve.arg = arg;
    w->resolve.nth = UINT_MAX; /* the first attempt counts it up to 0 */
    w->n = hd_address_count(w->config->leader);
    hd_dial_pause_shortest(w);
}

int hd_dial_look_up(struct hd_dial *w, struct hd_error *err)
{
    if (w->at == 0)
        w->resolve.nth++;
    hd_address_nth(w->config->leader, w->at, w->address);
    return hd_resolve(&w->resolve, w->loop, w->address, err);
}

int hd_dial_connect(struct hd_dial *w, const struct sockaddr *addr, struct hd_conn_options *o,
                    struct hd_conn **out, struct hd_error *err)
{
    char what[HD_ADDRESS_TEXT];
    *out = NULL;
    hd_address_text(addr, what);
    if (!w->tls && hd_tls_check_plaintext(w->config->tls, addr, what, err) < 0) {
        hd_dial_pause_longest(w);
        return HD_E_STATE;
    }
    o->tls = addr->sa_family == AF_UNIX ? NULL : w->tls;
    int rc = hd_conn_connect(out, w->loop, addr, o, err);
    if (rc < 0)
        *out = NULL;
    return rc;
}

static bool is_shunned(const struct hd_dial *w, unsigned at)
{
    return w->n > 1 && at == w->shunned && uv_now(w->loop) < w->shunned_until_ms;
}

uint64_t hd_dial_pause(struct hd_dial *w, const char *why)
{
    uint64_t now = w->pause_ms, longest = w->config->retry_max_ms;
    w->tried += !w->lost;
    bool shunned = is_shunned(w, w->shunned);
    bool others = w->tried + shunned < w->n && w->n > 1;
    if (others)
        now = 0;
    hd_warn(w->log, "no_leader", "address=%s reason=\"%s\" retry_ms=%" PRIu64, w->address, why,
            now);
    if (!w->lost)
        w->at = (w->at + 1) % w->n;
    if (is_shunned(w, w->at))
        w->at = (w->at + 1) % w->n;
    w->lost = false;
    if (others)
        return 0;
    w->tried = 0;
    w->pause_ms = 2 * now < longest ? 2 * now : longest;
    return now;
}

void hd_dial_leave(struct hd_dial *w)
{
    w->lost = false;
}

void hd_dial_shun(struct hd_dial *w)
{
    w->lost = false;
    w->shunned = w->at;
    w->shunned_until_ms = uv_now(w->loop) + SHUNNED_MS;
}

uint64_t hd_dial_patience_ms(const struct hd_dial *w, bool joined)
{
    uint64_t usual = joined ? HD_SILENCE_MS : HD_GREETING_MS;
    return w->n > 1 && w->config->silence_ms < usual ? w->config->silence_ms : usual;
}

void hd_dial_joined(struct hd_dial *w)
{
    hd_dial_pause_shortest(w);
    w->tried = 0;
    w->lost = true; /* should it be lost, it is the first to be tried */
}

void hd_dial_pause_shortest(struct hd_dial *w)
{
    w->pause_ms = w->config->retry_min_ms;
}

void hd_dial_pause_longest(struct hd_dial *w)
{
    w->pause_ms = w->config->retry_max_ms;
}
