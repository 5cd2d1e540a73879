/* progress.c - bars made of statuses. */
#include "leader/ctl/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR 24 /* columns */

void hd_progress_begin(struct hd_progress *p)
{
    *p = (struct hd_progress){.on = isatty(STDOUT_FILENO)};
}

static double number_of(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static const char *text_of(const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    return s ? s : "";
}

/* Of all workers: bytes that are there, and that are to be. */
static void sum(const json_t *status, double *have, double *want)
{
    size_t i;
    json_t *w;
    *have = *want = 0;
    json_array_foreach(json_object_get(status, "workers"), i, w)
    {
        *have += number_of(w, "weight_bytes");
        *want += number_of(w, "weights_owned_bytes");
    }
}

static void print_bar(double share)
{
    int full = share <= 0 ? 0 : share >= 1 ? BAR : (int)(share * BAR);
    for (int i = 0; i < BAR; i++)
        fputs(i < full ? "\xe2\x96\x88" : "\xe2\x96\x91", stdout);
}

void hd_progress_show(struct hd_progress *p, const json_t *status)
{
    const json_t *c = json_object_get(status, "cluster");
    double have, want;
    if (!p->on)
        return;
    sum(status, &have, &want);
    fputs("\r\033[K", stdout);
    if (want > 0) {
        print_bar(have / want);
        printf(" weights %.0f of %.0f MB", have / 1e6, want / 1e6);
    } else {
        print_bar(0);
        printf(" %.60s",
               *text_of(c, "reason") ? text_of(c, "reason") : "the leader reads the model");
    }
    fflush(stdout);
    p->shown = true;
}

void hd_progress_end(struct hd_progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stdout);
    fflush(stdout);
    p->shown = false;
}

void hd_progress_tell_losses(struct hd_progress *p, const json_t *status)
{
    const json_t *list = json_object_get(status, "failovers");
    size_t n = json_array_size(list);
    for (size_t i = p->losses; p->on && i < n; i++) {
        const json_t *f = json_array_get(list, i);
        printf(
            "%s: %.0f of %.0f heads rebuilt by others, weights %.0f ms, rebuild %.0f ms, %.0f ms "
            "in all\n",
            text_of(f, "worker"), number_of(f, "heads_rebuilt"), number_of(f, "heads_lost"),
            number_of(f, "weights_ms"), number_of(f, "rebuild_ms"), number_of(f, "stall_ms"));
    }
    p->losses = n;
}
