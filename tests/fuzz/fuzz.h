/* fuzz.h - what the fuzz targets share.
 *
 * A target is one function that libFuzzer calls with bytes; replay.c calls it with the files of its
 * corpus, so that every build runs what was ever found. Whatever the bytes are it must return. */
#ifndef HD_TESTS_FUZZ_H
#define HD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold; a broken one ends the process, in every build. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A file of these bytes in a temporary folder, which goes with the process; returns its path, valid
 * until the next call. For readers that map files. */
const char *fuzz_file(const char *name, const void *data, size_t size);
/* The folder. */
const char *fuzz_folder(void);

#endif
