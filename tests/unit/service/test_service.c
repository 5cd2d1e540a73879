/* The manager's end of the notification socket is held by the test. */
#include "common/service/service.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LIMIT_MS 10000

static int manager_open(char *folder)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    cr_assert_not_null(mkdtemp(folder));
    snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", folder);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    return fd;
}

static void manager_close(int fd, const char *folder)
{
    char path[64];
    snprintf(path, sizeof path, "%s/notify", folder);
    close(fd);
    unlink(path);
    rmdir(folder);
}

static void expect(int fd, const char *message)
{
    char text[2048];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, LIMIT_MS), 1, "nothing came instead of '%s'", message);
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    cr_assert_geq(n, 0);
    text[n] = '\0';
    cr_assert_str_eq(text, message);
}

Test(service, sentences)
{
    char folder[] = "/tmp/hydac-service-XXXXXX";
    int fd = manager_open(folder);
    hd_service_ready("model %s, port %d", "toy", 7);
    expect(fd, "READY=1\nSTATUS=model toy, port 7");
    hd_service_status("an error\nMAINPID=1");
    expect(fd, "STATUS=an error MAINPID=1");
    hd_service_stopping();
    expect(fd, "STOPPING=1\nSTATUS=stopping");
    manager_close(fd, folder);
}

Test(service, a_long_sentence_is_cut)
{
    char folder[] = "/tmp/hydac-service-XXXXXX", longest[2000], cut[600] = "STATUS=";
    int fd = manager_open(folder);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memset(cut + 7, 'x', 511);
    hd_service_status("%s", longest);
    expect(fd, cut);
    manager_close(fd, folder);
}

static bool fed(int fd)
{
    char text[64];
    ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);
    return n == 10 && memcmp(text, "WATCHDOG=1", 10) == 0;
}

static void nothing(uv_timer_t *timer)
{
}

Test(service, the_loop_feeds_the_watchdog)
{
    char folder[] = "/tmp/hydac-service-XXXXXX", pid[20];
    int fd = manager_open(folder), n = 0;
    uv_loop_t loop;
    uv_timer_t work; /* what keeps the loop alive: feeding does not */
    struct hd_service s;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    setenv("WATCHDOG_USEC", "20000", 1);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &work);
    hd_service_start(&s, &loop);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0, "feeding keeps the loop alive");
    uv_timer_start(&work, nothing, LIMIT_MS, 0);
    while (n < 3 && uv_run(&loop, UV_RUN_ONCE))
        n += fed(fd);
    cr_assert_eq(n, 3);
    uv_close((uv_handle_t *)&work, NULL);
    hd_service_end(&s);
    cr_assert_eq(uv_loop_close(&loop), 0);
    manager_close(fd, folder);
}

Test(service, another_process_is_watched)
{
    char folder[] = "/tmp/hydac-service-XXXXXX";
    int fd = manager_open(folder);
    uv_loop_t loop;
    uv_timer_t work;
    struct hd_service s;
    setenv("WATCHDOG_PID", "1", 1);
    setenv("WATCHDOG_USEC", "2000", 1);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &work);
    hd_service_start(&s, &loop);
    uv_timer_start(&work, nothing, 50, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_not(fed(fd));
    uv_close((uv_handle_t *)&work, NULL);
    hd_service_end(&s);
    cr_assert_eq(uv_loop_close(&loop), 0);
    manager_close(fd, folder);
}

Test(service, without_a_manager)
{
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    uv_loop_t loop;
    struct hd_service s;
    uv_loop_init(&loop);
    hd_service_start(&s, &loop);
    hd_service_ready("x");
    hd_service_stopping();
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    hd_service_end(&s);
    cr_assert_eq(uv_loop_close(&loop), 0);
}
