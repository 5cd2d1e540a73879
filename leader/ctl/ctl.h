/* ctl.h - the commands of `hydac`. Each returns the exit status: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef HD_CTL_CTL_H
#define HD_CTL_CTL_H

#include "leader/ctl/args.h"

#define HD_DEFAULT_LEADER "http://127.0.0.1:8080" /* $HYDAC_LEADER goes before it */
#define HD_DEFAULT_PORT   8080

/* What several commands have in common. */
#define HD_ARG_LEADER(to)                                                                          \
    {                                                                                              \
        "--leader", HD_ARG_STRING, to, "URL",                                                      \
            "default: $HYDAC_LEADER, else " HD_DEFAULT_LEADER                                      \
            ". https:// checks the certificate; $CURL_CA_BUNDLE names another list of authorities" \
    }
#define HD_ARG_LEADERS(to)                                                                         \
    {                                                                                              \
        "--leader", HD_ARG_STRING, to, "URL[,URL]",                                                \
            "default: $HYDAC_LEADER, else " HD_DEFAULT_LEADER                                      \
            ". If one fails, the next goes on with the answer, whatever its cluster, with the "    \
            "same "                                                                                \
            "tokens. https:// checks the certificate; $CURL_CA_BUNDLE names another list of "      \
            "authorities"                                                                          \
    }
#define HD_ARG_API_KEY(to)                                                                         \
    {                                                                                              \
        "--api-key-file", HD_ARG_STRING, to, "FILE",                                               \
            "the leader's API key; default: $HYDAC_API_KEY"                                        \
    }
#define HD_ARG_ADMIN_KEY(to)                                                                       \
    {                                                                                              \
        "--admin-key-file", HD_ARG_STRING, to, "FILE",                                             \
            "the leader's admin key; default: $HYDAC_ADMIN_KEY, else the API key"                  \
    }
#define HD_ARG_MODEL(to)                                                                           \
    {                                                                                              \
        "--model", HD_ARG_STRING, to, "PATH",                                                      \
            "a GGUF file or a Hugging Face folder; default: $HYDAC_MODEL, else "                   \
            "~/.cache/hydac/SmolLM2-135M-Instruct.Q4_1.gguf"                                       \
    }
#define HD_ARG_LEADER_ARG(to)                                                                      \
    {                                                                                              \
        "--leader-arg", HD_ARG_LIST, to, "X",                                                      \
            "passes X on to the leader; may be repeated (an option as --leader-arg=--name=value)"  \
    }
#define HD_ARG_WORKER_ARG(to)                                                                      \
    {                                                                                              \
        "--worker-arg", HD_ARG_LIST, to, "X", "passes X on to each worker; may be repeated"        \
    }

int hd_cmd_up(int argc, char **argv);
int hd_cmd_run(int argc, char **argv);
int hd_cmd_status(int argc, char **argv);
int hd_cmd_drain(int argc, char **argv);
int hd_cmd_rebalance(int argc, char **argv);
int hd_cmd_bench(int argc, char **argv);
int hd_cmd_inspect(int argc, char **argv);
int hd_cmd_synth(int argc, char **argv);
int hd_cmd_keygen(int argc, char **argv);
int hd_cmd_chat(int argc, char **argv);
int hd_cmd_top(int argc, char **argv);
int hd_cmd_completion(int argc, char **argv);

/* Parses; what is left over is an error unless `rest` is given. 0 to go on, else HD_ARGS_HELP
 * (about, how it is called and what it does, was printed with the options) or negative (the error
 * was). */
int hd_cmd_args(int argc, char **argv, const struct hd_arg *args, struct hd_arg_list *rest,
                const char *about);
/* Calls take with each command; they may be run for their --help and HD_LIST_OPTIONS. */
#define HD_LIST_OPTIONS "--list-options" /* prints what completion needs, and nothing else */
void hd_each_command(void (*take)(const char *name, int (*run)(int argc, char **argv)));
/* The exit status for hd_cmd_args' result. */
int hd_cmd_args_status(int rc);

/* "hydac: message" on stderr; returns 1. */
int hd_complain(const struct hd_error *err);
/* $HYDAC_LEADER or the default. */
const char *hd_default_leader(void);

#endif
