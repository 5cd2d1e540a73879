/* journal.h - records in a file, so that a leader that was started again goes on with them.
 *
 * The file is frames of the type Records, each with its checksum, as they would go to a standby;
 * what stands behind the last whole one is cut off. What is written is with the system at once: it
 * outlives the process. Once a second it is synchronized, so a machine that loses power loses a
 * second at most of what was told, and no answer is wrong for it: its client asks again. The file
 * is written anew, with what lives, at each start and when it has grown to several times that. */
#ifndef HD_DAEMON_JOURNAL_H
#define HD_DAEMON_JOURNAL_H

#include "common/util/log.h"
#include "leader/records/messages.h"

#include <uv.h>

#define HD_JOURNAL_BYTES ((uint64_t)64 << 20) /* from so many on it is written anew */

struct hd_journal {
    const struct hd_log *log;
    char path[4200]; /* "" = there is none */
    int fd;
    uint64_t bytes; /* in the file */
    uint64_t limit; /* ... at which it is written anew */
    bool dirty;     /* not synchronized */
    bool syncing;   /* a thread is at it */
    uint64_t synced_us;
    uv_fs_t sync;
};

/* Reads what is there into the book; then the file has that and nothing else. HD_E_IO, HD_E_NOMEM.
 */
int hd_journal_open(struct hd_journal *j, const char *folder, struct hd_book *book,
                    const struct hd_log *log, struct hd_error *err);
void hd_journal_add(struct hd_journal *j, const Hydac__V1__Records *m);
/* Looks whether it is to be synchronized, or written anew. */
void hd_journal_tick(struct hd_journal *j, uv_loop_t *loop, const struct hd_book *book,
                     uint64_t now_us);
/* With what the book has: nothing else is known any more. */
void hd_journal_rewrite(struct hd_journal *j, const struct hd_book *book);
bool hd_journal_busy(const struct hd_journal *j);
void hd_journal_close(struct hd_journal *j);

#endif
