/* think.h - what a model thinks before it answers, told apart from the answer.
 *
 * Models whose template speaks of <think> write <think>...</think> first, or begin inside it, where
 * the template has opened it. */
#ifndef HD_API_THINK_H
#define HD_API_THINK_H

#include "leader/api/text.h"

struct hd_think {
    bool on;
    enum { HD_THINK_BEFORE, HD_THINK_INSIDE, HD_THINK_BEHIND, HD_THINK_OVER } at;
    bool begun;          /* a thought has been told */
    struct hd_text held; /* may be the beginning or the end of thoughts */
};
/* `opened`: the end of the prompt's text. */
void hd_think_init(struct hd_think *t, const char *template, const char *opened);
/* Text that came: the answer's is added to `out`, the other to `thought`, neither with blanks
 * around it. 0 or HD_E_NOMEM. */
int hd_think_push(struct hd_think *t, const char *text, struct hd_text *out,
                  struct hd_text *thought);
/* No more comes. */
int hd_think_finish(struct hd_think *t, struct hd_text *out, struct hd_text *thought);
void hd_think_deinit(struct hd_think *t);

#endif
