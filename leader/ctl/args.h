/* args.h - command-line options from a table, which also makes --help, and through it the manual
 * page and the shell's completion. */
#ifndef HD_CTL_ARGS_H
#define HD_CTL_ARGS_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HD_MAX_ARG_ITEMS 64 /* of a repeated option, or of arguments that are no options */

enum hd_arg_type {
    HD_ARG_FLAG,   /* bool */
    HD_ARG_STRING, /* const char * */
    HD_ARG_UINT,   /* uint64_t; min..max */
    HD_ARG_REAL,   /* double; min..max */
    HD_ARG_LIST,   /* struct hd_arg_list; the option may be repeated */
};

struct hd_arg_list {
    const char *items[HD_MAX_ARG_ITEMS];
    size_t n;
};

struct hd_arg {
    const char *name; /* with its dashes; NULL ends the table */
    enum hd_arg_type type;
    void *to; /* keeps its value when the option is not given */
    const char
        *value; /* what its value is called: PATH, N, or the words there are: a|b; NULL: none */
    const char *help; /* a sentence or two, without a final dot */
    double min, max;
};

#define HD_ARGS_HELP 1

/* The options, as the daemons' --help shows theirs. */
void hd_args_print(FILE *f, const struct hd_arg *args);
/* For completion: " NAME VALUE" of each, "-" where there is no value. */
void hd_args_list(FILE *f, const struct hd_arg *args);

/* "--name value" or "--name=value"; what is no option (also "-") goes to `rest`. 0, HD_ARGS_HELP
 * for --help or -h, or HD_E_CONFIG with one sentence. Strings are borrowed from argv. */
int hd_args_parse(int argc, char **argv, const struct hd_arg *args, struct hd_arg_list *rest,
                  struct hd_error *err);

#endif
