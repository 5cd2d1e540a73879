/* origin.h - which web pages may ask here, and read what is answered. */
#ifndef HD_API_ORIGIN_H
#define HD_API_ORIGIN_H

#include "leader/api/refusal.h"

#include <microhttpd.h>
#include <stdbool.h>

/* Words with a blank between them, NULL or "" = none, "*" = all. */
struct hd_origins {
    const char *hosts, *pages;
    const char *leaders; /* addresses of this cluster's other leaders, whose page may ask here */
};

/* Host and Origin are this machine's, or listed. 0, or HD_E_RANGE with *r. */
int hd_origin_check(const struct hd_origins *o, struct MHD_Connection *conn, struct hd_refusal *r);
/* A browser says whence it asks. */
bool hd_origin_is_told(struct MHD_Connection *conn);
/* A program on this machine asks, no web page and nobody through a proxy that says so. */
bool hd_origin_is_local(struct MHD_Connection *conn);
/* What lets web pages of http.allowed_origins read the answer, and what tells their browser before
 * they ask (to hd_cors_check's 0, else HD_E_RANGE with *r). */
void hd_cors_add(const struct hd_origins *o, struct MHD_Connection *conn, struct MHD_Response *r);
bool hd_cors_is_preflight(struct MHD_Connection *conn, const char *method);
int hd_cors_check(const struct hd_origins *o, struct MHD_Connection *conn, struct hd_refusal *r);
void hd_cors_add_preflight(struct MHD_Connection *conn, struct MHD_Response *r);

#endif
