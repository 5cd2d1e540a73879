/* receive.h - an exchange's way in: headers looked at, the body collected, the path found. */
#ifndef HD_API_RECEIVE_H
#define HD_API_RECEIVE_H

#include <microhttpd.h>

/* libmicrohttpd's, with the API as its argument. */
enum MHD_Result hd_receive(void *api, struct MHD_Connection *conn, const char *url,
                           const char *method, const char *version, const char *data, size_t *len,
                           void **call);
void hd_receive_completed(void *api, struct MHD_Connection *conn, void **call,
                          enum MHD_RequestTerminationCode why);

#endif
