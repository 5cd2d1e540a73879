/* files.h - folders and small files of `hydac up`. */
#ifndef HD_CTL_FILES_H
#define HD_CTL_FILES_H

#include "common/util/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The path of a program of ours: $HYDAC_BINDIR, the folder of this executable, `neighbour`
 * relative to it (the build tree), then $PATH. HD_E_NOTFOUND. */
int hd_find_program(const char *name, const char *neighbour, char *path, size_t size,
                    struct hd_error *err);
bool hd_find_in_path(const char *name, char *path, size_t size);
/* Like mkdir -p. */
int hd_make_folders(const char *path, struct hd_error *err);
/* A new one in $TMPDIR or /tmp. */
int hd_make_temporary_folder(char *path, size_t size, struct hd_error *err);
/* Like rm -rf; never follows links. */
void hd_remove_tree(const char *path);
/* What print writes. HD_E_IO. */
int hd_write_text(const char *path, void (*print)(FILE *f, const void *what), const void *what,
                  struct hd_error *err);
/* Whole or not at all (through a temporary name). */
int hd_write_json(const char *path, const json_t *v, struct hd_error *err);

#endif
