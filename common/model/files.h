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
/* 0 when each file is still what it was when it was opened, and all that was read of it could be
 * read. HD_E_IO with a sentence otherwise. Costs a system call a file. */
int hd_model_check_files(const struct hd_model *m, struct hd_error *err);
/* Where a byte of a tensor's data lies: the file's path (the model's) and the offset in it; NULL
 * when it lies in none. */
const char *hd_model_where(const struct hd_model *m, const uint8_t *byte, uint64_t *offset);

#endif
