/* state_dir.h - where a daemon keeps its files when nobody says. */
#ifndef HD_UTIL_STATE_DIR_H
#define HD_UTIL_STATE_DIR_H

#include <stddef.h>

/* $STATE_DIRECTORY (systemd; the first of several), else $XDG_STATE_HOME/hydac, else
 * $HOME/.local/state/hydac, else /var/lib/hydac. Only absolute paths count, and only those that
 * fit `size` bytes. Makes nothing. */
void hd_state_dir_default(char *path, size_t size);

#endif
