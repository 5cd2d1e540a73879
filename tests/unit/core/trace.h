/* trace.h - drive the core with words and read what it does as words.
 *
 * A scenario is a table of { event, actions expected }. Events:
 *   hello NAME [other|nolog|log=BYTES|speed=N|kept=EPOCH] | closed NAME | broke NAME
 *   ack NAME [ROUND TRIP IN US]
 *   tick MS [late MS]                          time moves on by MS first
 *   kv NAME EPOCH [heads=0,1] [ready=1] [gaps=2] [rows=N] [kept=N] [round=N]
 *      [rows:SEQ:HEAD=DIGEST]...
 *   open SEQ | fork SEQ PARENT SHARED | keep SEQ | take SEQ | close SEQ | half STEP A|F|L LAYER
 * SEQ:ROWS ... | done | abandoned result NAME EPOCH STEP A|F|L LAYER [DIGEST]  Aa, Ab, Fa, Fb: of
 * one of two groups log NAME SEQ complete|gap | fetch NAME ID SEQ LAYER POSITION COUNT rows NAME ID
 * COUNT for NAME | drain NAME on|off|leaving | rebalance | weights NAME | known tested NAME DIGEST
 * | kept NAME [hLIST] [fLIST] [vLIST] [covers=HEX MASK] | adopt SEQ BASE
 * | audit NAME NUMBER DIGEST|cannot | damage NAME memory|SEQ Actions are joined by "; "; those for
 * the second group end with "b". A replay is answered on the spot, as the daemon does. */
#ifndef HD_TESTS_TRACE_H
#define HD_TESTS_TRACE_H

#include "leader/core/core.h"

struct trace {
    struct hd_core *core;
    struct hd_actions actions;
    uint64_t now_us, next_conn;
    uint64_t digest, audit;      /* of the result in hand; the round that it was audited in */
    char text[8192];             /* of the event in hand */
    struct hd_failover failover; /* the latest report */
};

struct trace_line {
    const char *event, *actions;
};

struct hd_core_options
trace_options(void); /* 4 heads, 4 FFN and 2 vocab blocks, 2 layers, 2 workers */
void trace_init(struct trace *t, const struct hd_core_options *o);
void trace_deinit(struct trace *t);
/* trace_init (NULL: trace_options) and w1 .. wN joined, confirmed, READY. N is 0, 2 or 3. */
void trace_start(struct trace *t, unsigned workers, const struct hd_core_options *o);
/* Returns what the core did. Invariants are asserted. */
const char *trace_event(struct trace *t, const char *event);
/* Plays the table (ends with a NULL event) and asserts every line. */
void trace_play(struct trace *t, const struct trace_line *lines);

#endif
