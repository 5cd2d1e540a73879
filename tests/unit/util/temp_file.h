/* temp_file.h - a file of a test, in a folder of its own. */
#ifndef TEST_TEMP_FILE_H
#define TEST_TEMP_FILE_H

#include <stddef.h>

struct temp_file {
    char dir[64];
    char path[96];
};

void temp_file_init(struct temp_file *f, const void *bytes, size_t len);
void temp_file_deinit(struct temp_file *f); /* removes file and folder */

#endif
