/* inspect.h - what `hydac inspect` finds, as an object, and its words. */
#ifndef HD_CTL_INSPECT_H
#define HD_CTL_INSPECT_H

#include <jansson.h>
#include <stdint.h>

struct hd_inspect {
    const char *path;
    uint64_t workers; /* memory for so many; 0: for the usual numbers */
    json_t *status;   /* the leader's; NULL: there is none */
};

/* {"path", "loads", "error"} and, of one that loads, all that --help promises. Owned by the caller.
 */
json_t *hd_inspect(const struct hd_inspect *in);
void hd_inspect_print(const json_t *o);

#endif
