/* shared_settings.h - settings that both daemons have: rows of their tables, so that each has its
 * sentence and its default once. `at` is the field's offset, `n` the size of its array. */
#ifndef HD_UTIL_SHARED_SETTINGS_H
#define HD_UTIL_SHARED_SETTINGS_H

#include "common/util/config.h"

/* The default is hd_state_dir_default's. */
#define HD_SETTING_STATE_DIR(at, n)                                                                \
    {                                                                                              \
        "state", "dir", HD_CONFIG_STRING, (at), (n),                                               \
            .flag = "--state", .arg = "DIR",                                                       \
            .unset = "$STATE_DIRECTORY, else $XDG_STATE_HOME/hydac, else "                         \
                     "$HOME/.local/state/hydac, else /var/lib/hydac",                              \
            .help = "where files are kept"                                                         \
    }
/* The words are those of enum hd_log_level. */
#define HD_SETTING_LOG_LEVEL(at, names)                                                            \
    {                                                                                              \
        "log", "level", HD_CONFIG_ENUM, (at), .words = (names), .flag = "--log-level",             \
                                              .preset = "info",                                    \
                                              .help = "from which level on events are logged"      \
    }
#define HD_SETTING_CLUSTER_KEY(at, n)                                                              \
    {                                                                                              \
        "cluster", "key", HD_CONFIG_STRING, (at), (n),                                             \
            .flag = "--key", .arg = "FILE", .preset = "", .unset = "none, this machine only",      \
            .help = "the file with the cluster's key, from hydac keygen, which neither group nor " \
                    "others may read"                                                              \
    }
/* The words are hd_tls_modes (common/net/tls.h). */
#define HD_SETTING_CLUSTER_TLS(at, names)                                                          \
    {                                                                                              \
        "cluster", "tls", HD_CONFIG_ENUM, (at),                                                    \
            .words = (names), .preset = "auto",                                                    \
            .help =                                                                                \
                "auto: with a key TLS, without one plaintext on this machine only; on: refuse "    \
                "to start without a key; off: plaintext everywhere, for a network that is "        \
                "yours alone"                                                                      \
    }

#endif
