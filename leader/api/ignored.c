/* ignored.c - programs send members of other servers' to everybody, and schemas that no grammar can
 * hold to: they are left out, with one line in the log for each name. */
#include "leader/api/ignored.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_told(const struct hd_ignored *i, const char *name)
{
    for (size_t k = 0; k < i->n; k++)
        if (strcmp(i->told[k], name) == 0)
            return true;
    return false;
}

void hd_unknown_add(struct hd_unknown *u, const char *name)
{
    if (u->n < HD_MAX_UNKNOWN)
        snprintf(u->names[u->n++], HD_IGNORED_NAME, "%s", name);
}

/* The name is a client's: nothing in it may look like another line of the log. */
static void make_printable(char *name)
{
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("_-.", *name))
            *name = '?';
}

static void tell(struct hd_ignored *told, const struct hd_log *log, const struct hd_unknown *u,
                 const char *event, const char *text)
{
    for (size_t i = 0; i < u->n && told->n < HD_MAX_TOLD; i++) {
        char *name = told->told[told->n];
        memcpy(name, u->names[i], HD_IGNORED_NAME);
        make_printable(name);
        if (is_told(told, name))
            continue;
        told->n++;
        hd_warn(log, event, "name=%s text=\"%s\"", name, text);
    }
}

void hd_ignored_tell(struct hd_ignored *told, const struct hd_log *log, const struct hd_unknown *u)
{
    tell(told, log, u, "http_field_ignored",
         "requests have a field that is not known here; it is left out");
}

void hd_ignored_tell_tools(struct hd_ignored *told, const struct hd_log *log,
                           const struct hd_unknown *u)
{
    tell(told, log, u, "http_tool_not_strict",
         "the tool's parameters are no schema that answers can be held to; its arguments are any "
         "object, other tools' are held to theirs");
}
