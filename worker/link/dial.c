/* dial.c - one attempt after another: look up, connect, wait twice as long. */
#include "worker/link/dial.h"

#include "common/net/tls.h"

#include <inttypes.h>
#include <limits.h>

void hd_dial_init(struct hd_dial *w,
                  void (*found)(void *arg, int code, const struct sockaddr *addr, const char *why),
                  void *arg)
{
    w->resolve.done = found;
    w->resolve.arg = arg;
    w->resolve.nth = UINT_MAX; /* the first attempt counts it up to 0 */
    hd_dial_pause_shortest(w);
}

int hd_dial_look_up(struct hd_dial *w, struct hd_error *err)
{
    w->resolve.nth++;
    return hd_resolve(&w->resolve, w->loop, w->config->leader, err);
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

uint64_t hd_dial_pause(struct hd_dial *w, const char *why)
{
    uint64_t now = w->pause_ms, longest = w->config->retry_max_ms;
    hd_warn(w->log, "no_leader", "address=%s reason=\"%s\" retry_ms=%" PRIu64, w->config->leader,
            why, now);
    w->pause_ms = 2 * now < longest ? 2 * now : longest;
    return now;
}

void hd_dial_pause_shortest(struct hd_dial *w)
{
    w->pause_ms = w->config->retry_min_ms;
}

void hd_dial_pause_longest(struct hd_dial *w)
{
    w->pause_ms = w->config->retry_max_ms;
}
