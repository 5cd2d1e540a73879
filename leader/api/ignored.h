/* ignored.h - what requests have that is not followed, told to the log: members that nothing here
 * knows, tools with a schema that cannot be held to. */
#ifndef HD_API_IGNORED_H
#define HD_API_IGNORED_H

#include "common/util/log.h"

#include <stddef.h>

#define HD_IGNORED_NAME 40 /* bytes of a name, more are cut off */
#define HD_MAX_UNKNOWN  8  /* names of one request */
#define HD_MAX_TOLD     64 /* names in all; more are left out without a word */

/* Of a request. */
struct hd_unknown {
    char names[HD_MAX_UNKNOWN][HD_IGNORED_NAME];
    size_t n;
};
/* Of all: what the log has spoken of. */
struct hd_ignored {
    char told[HD_MAX_TOLD][HD_IGNORED_NAME];
    size_t n;
};

void hd_unknown_add(struct hd_unknown *u, const char *name);
/* Warn of members that were left out, of tools whose arguments are any object: of each name once.
 */
void hd_ignored_tell(struct hd_ignored *told, const struct hd_log *log, const struct hd_unknown *u);
void hd_ignored_tell_tools(struct hd_ignored *told, const struct hd_log *log,
                           const struct hd_unknown *u);

#endif
