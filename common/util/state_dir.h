/* state_dir.h - where a daemon keeps its files when nobody says. */
#ifndef HD_UTIL_STATE_DIR_H
#define HD_UTIL_STATE_DIR_H

#include "common/util/error.h"

#include <stddef.h>

/* $STATE_DIRECTORY (systemd; the first of several), else $XDG_STATE_HOME/hydac, else
 * $HOME/.local/state/hydac, else /var/lib/hydac. Only absolute paths count, and only those that
 * fit `size` bytes. Makes nothing. */
void hd_state_dir_default(char *path, size_t size);

/* The folder and what is missing of the folders above it, for this user alone. HD_E_IO when it
 * cannot be made, or not be read and written. */
int hd_state_dir_make(const char *path, struct hd_error *err);

#endif
