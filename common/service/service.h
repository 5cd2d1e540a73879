/* service.h - what the service manager (systemd) is told, and its watchdog fed from the loop.
 *
 * Without systemd ($NOTIFY_SOCKET is not set), or built without libsystemd, everything here does
 * nothing. The watchdog is fed by the loop's own thread and nobody else: a loop that hangs starves
 * it. See sd_notify(3), sd_watchdog_enabled(3). */
#ifndef HD_SERVICE_SERVICE_H
#define HD_SERVICE_SERVICE_H

#include <uv.h>

struct hd_service {
    uv_timer_t timer;
};

/* Feeds the watchdog twice in each of its periods, if the manager asks for it. Call it once, from
 * the process that the manager started. */
void hd_service_start(struct hd_service *s, uv_loop_t *loop);
/* The service is up; the format makes the sentence that `systemctl status` shows. */
void hd_service_ready(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Another sentence. A line break in it becomes a space. */
void hd_service_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* It goes down from here on; the watchdog is fed on. */
void hd_service_stopping(void);
/* The loop has ended: closes the timer, so that the loop can be. */
void hd_service_end(struct hd_service *s);

#endif
