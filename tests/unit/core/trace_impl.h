/* trace_impl.h - shared by trace.c (what the core does, as words) and trace_words.c (events). */
#ifndef HD_TESTS_TRACE_IMPL_H
#define HD_TESTS_TRACE_IMPL_H

#include "tests/unit/core/trace.h"

#define TRACE_DIGEST 77 /* of the leader's model */

/* What an event borrows. */
struct trace_lists {
    uint32_t heads[16], gaps[16], ready[16], kept[HD_UNIT_KINDS][16], held[HD_UNIT_KINDS][16],
        bare[16];
    struct hd_kv_digest digests[16];
    struct hd_seq_rows rows[16];
};
/* Adds to the words of the event in hand. */
void trace_say(struct trace *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *trace_name_of(const struct trace *t, unsigned slot);
/* `text`, which is cut into words, as an event. */
void trace_parse(struct trace *t, struct hd_event *ev, struct trace_lists *l, char *text);

#endif
