/* input_log.h - what a worker keeps so that a lost head can be computed anew: for each live
 * sequence, layer and position the attention input, in the very bytes that came over the wire.
 *
 * One file a sequence in the state folder, already unlinked (nothing is left when the worker dies),
 * grown and mapped chunk by chunk: [chunk of 64 positions][layer][64] rows of row_bytes. Only
 * chunks that hold a row are there. Under memory pressure the kernel writes it out by itself. Space
 * is claimed before it is mapped, so a full disk is an error here and never a SIGBUS later.
 *
 *     0          count            first        end
 *     |== prefix ==|    missing     |== tail ==|
 *
 * Rows of a layer are a prefix from position 0 and, after something was missed, a tail of rows that
 * came since: a row at `count` extends the prefix, one at `end` the tail, one beyond `count` begins
 * a tail when there is none. When the prefix reaches the tail they are one. Any other row, or one
 * for which there is no space, is left out (a gap); serving goes on. A row that is there already is
 * not written again.
 *
 * A log with a gap is good for nothing, and at the limit it would keep out what comes next. So when
 * there is no space for a row sequences with a tail, which are not whole yet, are given up, and if
 * that is not enough the row's own: their space is free again, and no row of theirs is taken until
 * hd_input_log_try_again.
 *
 * The log of a sequence that shares its first rows with another one begins behind them; those are
 * in the other's log.
 *
 * Each row has a digest from the moment it comes, in memory beside the file: 4 bytes a row. A row
 * that is no longer what it was is cut out: what lies before it stays the prefix, and what lies
 * behind it becomes the tail, unless there is a tail of live rows already: then that one stays. */
#ifndef HD_WORKER_INPUT_LOG_H
#define HD_WORKER_INPUT_LOG_H

#include "common/model/model.h" /* HD_LOG_CHUNK */

struct hd_input_log;

struct hd_input_log_options {
    const char *dir; /* state folder; copied; "": memory alone, which nothing relieves */
    uint32_t layers;
    size_t row_bytes;       /* the log knows no more of a row */
    uint32_t sequences;     /* sequence numbers are below this */
    uint32_t max_positions; /* of a sequence */
    uint64_t limit;         /* bytes of all files together */
};

struct hd_log_at {
    uint32_t sequence, layer, position;
};

/* Whether files can be made there: 0 or HD_E_IO. */
int hd_input_log_try_dir(const char *dir, struct hd_error *err);
/* 0, or HD_E_NOMEM. No file is made yet. */
int hd_input_log_new(struct hd_input_log **out, const struct hd_input_log_options *o);
void hd_input_log_free(struct hd_input_log *log);

enum { HD_LOG_KEPT = 0, HD_LOG_GAP = 1 };
/* Takes one row of row_bytes. HD_LOG_KEPT: it is in the log; HD_LOG_GAP: it is not (see above), and
 * if that is because the file could not grow, err says why the first time (else err->code is 0). */
int hd_input_log_append(struct hd_input_log *log, struct hd_log_at at, const void *row,
                        struct hd_error *err);
/* Its rows are dropped, and no more are taken. */
void hd_input_log_give_up(struct hd_input_log *log, uint32_t sequence);
/* They are taken again. */
void hd_input_log_try_again(struct hd_input_log *log, uint32_t sequence);
/* Its rows begin at this position, a chunk's first; there are none yet. Until it is dropped. */
void hd_input_log_start_at(struct hd_input_log *log, uint32_t sequence, uint32_t position);
uint32_t hd_input_log_start(const struct hd_input_log *log, uint32_t sequence);
/* Positions up to count-1 of this layer are in the log: its prefix. */
uint32_t hd_input_log_count(const struct hd_input_log *log, uint32_t sequence, uint32_t layer);
/* First position of the tail; 0: there is none. */
uint32_t hd_input_log_tail(const struct hd_input_log *log, uint32_t sequence, uint32_t layer);
/* The rows of the prefix from `at` to the end of its chunk, [n] of row_bytes each, without padding;
 * *n counts only rows that are in the prefix. NULL when the first is not. Valid until the sequence
 * is dropped. */
const void *hd_input_log_rows(const struct hd_input_log *log, struct hd_log_at at, size_t *n);

/* ---- Damage (scrub.h) ----*/

/* The first row of a layer in positions [at.position, end) that is there and not what was appended;
 * UINT32_MAX: there is none. Several threads may ask at once, while nobody changes the log. */
uint32_t hd_input_log_bad_row(const struct hd_input_log *log, struct hd_log_at at, uint32_t end);
/* Takes a row that is there out of the log. */
void hd_input_log_cut(struct hd_input_log *log, struct hd_log_at at);
/* Past the last row of a layer, prefix or tail. */
uint32_t hd_input_log_end(const struct hd_input_log *log, uint32_t sequence, uint32_t layer);
/* Are the rows of a layer in at.position's chunk in memory? Else they are on the disk, where no
 * memory can damage them, and looking at them would bring them back. */
bool hd_input_log_resident(const struct hd_input_log *log, struct hd_log_at at);

/* Rows from `position` on are no more, in all layers. */
void hd_input_log_truncate(struct hd_input_log *log, uint32_t sequence, uint32_t position);
void hd_input_log_drop(struct hd_input_log *log, uint32_t sequence);
void hd_input_log_clear(struct hd_input_log *log);

uint64_t hd_input_log_bytes(
    const struct hd_input_log *log); /* claimed by all files now, and their digests */
uint64_t hd_input_log_appended(const struct hd_input_log *log); /* rows written since the start */

#endif
