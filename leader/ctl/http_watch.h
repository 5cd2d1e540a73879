/* http_watch.h - a transfer that does not wait for ever for a leader that stands still. */
#ifndef HD_CTL_HTTP_WATCH_H
#define HD_CTL_HTTP_WATCH_H

#include <curl/curl.h>

/* Of a leader that is well `/health` comes within a round trip or few, however long an answer's
 * next token takes. */
#define HD_WATCH_ASK_MS     250  /* without a byte; then it is asked for /health */
#define HD_WATCH_GIVE_UP_MS 650  /* ... and left then, plus what the connection took to be made */
#define HD_WATCH_BEGIN_MS   2000 /* before the first byte: to leave a busy one is to begin anew */

/* As curl_easy_perform; a leader that says nothing, neither over this transfer nor when it is asked
 * for its health (another connection, prepared: `health`), ends it: CURLE_OPERATION_TIMEDOUT. Time
 * in which this process did not run is nobody's silence. Both handles stay the caller's. */
CURLcode hd_http_watched(CURL *curl, CURL *health);

#endif
