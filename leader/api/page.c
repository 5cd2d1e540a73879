/* page.c - the page at "/": for whoever asks. It holds no data; what it shows it asks for, with the
 * key where there is one. */
#include "common/net/address.h"
#include "leader/api/call.h"
#include "leader/api/handlers.h"
#include "leader/page/page.h"

#include <stdlib.h>
#include <string.h>

/* It may ask the other leaders, when this one is gone. */
static void add_policy(struct MHD_Response *r, const struct hd_origins *o)
{
    struct hd_text policy = {0};
    size_t n;
    int rc = hd_text_add(&policy, hd_page_policy, strlen(hd_page_policy));
    for (const char *w = o->leaders; rc == 0 && (w = hd_word_next(w, &n)); w += n) {
        rc = hd_text_add(&policy, " ", 1);
        if (rc == 0)
            rc = hd_text_add(&policy, w, hd_address_origin(w, n));
    }
    MHD_add_response_header(r, "Content-Security-Policy",
                            rc == 0 ? hd_text_str(&policy) : hd_page_policy);
    hd_text_deinit(&policy);
}

static void add_headers(struct MHD_Response *r, const struct hd_call *c)
{
    add_policy(r, &c->api->origins);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(r, "Cross-Origin-Opener-Policy", "same-origin");
    MHD_add_response_header(r, "Cache-Control", "no-cache");
}

void hd_get_page(struct hd_call *c, const char *rest)
{
    char *page = malloc(hd_page_len + 1);
    if (page) {
        memcpy(page, hd_page, hd_page_len);
        page[hd_page_len] = '\0';
        if (c->api->keys.api.len > 0)
            memcpy(page + hd_page_key_at, "need", 4);
    }
    c->more_headers = add_headers;
    hd_call_reply_text(c, "text/html; charset=utf-8", page);
}
