/* sse.h - objects put behind one another in a stream. */
#ifndef HD_API_SSE_H
#define HD_API_SSE_H

#include "leader/api/text.h"

#include <jansson.h>

/* An object as text, malloc'ed; it is taken over. NULL when memory is out, also for NULL. */
char *hd_json_text(json_t *object);
/* One event of a stream of events (HTML, section 9.2), with a name (NULL: without). Takes the
 * object over. 0 or HD_E_NOMEM, also for NULL. */
int hd_sse_add(struct hd_text *out, const char *event, json_t *object);
/* One line of a stream of lines. As above. */
int hd_line_add(struct hd_text *out, json_t *object);

#endif
