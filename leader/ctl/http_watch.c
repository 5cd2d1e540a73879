/* http_watch.c - is it the answer that takes so long, or does nobody make it any more?
 *
 * Happy path: bytes come, or after HD_WATCH_ASK_MS without one /health is answered; this again and
 * again -> the transfer's end. Failure modes: 1. neither comes: the transfer is given up; 2. the
 * second connection is refused (the leader has no room, say): it is tried again until then. */
#include "leader/ctl/http_watch.h"

#include "common/util/clock.h"
#include "common/util/silence.h"

#include <stdbool.h>

#define LOOK_MS 50

struct watch {
    CURLM *multi;
    CURL *curl, *health;
    bool asked, over;
    CURLcode code;     /* once it is over */
    curl_off_t bytes;  /* that have come */
    curl_off_t set_up; /* us to connect, with TLS; 0: not yet */
    struct hd_silence silence;
};

static curl_off_t number(CURL *curl, CURLINFO what)
{
    curl_off_t n = 0;
    curl_easy_getinfo(curl, what, &n);
    return n;
}

/* Whatever it says, it lives. */
static void note_bytes(struct watch *w, uint64_t now)
{
    long header = 0;
    curl_easy_getinfo(w->curl, CURLINFO_HEADER_SIZE, &header);
    curl_off_t bytes = number(w->curl, CURLINFO_SIZE_DOWNLOAD_T) + header;
    curl_off_t tcp = number(w->curl, CURLINFO_CONNECT_TIME_T);
    curl_off_t tls = number(w->curl, CURLINFO_APPCONNECT_TIME_T);
    curl_off_t set_up = tcp > tls ? tcp : tls;
    if (bytes != w->bytes || set_up != w->set_up)
        hd_silence_heard(&w->silence, now);
    w->bytes = bytes;
    w->set_up = set_up;
}

static void note_ends(struct watch *w, uint64_t now)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(w->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        if (m->easy_handle == w->curl) {
            w->over = true;
            w->code = m->data.result;
            continue;
        }
        if (m->data.result == CURLE_OK)
            hd_silence_heard(&w->silence, now);
        curl_multi_remove_handle(w->multi, w->health);
        w->asked = false;
    }
}

static uint64_t limit_us(const struct watch *w)
{
    return w->bytes == 0 ? HD_WATCH_BEGIN_MS * UINT64_C(1000)
                         : HD_WATCH_GIVE_UP_MS * UINT64_C(1000) + 3 * (uint64_t)w->set_up;
}

static void judge(struct watch *w, uint64_t now)
{
    uint64_t silent = hd_silence_of(&w->silence, now);
    if (silent > limit_us(w)) {
        w->over = true;
        w->code = CURLE_OPERATION_TIMEDOUT;
    } else if (!w->asked && w->set_up > 0 && silent > HD_WATCH_ASK_MS * UINT64_C(1000)) {
        w->asked = curl_multi_add_handle(w->multi, w->health) == CURLM_OK;
    }
}

CURLcode hd_http_watched(CURL *curl, CURL *health)
{
    struct watch w = {.multi = curl_multi_init(), .curl = curl, .health = health};
    int running;
    if (!w.multi || curl_multi_add_handle(w.multi, curl) != CURLM_OK) {
        curl_multi_cleanup(w.multi);
        return CURLE_OUT_OF_MEMORY;
    }
    w.silence.heard_us = hd_now_us();
    for (uint64_t due = w.silence.heard_us; !w.over;) {
        curl_multi_perform(w.multi, &running);
        uint64_t now = hd_now_us();
        hd_silence_excuse(&w.silence, now > due ? now - due : 0);
        note_bytes(&w, now);
        note_ends(&w, now);
        if (!w.over)
            judge(&w, now);
        due = now + LOOK_MS * 1000;
        if (!w.over)
            curl_multi_poll(w.multi, NULL, 0, LOOK_MS, NULL);
    }
    if (w.asked)
        curl_multi_remove_handle(w.multi, health);
    curl_multi_remove_handle(w.multi, curl);
    curl_multi_cleanup(w.multi);
    return w.code;
}
