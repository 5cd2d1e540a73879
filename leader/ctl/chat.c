/* chat.c - hydac chat: a conversation; what was lost meanwhile is one dim line.
 *
 * Happy path: a line -> it joins the conversation -> the answer as it comes -> it joins as well.
 * Ctrl-C ends an answer, which stays as far as it came, or drops the line that is being written;
 * Ctrl-D leaves. An answer that fails is told, and its question is taken back. */
#include "leader/ctl/answer.h"
#include "leader/ctl/chat_line.h"
#include "leader/ctl/ctl.h"
#include "leader/ctl/http.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* while leaders fail */

static const char about[] =
    "hydac chat [OPTIONS]\n"
    "\n"
    "Talks with the model. Ctrl-C ends an answer, Ctrl-D the conversation; /help tells what else\n"
    "there is.\n";

static const char help[] =
    "  /again          the last answer anew\n"
    "  /undo           forget the last question and its answer\n"
    "  /new            forget all\n"
    "  /system TEXT    what the model is told before all; without TEXT: nothing\n"
    "  /set NAME VALUE temperature, top_p, top_k, max_tokens, seed; without VALUE: "
    "its default\n"
    "  /settings       what is set\n"
    "  /quit           leave\n"
    "A line that ends with \\ goes on; three quotes open and close several lines.\n";

struct chat {
    struct hd_leaders leaders;
    struct hd_http_key key;
    json_t *messages, *settings; /* settings: members of a request */
    char *system;                /* NULL: none */
    bool terminal;
    char last; /* that was printed */
};

static volatile sig_atomic_t stopped;

static void on_interrupt(int number)
{
    stopped = 1;
}

static bool is_stopped(void *chat)
{
    return stopped;
}

static void dim(const struct chat *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void dim(const struct chat *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs(c->terminal ? "\033[2m" : "", stdout);
    vprintf(fmt, ap);
    puts(c->terminal ? "\033[0m" : "");
    va_end(ap);
}

/* ---- Asking ----*/

static void on_text(void *chat, const char *text, size_t len)
{
    struct chat *c = chat;
    c->last = text[len - 1];
    fwrite(text, 1, len, stdout);
    fflush(stdout);
}

static void end_line(struct chat *c)
{
    if (c->last != '\n')
        putchar('\n');
    c->last = '\n';
}

static void on_resume(void *chat, const char *leader, size_t tokens, const char *why)
{
    struct chat *c = chat;
    end_line(c);
    dim(c, "%s; going on behind %zu tokens at %s", why, tokens, leader);
}

static double number_of(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static void print_losses(const struct chat *c, const json_t *failovers)
{
    size_t i;
    json_t *f;
    json_array_foreach((json_t *)failovers, i, f)
    {
        const char *worker = json_string_value(json_object_get(f, "worker"));
        double lost = number_of(f, "heads_lost");
        dim(c,
            "%s was lost: its %.0f head%s went to others, %.0f stayed; the text stood still for "
            "%.0f ms",
            worker ? worker : "?", lost, lost == 1 ? "" : "s", number_of(f, "heads_reused"),
            number_of(f, "stall_ms"));
    }
}

static json_t *request(const struct chat *c)
{
    json_t *body = json_pack("{s:b, s:b, s:{s:b}}", "stream", 1, "hydac", 1, "stream_options",
                             "include_usage", 1);
    json_t *messages = json_array();
    if (c->system)
        json_array_append_new(messages,
                              json_pack("{s:s, s:s}", "role", "system", "content", c->system));
    json_array_extend(messages, c->messages);
    json_object_set_new(body, "messages", messages);
    json_object_update(body, c->settings);
    return body;
}

static void add_message(struct chat *c, const char *role, const char *text, size_t len)
{
    json_array_append_new(c->messages,
                          json_pack("{s:s, s:s%}", "role", role, "content", text, len));
}

/* Drops messages from the end up to the last of the user's, with it or without. */
static void take_back(struct chat *c, bool question)
{
    size_t n = json_array_size(c->messages);
    while (n > 0) {
        const char *role =
            json_string_value(json_object_get(json_array_get(c->messages, n - 1), "role"));
        bool is_question = role && strcmp(role, "user") == 0;
        if (is_question && !question)
            return;
        json_array_remove(c->messages, --n);
        if (is_question)
            return;
    }
}

static void answer(struct chat *c)
{
    struct hd_answer a = {0};
    struct hd_error err = {0};
    struct sigaction old, now = {.sa_handler = on_interrupt};
    json_t *body = request(c);
    struct hd_ask q = {.leaders = &c->leaders,
                       .key = c->key.text,
                       .path = "/v1/chat/completions",
                       .body = body,
                       .patience_ms = c->leaders.n > 1 ? PATIENCE_MS : 0,
                       .on_text = on_text,
                       .on_resume = on_resume,
                       .stop = is_stopped,
                       .arg = c};
    stopped = 0;
    c->last = '\n';
    sigaction(SIGINT, &now, &old);
    int rc = hd_ask(&q, &a, &err);
    sigaction(SIGINT, &old, NULL);
    end_line(c);
    if (rc < 0) {
        hd_complain(&err);
        take_back(c, true);
    } else {
        add_message(c, "assistant", a.text, a.text_len);
        print_losses(c, a.failovers);
        if (stopped)
            dim(c, "stopped");
    }
    json_decref(body);
    hd_answer_deinit(&a);
}

/* ---- Commands ----*/

static bool is_setting(const char *name)
{
    static const char *const names[] = {"temperature", "top_p", "top_k", "max_tokens", "seed"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void set(struct chat *c, char *rest)
{
    char *value = rest + strcspn(rest, " ");
    if (*value)
        *value++ = '\0';
    json_t *v = *value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    if (!is_setting(rest))
        puts("there is temperature, top_p, top_k, max_tokens and seed to be set");
    else if (*value && !json_is_number(v))
        printf("%s takes a number\n", rest);
    else if (*value)
        json_object_set(c->settings, rest, v);
    else
        json_object_del(c->settings, rest);
    json_decref(v);
}

static void print_settings(const struct chat *c)
{
    const char *name;
    json_t *v;
    json_object_foreach(c->settings, name, v)
    {
        printf("%s ", name);
        json_dumpf(v, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    if (c->system)
        printf("system %s\n", c->system);
}

static void again(struct chat *c)
{
    take_back(c, false);
    if (json_array_size(c->messages) > 0)
        answer(c);
}

/* False: that was the last. */
static bool command(struct chat *c, char *line)
{
    char *rest = line + strcspn(line, " ");
    if (*rest)
        *rest++ = '\0';
    rest += strspn(rest, " ");
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0)
        return false;
    if (strcmp(line, "/again") == 0)
        again(c);
    else if (strcmp(line, "/undo") == 0)
        take_back(c, true);
    else if (strcmp(line, "/new") == 0)
        json_array_clear(c->messages);
    else if (strcmp(line, "/set") == 0)
        set(c, rest);
    else if (strcmp(line, "/settings") == 0)
        print_settings(c);
    else if (strcmp(line, "/system") == 0) {
        free(c->system);
        c->system = *rest ? strdup(rest) : NULL;
    } else
        fputs(help, stdout);
    return true;
}

static void talk(struct chat *c)
{
    bool go_on = true, interrupted;
    hd_chat_line_begin();
    while (go_on) {
        char *said = hd_chat_read("> ", &interrupted);
        if (!said && interrupted) {
            putchar('\n');
            continue;
        }
        if (!said)
            break;
        if (*said)
            hd_chat_remember(said);
        if (said[0] == '/')
            go_on = command(c, said);
        else if (said[strspn(said, " \n\t")]) {
            add_message(c, "user", said, strlen(said));
            answer(c);
        }
        free(said);
    }
    if (c->terminal)
        putchar('\n');
}

/* ---- Options ----*/

int hd_cmd_chat(int argc, char **argv)
{
    struct chat c = {.last = '\n'};
    const char *leader = hd_default_leader(), *key_file = NULL, *system = NULL;
    double temperature = 0.7;
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_LEADERS(&leader),
        HD_ARG_API_KEY(&key_file),
        {"--system", HD_ARG_STRING, &system, "TEXT", "what the model is told before all"},
        {"--temperature", HD_ARG_REAL, &temperature, "T",
         "0: always the likeliest token; default 0.7, up to 2", 0, 2},
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, NULL, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    rc = hd_leaders_parse(&c.leaders, leader, &err);
    if (rc == 0)
        rc = hd_http_key_get(&c.key, key_file, &err);
    if (rc < 0)
        return hd_complain(&err);
    c.terminal = isatty(STDOUT_FILENO);
    c.messages = json_array();
    c.settings = json_pack("{s:f}", "temperature", temperature);
    c.system = system ? strdup(system) : NULL;
    talk(&c);
    json_decref(c.messages);
    json_decref(c.settings);
    free(c.system);
    hd_leaders_deinit(&c.leaders);
    hd_secret_wipe(&c.key, sizeof c.key);
    return 0;
}
