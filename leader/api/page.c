/* page.c - the page at "/": for whoever asks. It holds no data; what it shows it asks for, with the
 * key where there is one. */
#include "leader/api/call.h"
#include "leader/api/handlers.h"
#include "leader/page/page.h"

#include <stdlib.h>
#include <string.h>

static void add_headers(struct MHD_Response *r)
{
    MHD_add_response_header(r, "Content-Security-Policy", hd_page_policy);
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
