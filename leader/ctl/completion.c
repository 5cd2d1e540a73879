/* completion.c - hydac completion: a bash script made of the tables of options. */
#include "leader/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const char about[] = "hydac completion bash\n"
                            "\n"
                            "Prints what completes hydac's commands and options in bash: put it "
                            "where bash looks for it, or\n"
                            "say eval \"$(hydac completion bash)\".\n";

/* Values that are files or folders by their names are completed as such, lists of words as these.
 */
static const char script[] =
    "_hydac() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options\n"
    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
    "        COMPREPLY=($(compgen -W \"${!_hydac_options[*]} --help --version\" -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    options=${_hydac_options[${COMP_WORDS[1]}]}\n"
    "    local value=${options#*\" $prev \"}\n"
    "    value=${value%% *}\n"
    "    case \"$options\" in\n"
    "    *\" $prev \"*) ;;\n"
    "    *) value=- ;;\n"
    "    esac\n"
    "    case \"$value\" in\n"
    "    -)\n"
    "        local words=$(printf '%s\\n' $options | grep '^--')\n"
    "        COMPREPLY=($(compgen -W \"$words --help\" -- \"$cur\"))\n"
    "        [ \"${COMP_WORDS[1]}\" = bench ] && [ \"$COMP_CWORD\" -eq 2 ] &&\n"
    "            COMPREPLY+=($(compgen -W 'failover decode prefill net' -- \"$cur\"))\n"
    "        case \"$cur\" in\n"
    "        -*) ;;\n"
    "        *) COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
    "        esac\n"
    "        ;;\n"
    "    PATH | FILE | F | DIR) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
    "    *\\|*) COMPREPLY=($(compgen -W \"${value//|/ }\" -- \"$cur\")) ;;\n"
    "    *) COMPREPLY=() ;;\n"
    "    esac\n"
    "}\n"
    "complete -o filenames -F _hydac hydac\n";

/* [command]=" --option VALUE --flag - " */
static void print_command(const char *name, int (*run)(int argc, char **argv))
{
    char *argv[] = {(char *)name, (char *)HD_LIST_OPTIONS, NULL};
    printf("_hydac_options[%s]=\"", name);
    run(2, argv);
    puts(" \"");
}

int hd_cmd_completion(int argc, char **argv)
{
    static const struct hd_arg args[] = {{NULL}};
    struct hd_arg_list rest = {.n = 0};
    int rc = hd_cmd_args(argc, argv, args, &rest, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (rest.n != 1 || strcmp(rest.items[0], "bash") != 0) {
        fputs("hydac: completion is for bash; see hydac completion --help\n", stderr);
        return 2;
    }
    puts("# bash completion of hydac: made by hydac completion bash");
    puts("declare -gA _hydac_options=()");
    hd_each_command(print_command);
    fputs(script, stdout);
    return 0;
}
