/* files.h - the files that a model's tensors lie in, while they are open. */
#ifndef HD_MODEL_FILES_H
#define HD_MODEL_FILES_H

#include "common/util/error.h"

#include <stddef.h>
#include <stdint.h>

struct hd_model;

/* Which file it is, and which state of it: what rsync and make go by. */
struct hd_file_id {
    uint64_t device, inode, size;
    int64_t mtime_ns;
};

/* XXH3 of what the files were when they were opened; never 0. 0: the model has no files. */
uint64_t hd_model_stamp(const struct hd_model *m);
/* HD_FILES_SAME: each file is still what it was when it was opened (or noted), and all that was
 * read of it could be read. HD_FILES_TOUCHED, with a sentence: nothing is worse than that one has
 * been written to, or only touched; its bytes may be the same. HD_E_IO, with a sentence: another
 * length, or it cannot be read. Costs a system call a file. */
enum { HD_FILES_SAME = 0, HD_FILES_TOUCHED = 1 };
int hd_model_check_files(const struct hd_model *m, struct hd_error *err);
/* What the files are now is what they are held to from now on, by the stamp too: for who then looks
 * whether their bytes are the same. */
void hd_model_note_files(struct hd_model *m);
/* Everything is packed: pages that were read on the way count as this process's no longer. What is
 * read again is still in the system's cache. Safe beside readers. */
void hd_model_let_go(const struct hd_model *m);
/* Where a byte of a tensor's data lies: the file's path (the model's) and the offset in it; NULL
 * when it lies in none. */
const char *hd_model_where(const struct hd_model *m, const uint8_t *byte, uint64_t *offset);

#endif
