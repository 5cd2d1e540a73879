/* routes.h - paths and methods. */
#ifndef HD_API_ROUTES_H
#define HD_API_ROUTES_H

#include "leader/api/call.h"

bool hd_route_is_admin(const char *url);
/* How a refusal is written there. */
json_t *(*hd_route_refusal(const char *url))(const struct hd_refusal *r);
bool hd_route_takes_prompts(const char *url);
void hd_call_route(struct hd_call *c, const char *url, const char *method);

#endif
