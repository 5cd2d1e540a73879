/* up_leaders.c - the leaders of hydac up: one, or several of which one serves.
 *
 * Several must know one another's addresses before they start, so ports are chosen for them: free
 * ones, which nobody else is likely to take in the moment between. One that ends is reported while
 * another one runs (--restart: started again); with the last of them everything ends. */
#include "leader/ctl/files.h"
#include "leader/ctl/up_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Addresses ----*/

/* Holds a free port, *fd: until its leader is to have it. */
static int take_port(unsigned *port, int *fd, struct hd_error *err)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
        getsockname(*fd, (struct sockaddr *)&addr, &len) < 0)
        return hd_fail(err, HD_E_IO, "no free port for a leader: %s", strerror(errno));
    *port = ntohs(addr.sin_port);
    return 0;
}

static int choose_addresses(struct hd_up *u, struct hd_error *err)
{
    int fds[HD_UP_LEADERS], rc = 0;
    size_t n = 0, at = 0;
    for (; rc == 0 && n < u->n_leaders; n++) {
        unsigned port = 0;
        rc = take_port(&port, &fds[n], err);
        snprintf(u->leaders[n].address, sizeof u->leaders[n].address, "127.0.0.1:%u", port);
        at += (size_t)snprintf(u->cluster + at, sizeof u->cluster - at, "%s%s", n ? "," : "",
                               u->leaders[n].address);
    }
    while (n-- > 0)
        if (fds[n] >= 0)
            close(fds[n]);
    return rc;
}

/* ---- Their lives ----*/

unsigned hd_up_leaders_running(const struct hd_up *u)
{
    unsigned n = 0;
    for (uint64_t i = 0; i < u->n_leaders; i++)
        n += u->leaders[i].child.running;
    return n;
}

void hd_up_kill_leaders(struct hd_up *u, int number)
{
    for (uint64_t i = 0; i < u->n_leaders; i++)
        hd_child_kill(&u->leaders[i].child, number);
}

static int start(struct hd_up *u, struct up_leader *leader, struct hd_error *err)
{
    char http[32], url[48], state[PATH_MAX + 32], min[24];
    struct hd_command_line l = {.n = 0};
    bool first = leader == u->leaders, several = u->n_leaders > 1;
    unsigned port = (unsigned)(u->o->port ? u->o->port + (uint64_t)(leader - u->leaders) : 0);
    snprintf(http, sizeof http, "127.0.0.1:%u", port);
    snprintf(min, sizeof min, "%u", first ? (unsigned)u->o->workers : 1);
    snprintf(state, sizeof state, "%s/%s", u->folder, leader->child.name);
    unlink(leader->ports_file);
    int rc = hd_make_folders(state, err);
    if (rc < 0)
        return rc;
    hd_command_add(&l, u->leader_program);
    hd_command_add_option(&l, "--model", u->o->model);
    hd_command_add_option(&l, "--listen", several ? leader->address : "127.0.0.1:0");
    if (several)
        hd_command_add_option(&l, "--cluster.leaders", u->cluster);
    else if (u->socket[0])
        hd_command_add_option(&l, "--cluster.socket", u->socket);
    hd_command_add_option(&l, "--http", leader->http[0] ? leader->http : http);
    snprintf(url, sizeof url, "http://%s", leader->http[0] ? leader->http : http);
    if (several && (port > 0 || leader->http[0])) /* for the page, and who asks the wrong one */
        hd_command_add_option(&l, "--http.public_url", url);
    hd_command_add_option(&l, "--state", state);
    hd_command_add_option(&l, "--min-workers", leader->http[0] ? "1" : min);
    hd_command_add_option(&l, "--recovery", u->o->recovery);
    hd_command_add_option(&l, "--ports-file", leader->ports_file);
    hd_command_add_option(&l, "--log-level", u->o->log_level);
    if (u->o->wire)
        hd_command_add_option(&l, "--compute.wire", u->o->wire);
    if (u->o->client) { /* what is measured is one plan: a busy machine makes workers slow */
        hd_command_add_option(&l, "--cluster.rebalance", "manual");
        hd_command_add_option(&l, "--cache.memory", "0"); /* and each prompt as a whole */
    }
    hd_command_add(&l, "--die-with-parent");
    for (size_t i = 0; i < u->o->leader_args.n; i++)
        hd_command_add(&l, u->o->leader_args.items[i]);
    return hd_child_start(&leader->child, &u->loop, &l, err);
}

static void on_restart(uv_timer_t *t)
{
    struct up_leader *leader = t->data;
    struct hd_up *u = leader->child.owner;
    struct hd_error err = {0};
    if (u->state == UP_STOPPING)
        return;
    if (start(u, leader, &err) < 0)
        fprintf(stderr, "hydac: %s\n", err.text);
    hd_up_children_changed(u);
}

static void on_ended(struct hd_child *c)
{
    struct hd_up *u = c->owner;
    struct up_leader *leader = (struct up_leader *)c; /* its first member */
    bool goes_on = u->state == UP_SERVING && hd_up_leaders_running(u) > 0;
    if (u->state != UP_STOPPING)
        fprintf(stderr, "hydac: the %s (pid %d) %s%s\n", c->name, c->pid, c->how,
                goes_on ? "; another one goes on" : "");
    if (!goes_on)
        hd_up_stop(u, 1);
    else if (u->o->restart)
        uv_timer_start(&leader->restart, on_restart, HD_UP_RESTART_MS, 0);
}

int hd_up_start_leaders(struct hd_up *u, struct hd_error *err)
{
    int rc = u->n_leaders > 1 ? choose_addresses(u, err) : 0;
    for (uint64_t i = 0; rc == 0 && i < u->n_leaders; i++)
        rc = start(u, &u->leaders[i], err);
    return rc;
}

/* It has written its ports. */
static bool listens(struct hd_up *u, struct up_leader *leader)
{
    json_t *v = json_load_file(leader->ports_file, 0, NULL);
    json_int_t cluster = json_integer_value(json_object_get(v, "cluster"));
    json_int_t http = json_integer_value(json_object_get(v, "http"));
    json_decref(v);
    if (cluster <= 0 || http <= 0)
        return false;
    snprintf(leader->http, sizeof leader->http, "127.0.0.1:%d", (int)http);
    snprintf(leader->url, sizeof leader->url, "http://127.0.0.1:%d", (int)http);
    if (u->n_leaders > 1)
        return true;
    if (u->socket[0])
        snprintf(u->cluster, sizeof u->cluster, "unix:%s", u->socket);
    else
        snprintf(u->cluster, sizeof u->cluster, "127.0.0.1:%d", (int)cluster);
    return true;
}

bool hd_up_leaders_listen(struct hd_up *u)
{
    bool all = true;
    size_t at = 0;
    for (uint64_t i = 0; i < u->n_leaders; i++) {
        all = all && listens(u, &u->leaders[i]);
        at += (size_t)snprintf(u->urls + at, sizeof u->urls - at, "%s%s", i ? "," : "",
                               u->leaders[i].url);
    }
    return all;
}

/* The one that answers that it serves, else the first. */
const char *hd_up_url(const struct hd_up *u)
{
    return u->leaders[u->serving].url;
}

void hd_up_init_leaders(struct hd_up *u)
{
    for (uint64_t i = 0; i < u->n_leaders; i++) {
        struct up_leader *l = &u->leaders[i];
        char number[8] = "";
        if (i > 0)
            snprintf(number, sizeof number, "%u", (unsigned)i + 1);
        snprintf(l->child.name, sizeof l->child.name, "leader%s", number);
        snprintf(l->ports_file, sizeof l->ports_file, "%s/ports%s.json", u->folder, number);
        l->child.owner = u;
        l->child.ended = on_ended;
        uv_timer_init(&u->loop, &l->restart);
        l->restart.data = l;
    }
}
