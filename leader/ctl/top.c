/* top.c - hydac top: the cluster on the whole screen, as it changes.
 *
 * Happy path: the screen is taken -> GET /hydac/events -> each event is drawn -> q or Ctrl-C -> the
 * screen is given back. When the leader goes it is asked again each second. */
#include "leader/ctl/top.h"

#include "leader/ctl/ctl.h"
#include "leader/ctl/events.h"
#include "leader/ctl/http.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_LOSSES 32
#define PAUSE_MS   1000 /* before the leader is asked again */
/* Between the statuses of which rates are made: one that follows a change says nothing of them. */
#define SHORTEST_MS 500

static const char about[] =
    "hydac top [OPTIONS]\n"
    "\n"
    "Watches the cluster while it works: workers with what each owns, how busy they are, what\n"
    "travels, and what losses cost. q leaves.\n";

struct watch {
    struct hd_top top;
    struct hd_events events;
    long status; /* HTTP's */
    bool began;  /* some leader has answered */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    interrupted = 1;
}

/* ---- The screen ----*/

static struct termios was;

static void take_screen(void)
{
    struct sigaction a = {.sa_handler = on_interrupt};
    struct termios now;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    tcgetattr(STDIN_FILENO, &was);
    now = was;
    now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &now);
    fputs("\033[?1049h\033[?25l", stdout);
}

static void give_screen_back(void)
{
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &was);
}

static bool wants_to_leave(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char c;
    while (!interrupted && poll(&in, 1, 0) > 0)
        if (read(STDIN_FILENO, &c, 1) <= 0 || c == 'q' || c == 'Q' || c == 3)
            interrupted = 1;
    return interrupted;
}

static void show(struct watch *w)
{
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    w->top.rows = size.ws_row > 0 ? size.ws_row : 24;
    w->top.columns = size.ws_col > 0 ? size.ws_col : 80;
    char *text = hd_top_draw(&w->top);
    if (text)
        printf("\033[H%s\033[J", text);
    fflush(stdout);
    free(text);
}

/* ---- Events ----*/

static const char *text_of(const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    return s ? s : "";
}

static void add_line(struct hd_top *t, const char *worker, const char *what, const char *why)
{
    char at[16];
    time_t now = time(NULL);
    struct tm tm;
    strftime(at, sizeof at, "%H:%M:%S", localtime_r(&now, &tm));
    snprintf(t->events[t->n_events++ % HD_TOP_EVENTS], sizeof t->events[0],
             "%s  %.60s %.40s%s%.30s", at, worker, what, *why ? ", " : "", why);
}

static void take_status(struct hd_top *t, const json_t *event)
{
    json_t *failovers = json_object_get(event, "failovers");
    double at = json_number_value(json_object_get(event, "at_ms"));
    double last = json_number_value(json_object_get(t->status, "at_ms"));
    if (!t->before || at - last >= SHORTEST_MS) {
        json_decref(t->before);
        t->before = json_incref(t->status);
    }
    json_decref(t->status);
    t->status = json_incref((json_t *)event);
    if (failovers) { /* the first of a stream has all of them */
        json_array_clear(t->losses);
        json_array_extend(t->losses, failovers);
    }
}

static void take_event(void *arg, const json_t *event)
{
    struct watch *w = arg;
    struct hd_top *t = &w->top;
    const char *name = w->events.name;
    if (strcmp(name, "status") == 0)
        take_status(t, event);
    else if (strcmp(name, "failover") == 0)
        json_array_append(t->losses, (json_t *)event);
    else if (strcmp(name, "change") == 0)
        add_line(t, text_of(event, "worker"), text_of(event, "state"), text_of(event, "cause"));
    else if (strcmp(name, "cluster") == 0)
        add_line(t, "cluster", text_of(event, "state"), text_of(event, "reason"));
    else
        return;
    while (json_array_size(t->losses) > MAX_LOSSES)
        json_array_remove(t->losses, 0);
    show(w);
}

static int on_data(void *arg, long status, const char *data, size_t len)
{
    struct watch *w = arg;
    w->status = status;
    return hd_events_feed(&w->events, status, data, len);
}

static bool on_stop(void *arg)
{
    return wants_to_leave();
}

/* A stream, to its end. 0, or what cannot be helped by asking again. */
static int follow(struct watch *w, const char *base, const char *key, struct hd_error *err)
{
    struct hd_http_post p = {.base = base,
                             .path = "/hydac/events",
                             .key = key,
                             .stop = on_stop,
                             .on_data = on_data,
                             .arg = w};
    w->events = (struct hd_events){.on_event = take_event, .arg = w};
    w->status = 0;
    int rc = hd_http_post(&p, err);
    w->began |= w->status == 200;
    hd_events_deinit(&w->events);
    json_decref(w->top.before); /* the next leader may count anew */
    json_decref(w->top.status);
    w->top.before = w->top.status = NULL;
    if (w->status == 401)
        return hd_fail(err, HD_E_CONFIG,
                       "the leader at %s wants its API key; give it with --api-key-file FILE",
                       base);
    if (w->status != 0 && w->status != 200)
        return hd_fail(err, HD_E_CONFIG, "%s is not a hydac leader (HTTP status %ld)", base,
                       w->status);
    return rc < 0 && !w->began ? rc : 0;
}

static int watch(const char *base, const char *key, struct hd_error *err)
{
    struct watch w = {.top = {.losses = json_array()}};
    int rc = 0;
    take_screen();
    while (rc == 0 && !wants_to_leave()) {
        rc = follow(&w, base, key, err);
        if (rc < 0 || wants_to_leave())
            break;
        add_line(&w.top, "no connection to", base, "");
        show(&w);
        poll(&(struct pollfd){.fd = STDIN_FILENO, .events = POLLIN}, 1, PAUSE_MS);
    }
    give_screen_back();
    json_decref(w.top.losses);
    return rc;
}

int hd_cmd_top(int argc, char **argv)
{
    const char *leader = hd_default_leader(), *key_file = NULL;
    struct hd_http_key key;
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_LEADER(&leader),
        HD_ARG_API_KEY(&key_file),
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, NULL, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fputs("hydac: top needs a terminal; hydac status prints the cluster once\n", stderr);
        return 2;
    }
    rc = hd_http_key_get(&key, key_file, &err);
    if (rc == 0)
        rc = watch(leader, key.text, &err);
    hd_secret_wipe(&key, sizeof key);
    return rc < 0 ? hd_complain(&err) : 0;
}
