/* channels.h - answers of models that speak in channels (gpt-oss): each message has a head, which
 * says where it goes, and a body:
 *
 *     <|channel|>analysis<|message|>...<|end|>                                   thoughts
 *     <|start|>assistant<|channel|>commentary to=functions.N json<|message|>{...}<|call|>  a call
 *     <|start|>assistant<|channel|>final<|message|>...<|return|>                 the answer
 *
 * The prompt ends with "<|start|>assistant", so an answer begins in a head. */
#ifndef HD_API_CHANNELS_H
#define HD_API_CHANNELS_H

#include "leader/api/calls.h"

struct hd_channels {
    bool on;
    enum { HD_CHANNEL_HEAD, HD_CHANNEL_THOUGHT, HD_CHANNEL_TEXT, HD_CHANNEL_CALL } at;
    struct hd_text mark; /* one that is not whole */
    struct hd_text head;
    struct hd_text body; /* of a call */
    char name[65];       /* its tool */
};
/* `text`: control tokens are in it as hd_call_mark has them. Text of the answer is added to `out`,
 * thoughts to `thought`, calls to `calls` with `found`; NULL: no tools were offered, they are text.
 * 0 or HD_E_NOMEM. */
struct hd_channel_sinks {
    struct hd_text *out, *thought;
    struct hd_calls *found;
    json_t *calls;
};
int hd_channels_push(struct hd_channels *c, const char *text, const struct hd_channel_sinks *to);
/* No more comes: what is held is a call, or text. */
int hd_channels_finish(struct hd_channels *c, const struct hd_channel_sinks *to);
void hd_channels_deinit(struct hd_channels *c);

#endif
