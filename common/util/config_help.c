/* config_help.c - --help, from the same table as everything else. hydac.yaml(5) is made from it
 * (deploy/man/settings.py), so the form of an entry is a contract: see put_entry. */
#include "common/util/config_impl.h"

#include <string.h>

#define WIDTH      98   /* columns */
#define INDENT     8    /* of what stands below a name */
#define ENTRY_SIZE 2048 /* bytes of one entry's text */

/* Words of `text`, `INDENT` columns from the left. */
static void put_wrapped(FILE *to, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column + 1 + n > WIDTH || column == 0) {
            fprintf(to, "%s%*s", column ? "\n" : "", INDENT - 1, "");
            column = INDENT - 1;
        }
        fprintf(to, " %.*s", (int)n, text);
        column += 1 + n;
        text += n + strspn(text + n, " ");
    }
    fputc('\n', to);
}

static void put_words(FILE *to, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        fprintf(to, "%s%s", i ? "|" : "", words[i]);
}

/* What stands for the value. */
static void put_value(FILE *to, const struct hd_config_key *k)
{
    static const char *const values[] = {
        [HD_CONFIG_STRING] = "TEXT", [HD_CONFIG_UINT] = "N",
        [HD_CONFIG_REAL] = "X",      [HD_CONFIG_BOOL] = "true|false",
        [HD_CONFIG_SIZE] = "BYTES",  [HD_CONFIG_WORDS] = "WORD,WORD",
        [HD_CONFIG_TABLE] = "{...}",
    };
    if (k->type == HD_CONFIG_ENUM)
        put_words(to, k->words);
    else
        fputs(k->arg ? k->arg : values[k->type], to);
}

/* "  section.key VALUE (--flag)", and below it "what it is; 1 to 64; default 8". */
static void put_entry(FILE *to, const struct hd_config_key *k)
{
    char range[80], text[ENTRY_SIZE];
    fprintf(to, "  %s.%s ", k->section, k->key);
    put_value(to, k);
    if (k->flag)
        fprintf(to, " (%s)", k->flag);
    hd_config_range(k, range, sizeof range);
    const char *preset = k->unset ? k->unset : k->preset && k->preset[0] ? k->preset : "none";
    bool value = !k->unset && k->preset && k->preset[0];
    snprintf(text, sizeof text, "%s%s%s; default%s %s", k->help, range[0] ? "; " : "", range,
             value ? "" : ":", preset);
    fputc('\n', to);
    put_wrapped(to, text);
}

static void put_flag(FILE *to, const char *flag, const char *arg, const char *help)
{
    fprintf(to, "  %s%s%s\n", flag, arg ? " " : "", arg ? arg : "");
    put_wrapped(to, help);
}

void hd_config_print_help(FILE *to, const struct hd_config_line *line)
{
    fputs(line->about, to);
    fputs("\nFlags:\n\n", to);
    put_flag(to, "--config", "FILE", "settings in YAML; flags go over them, wherever they stand");
    for (const struct hd_config_flag *f = line->flags; f->flag; f++)
        put_flag(to, f->flag, f->arg, f->help);
    put_flag(to, "--help", NULL, "print this and exit");
    put_flag(to, "--version", NULL, "print the version and exit");
    fputs("\nSettings, each a line of the file (section: {key: VALUE}) and a flag,\n"
          "--section.key VALUE; some have a short flag besides:\n\n",
          to);
    for (const struct hd_config_key *k = line->keys; k->section; k++)
        put_entry(to, k);
}
