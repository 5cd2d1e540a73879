/* framing.h - where a request ends, told from its headers. */
#ifndef HD_API_FRAMING_H
#define HD_API_FRAMING_H

#include <microhttpd.h>
#include <stdbool.h>

/* A request's first line. */
struct hd_head {
    const char *url, *method, *version;
};

/* Why it is doubtful where the request ends, the rest of a sentence; NULL: it is not. */
const char *hd_framing_fault(struct MHD_Connection *conn, const struct hd_head *head);
bool hd_framing_is_chunked(struct MHD_Connection *conn);
bool hd_framing_has_body(struct MHD_Connection *conn);

#endif
