/* main.c - hydac: the command line. */
#include "leader/ctl/ctl.h"

#include "common/util/process.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char about[] =
    "hydac: one language model on several machines; it goes on when machines "
    "die\n\n";

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
} commands[] = {
    {"up", hd_cmd_up, "start a leader and workers on this machine"},
    {"chat", hd_cmd_chat, "talk with the model"},
    {"top", hd_cmd_top, "watch the cluster while it works"},
    {"run", hd_cmd_run, "send a prompt and print the answer as it comes"},
    {"status", hd_cmd_status, "show the cluster"},
    {"drain", hd_cmd_drain, "empty a worker without a pause, before it is taken away"},
    {"rebalance", hd_cmd_rebalance, "level the load again"},
    {"bench", hd_cmd_bench, "measure what a lost worker costs, and how fast clusters are"},
    {"inspect", hd_cmd_inspect, "say what a model file is, and whom it fits"},
    {"synth", hd_cmd_synth, "write a model of random weights"},
    {"keygen", hd_cmd_keygen, "make a key for leader and workers"},
    {"completion", hd_cmd_completion, "print what completes these words in a shell"},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_usage(FILE *f)
{
    fputs(about, f);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(f, "  hydac %-11s %s\n", commands[i].name, commands[i].does);
    fputs("\nhydac COMMAND --help tells more.\n", f);
}

void hd_each_command(void (*take)(const char *name, int (*run)(int argc, char **argv)))
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        take(commands[i].name, commands[i].run);
}

int hd_complain(const struct hd_error *err)
{
    fprintf(stderr, "hydac: %s\n", err->text);
    return 1;
}

const char *hd_default_leader(void)
{
    const char *url = getenv("HYDAC_LEADER");
    return url && *url ? url : HD_DEFAULT_LEADER;
}

int hd_cmd_args(int argc, char **argv, const struct hd_arg *args, struct hd_arg_list *rest,
                const char *text)
{
    struct hd_arg_list none = {.n = 0};
    struct hd_error err = {0};
    if (argc == 2 && strcmp(argv[1], HD_LIST_OPTIONS) == 0) {
        hd_args_list(stdout, args);
        return HD_ARGS_HELP;
    }
    int rc = hd_args_parse(argc, argv, args, rest ? rest : &none, &err);
    if (rc == HD_ARGS_HELP) {
        printf("%s\n", text);
        hd_args_print(stdout, args);
    }
    if (rc == 0 && none.n > 0)
        rc = hd_fail(&err, HD_E_CONFIG, "unexpected argument '%s'; see --help", none.items[0]);
    if (rc < 0)
        hd_complain(&err);
    return rc;
}

int hd_cmd_args_status(int rc)
{
    return rc < 0 ? 2 : 0;
}

int main(int argc, char **argv)
{
    hd_open_stdio();
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        puts("hydac " HYDAC_VERSION);
        return 0;
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) {
            curl_global_init(CURL_GLOBAL_DEFAULT);
            int status = commands[i].run(argc - 1, argv + 1);
            curl_global_cleanup();
            return status;
        }
    if (*name)
        fprintf(stderr, "hydac: unknown command '%s'\n", name);
    print_usage(stderr);
    return 2;
}
