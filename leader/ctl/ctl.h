/* ctl.h - the commands of `hydac`. Each returns the exit status: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef HD_CTL_CTL_H
#define HD_CTL_CTL_H

#include "leader/ctl/args.h"

#define HD_DEFAULT_LEADER "http://127.0.0.1:8080" /* $HYDAC_LEADER goes before it */
#define HD_DEFAULT_PORT   8080

int hd_cmd_up(int argc, char **argv);
int hd_cmd_run(int argc, char **argv);
int hd_cmd_status(int argc, char **argv);
int hd_cmd_drain(int argc, char **argv);
int hd_cmd_rebalance(int argc, char **argv);
int hd_cmd_bench(int argc, char **argv);
int hd_cmd_synth(int argc, char **argv);
int hd_cmd_keygen(int argc, char **argv);

/* Parses; what is left over is an error unless `rest` is given. 0 to go on, else HD_ARGS_HELP (the
 * usage was printed) or negative (the error was). */
int hd_cmd_args(int argc, char **argv, const struct hd_arg *args, struct hd_arg_list *rest,
                const char *usage);
/* The exit status for hd_cmd_args' result. */
int hd_cmd_args_status(int rc);

/* "hydac: message" on stderr; returns 1. */
int hd_complain(const struct hd_error *err);
/* $HYDAC_LEADER or the default. */
const char *hd_default_leader(void);

#endif
