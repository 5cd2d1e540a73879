/* chat_line.c - lines from the terminal, put together to what was said. */
#include "leader/ctl/chat_line.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HD_HAVE_EDIT
#include <editline/readline.h>
#endif

#define QUOTES   "\"\"\""
#define MAX_SAID (4u << 20) /* bytes, the leader's own limit */

static volatile sig_atomic_t dropped;

static void on_interrupt(int number)
{
    dropped = 1;
}

void hd_chat_line_begin(void)
{
    struct sigaction a = {.sa_handler = on_interrupt}; /* no SA_RESTART: a read ends */
    sigaction(SIGINT, &a, NULL);
}

static bool is_terminal(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static char *plain_line(const char *prompt)
{
    char *line = NULL;
    size_t size = 0;
    if (is_terminal()) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    ssize_t n = getline(&line, &size, stdin);
    if (n < 0) {
        clearerr(stdin);
        free(line);
        return NULL;
    }
    if (n > 0 && line[n - 1] == '\n')
        line[n - 1] = '\0';
    return line;
}

static char *one_line(const char *prompt)
{
#ifdef HD_HAVE_EDIT
    if (is_terminal())
        return readline(prompt);
#endif
    return plain_line(prompt);
}

void hd_chat_remember(const char *text)
{
#ifdef HD_HAVE_EDIT
    if (is_terminal() && !strchr(text, '\n'))
        add_history(text);
#endif
}

/* Behind what is there, and a newline between. 0, or -1: too much. */
static int append(char **text, const char *line, size_t len)
{
    size_t n = *text ? strlen(*text) : 0;
    char *more = n + len < MAX_SAID ? realloc(*text, n + len + 2) : NULL;
    if (!more)
        return -1;
    if (*text)
        more[n++] = '\n';
    memcpy(more + n, line, len);
    more[n + len] = '\0';
    *text = more;
    return 0;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* One more line. 1: more are to come, 0: that was all, -1: no more can be taken. */
static int take(char **text, const char *line, bool *block)
{
    size_t n = strlen(line);
    if (!*text && !*block && strncmp(line, QUOTES, 3) == 0) {
        *block = true;
        line += 3;
        n -= 3;
        if (n == 0)
            return 1;
    }
    bool closed = *block && ends_with(line, QUOTES);
    bool more = *block ? !closed : n > 0 && line[n - 1] == '\\';
    n -= closed ? 3 : !*block && more ? 1 : 0;
    if (closed && n == 0 && *text)
        return 0;
    return append(text, line, n) < 0 ? -1 : more;
}

char *hd_chat_read(const char *prompt, bool *interrupted)
{
    char *text = NULL;
    bool block = false;
    int more = 1;
    dropped = 0;
    while (more > 0) {
        char *line = one_line(text || block ? "... " : prompt);
        if (!line || dropped) {
            free(line);
            free(text);
            *interrupted = dropped;
            return NULL;
        }
        more = take(&text, line, &block);
        free(line);
    }
    *interrupted = false;
    return text ? text : strdup("");
}
