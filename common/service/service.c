/* service.c - systemd's protocol through libsystemd; empty functions in a build without it. */
#include "common/service/service.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define MAX_SENTENCE 512

static void notify(const char *state)
{
#ifdef HAVE_LIBSYSTEMD
    sd_notify(0, state); /* a manager that does not listen is no reason to stop */
#endif
}

/* Microseconds, 0: nobody watches. */
static uint64_t watchdog_period(void)
{
    uint64_t us = 0;
#ifdef HAVE_LIBSYSTEMD
    if (sd_watchdog_enabled(0, &us) <= 0)
        us = 0;
#endif
    return us;
}

/* Each line of a message is a variable of its own, so that the sentence has to be one line. */
static void tell(const char *variables, const char *fmt, va_list ap)
{
    char sentence[MAX_SENTENCE], message[MAX_SENTENCE + 64];
    vsnprintf(sentence, sizeof sentence, fmt, ap);
    for (char *p = sentence; *p; p++)
        if (*p == '\n')
            *p = ' ';
    snprintf(message, sizeof message, "%sSTATUS=%s", variables, sentence);
    notify(message);
}

static void on_timer(uv_timer_t *timer)
{
    notify("WATCHDOG=1");
}

void hd_service_start(struct hd_service *s, uv_loop_t *loop)
{
    uint64_t half_ms = watchdog_period() / 2000;
    uv_timer_init(loop, &s->timer);
    if (half_ms == 0)
        return;
    uv_timer_start(&s->timer, on_timer, half_ms, half_ms);
    uv_unref((uv_handle_t *)&s->timer); /* no reason for the loop to go on */
}

void hd_service_end(struct hd_service *s)
{
    uv_loop_t *loop = s->timer.loop;
    uv_close((uv_handle_t *)&s->timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

void hd_service_ready(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell("READY=1\n", fmt, ap);
    va_end(ap);
}

void hd_service_status(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell("", fmt, ap);
    va_end(ap);
}

void hd_service_stopping(void)
{
    notify("STOPPING=1\nSTATUS=stopping");
}
