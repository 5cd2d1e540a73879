/* child.c - uv_spawn, and who has ended by what. */
#include "leader/ctl/child.h"

#include <stdio.h>

void hd_command_add(struct hd_command_line *l, const char *word)
{
    if (l->n < HD_CHILD_MAX_ARGS)
        l->argv[l->n] = word;
    l->n++;
}

void hd_command_add_option(struct hd_command_line *l, const char *name, const char *value)
{
    hd_command_add(l, name);
    hd_command_add(l, value);
}

static void on_closed(uv_handle_t *h)
{
    struct hd_child *c = h->data;
    c->ended(c);
}

static void on_exit(uv_process_t *p, int64_t status, int number)
{
    struct hd_child *c = p->data;
    c->running = false;
    if (number)
        snprintf(c->how, sizeof c->how, "was killed by signal %d", number);
    else
        snprintf(c->how, sizeof c->how, "ended with status %d", (int)status);
    uv_close((uv_handle_t *)p, on_closed);
}

int hd_child_start(struct hd_child *c, uv_loop_t *loop, struct hd_command_line *l,
                   struct hd_error *err)
{
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
                                     {.flags = UV_INHERIT_FD, .data.fd = 1},
                                     {.flags = UV_INHERIT_FD, .data.fd = 2}};
    if (l->n > HD_CHILD_MAX_ARGS)
        return hd_fail(err, HD_E_LIMIT, "%s has more than %d arguments", c->name,
                       HD_CHILD_MAX_ARGS);
    l->argv[l->n] = NULL;
    uv_process_options_t o = {
        .file = l->argv[0],
        .args = (char **)l->argv, /* libuv does not write to them */
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_exit,
    };
    int rc = uv_spawn(loop, &c->process, &o);
    c->process.data = c;
    if (rc < 0) { /* the handle is open nevertheless, but was never active */
        uv_close((uv_handle_t *)&c->process, NULL);
        return hd_fail(err, HD_E_IO, "cannot start %s: %s", l->argv[0], uv_strerror(rc));
    }
    c->running = true;
    c->pid = c->process.pid;
    return 0;
}

void hd_child_kill(struct hd_child *c, int number)
{
    if (c->running)
        uv_process_kill(&c->process, number);
}
