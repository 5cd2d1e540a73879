/* main.c - hydac: the command line. */
#include "leader/ctl/ctl.h"

#include "common/util/process.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "hydac: one language model on several machines; it goes on when machines die\n"
    "\n"
    "  hydac up      start a leader and workers on this machine\n"
    "  hydac run     send a prompt and print the answer as it comes\n"
    "  hydac status  show the cluster\n"
    "  hydac drain   empty a worker without a pause, before it is taken away\n"
    "  hydac rebalance\n"
    "                level the load again\n"
    "  hydac bench   measure what a lost worker costs, and how fast clusters are\n"
    "  hydac synth   write a model of random weights\n"
    "  hydac keygen  make a key for leader and workers\n"
    "\n"
    "hydac COMMAND --help tells more.\n";

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"up", hd_cmd_up},
    {"run", hd_cmd_run},
    {"status", hd_cmd_status},
    {"drain", hd_cmd_drain},
    {"rebalance", hd_cmd_rebalance},
    {"bench", hd_cmd_bench},
    {"synth", hd_cmd_synth},
    {"keygen", hd_cmd_keygen},
};

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
    int rc = hd_args_parse(argc, argv, args, rest ? rest : &none, &err);
    if (rc == HD_ARGS_HELP)
        fputs(text, stdout);
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
        fputs(usage, stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        puts("hydac " HYDAC_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0) {
            curl_global_init(CURL_GLOBAL_DEFAULT);
            int status = commands[i].run(argc - 1, argv + 1);
            curl_global_cleanup();
            return status;
        }
    if (*name)
        fprintf(stderr, "hydac: unknown command '%s'\n", name);
    fputs(usage, stderr);
    return 2;
}
