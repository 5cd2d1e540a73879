/* args.c - an option is a row: its name, its type, where its value goes. */
#include "leader/ctl/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add(struct hd_arg_list *list, const char *item, struct hd_error *err)
{
    if (list->n == HD_MAX_ARG_ITEMS)
        return hd_fail(err, HD_E_CONFIG, "'%s': more than %d of them", item, HD_MAX_ARG_ITEMS);
    list->items[list->n++] = item;
    return 0;
}

static int take_uint(const struct hd_arg *a, const char *value, struct hd_error *err)
{
    char *end;
    errno = 0;
    uint64_t v = strtoull(value, &end, 10);
    if (errno || *end || *value < '0' || *value > '9' || (double)v < a->min || (double)v > a->max)
        return hd_fail(err, HD_E_CONFIG, "%s takes an integer from %.0f to %.0f, not '%s'", a->name,
                       a->min, a->max, value);
    *(uint64_t *)a->to = v;
    return 0;
}

static int take_real(const struct hd_arg *a, const char *value, struct hd_error *err)
{
    char *end;
    double v = strtod(value, &end);
    if (end == value || *end || !(v >= a->min && v <= a->max))
        return hd_fail(err, HD_E_CONFIG, "%s takes a number from %g to %g, not '%s'", a->name,
                       a->min, a->max, value);
    *(double *)a->to = v;
    return 0;
}

static int take(const struct hd_arg *a, const char *value, struct hd_error *err)
{
    switch (a->type) {
    case HD_ARG_STRING:
        *(const char **)a->to = value;
        return 0;
    case HD_ARG_UINT:
        return take_uint(a, value, err);
    case HD_ARG_REAL:
        return take_real(a, value, err);
    case HD_ARG_LIST:
        return add(a->to, value, err);
    case HD_ARG_FLAG:
        break;
    }
    return hd_fail(err, HD_E_CONFIG, "%s takes no value", a->name);
}

/* The option's entry, NULL when unknown; *value is what follows '='. */
static const struct hd_arg *find(const struct hd_arg *args, const char *word, const char **value)
{
    size_t n = strcspn(word, "=");
    *value = word[n] ? word + n + 1 : NULL;
    for (; args->name; args++)
        if (strlen(args->name) == n && memcmp(args->name, word, n) == 0)
            return args;
    return NULL;
}

#define COLUMNS 92

/* Words up to the end of a line, then the next line, all of them indented. */
static void print_folded(FILE *f, const char *text)
{
    while (*text) {
        size_t n = strlen(text), cut = n;
        if (n > COLUMNS - 8)
            for (cut = COLUMNS - 8; cut > 1 && text[cut] != ' '; cut--)
                ;
        fprintf(f, "        %.*s\n", (int)cut, text);
        text += cut;
        text += strspn(text, " ");
    }
}

void hd_args_print(FILE *f, const struct hd_arg *args)
{
    for (; args->name; args++) {
        fprintf(f, "  %s%s%s\n", args->name, args->value ? " " : "",
                args->value ? args->value : "");
        print_folded(f, args->help);
    }
}

void hd_args_list(FILE *f, const struct hd_arg *args)
{
    for (; args->name; args++)
        fprintf(f, " %s %s", args->name, args->value ? args->value : "-");
}

int hd_args_parse(int argc, char **argv, const struct hd_arg *args, struct hd_arg_list *rest,
                  struct hd_error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        int rc;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return HD_ARGS_HELP;
        if (argv[i][0] != '-' || !argv[i][1]) {
            if ((rc = add(rest, argv[i], err)) < 0)
                return rc;
            continue;
        }
        const struct hd_arg *a = find(args, argv[i], &value);
        if (!a)
            return hd_fail(err, HD_E_CONFIG, "unknown option '%s'; see --help", argv[i]);
        if (a->type == HD_ARG_FLAG && !value) {
            *(bool *)a->to = true;
            continue;
        }
        if (!value && a->type != HD_ARG_FLAG && !(value = argv[++i]))
            return hd_fail(err, HD_E_CONFIG, "%s needs a value", a->name);
        if ((rc = take(a, value, err)) < 0)
            return rc;
    }
    return 0;
}
