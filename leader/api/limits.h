/* limits.h - what somebody who has no key may cost HTTP, and how long is waited for whom. */
#ifndef HD_API_LIMITS_H
#define HD_API_LIMITS_H

#define HD_MAX_UNSENT  (1u << 20)  /* bytes of a stream that may wait for its client */
#define HD_MAX_DRAIN   (16u << 20) /* bytes beyond max_body that are read to answer 413 politely */
#define HD_IDLE_S      60u         /* a connection on which nothing moves is closed */
#define HD_MAX_HEADERS 32768u      /* bytes of a request's line and headers */
/* Bytes that libmicrohttpd has for a connection: headers that do not fit are refused by itself,
 * with a page of HTML, so there is room for those that we refuse. */
#define HD_CONNECTION_MEMORY 131072u
#define HD_MAX_PEM           65536u /* bytes of a certificate chain, or of its key: some twenty */
#define HD_SMALL_BODY        65536u /* bytes: larger ones are for the thread of large jobs */
/* Places besides max_connections, for telling those who find all of these taken. */
#define HD_TURNED_AWAY  64u
#define HD_GRACE_MS     1000u /* a connection has so long to send a request before it makes room */
#define HD_STREAM_BLOCK 4096u /* bytes that libmicrohttpd asks for at a time */
#define HD_DRAIN_MS     1000u /* for replies under way when the API is closed */

#endif
