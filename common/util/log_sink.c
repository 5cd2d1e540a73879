/* log_sink.c - happy path: add -> the thread is woken -> write(2) outside the lock -> taken out.
 *
 * Failure modes: 1. the reader is slow: lines wait; 2. the buffer is full: lines are dropped, the
 * next one that fits is preceded by how many; 3. the reader has gone: what cannot be written is
 * thrown away, as nobody can be told; 4. the process crashes: see write_the_rest. */
#include "common/util/log_sink.h"

#include "common/util/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHUNK    4096 /* bytes of a write: a pipe takes so many whole or not at all (PIPE_BUF) */
#define CRASH_MS 100  /* for a reader that is slow to take the last words */

struct hd_log_sink {
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* lines came, or the end */
    pthread_cond_t empty;   /* the thread has ended */
    char buffer[HD_LOG_BUFFER];
    size_t first, len;     /* what waits: from `first` on, around the end */
    size_t writing;        /* bytes of it that the thread has in hand */
    unsigned long dropped; /* lines since the last one that was kept */
    const char *who;       /* whose they were */
    bool ending, ended;
};

/* ---- The buffer; under the lock ---- */

static void put(struct hd_log_sink *s, const char *data, size_t len)
{
    size_t at = (s->first + s->len) % HD_LOG_BUFFER;
    size_t head = len < HD_LOG_BUFFER - at ? len : HD_LOG_BUFFER - at;
    memcpy(s->buffer + at, data, head);
    memcpy(s->buffer, data + head, len - head);
    s->len += len;
}

/* Copies the whole lines that fit a write. */
static size_t peek(const struct hd_log_sink *s, char out[CHUNK])
{
    size_t n = s->len < CHUNK ? s->len : CHUNK;
    size_t head = n < HD_LOG_BUFFER - s->first ? n : HD_LOG_BUFFER - s->first;
    memcpy(out, s->buffer + s->first, head);
    memcpy(out + head, s->buffer, n - head);
    while (n > 0 && out[n - 1] != '\n')
        n--;
    return n;
}

/* Room for a line is kept for saying what was dropped. */
static bool fits(const struct hd_log_sink *s, size_t len)
{
    return len + HD_LOG_LINE <= HD_LOG_BUFFER - s->len;
}

static void tell_dropped(struct hd_log_sink *s)
{
    char line[HD_LOG_LINE];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ warn %.256s log_dropped lines=%lu\n",
                          now.tv_nsec / 1000000, s->who, s->dropped);
    put(s, line, n);
    s->dropped = 0;
}

void hd_log_sink_add(struct hd_log_sink *s, const struct hd_log *log, const char *line, size_t len)
{
    pthread_mutex_lock(&s->lock);
    if (!fits(s, len)) {
        s->dropped++;
        s->who = log->who ? log->who : "";
    } else {
        if (s->dropped > 0)
            tell_dropped(s);
        put(s, line, len);
    }
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- The thread ---- */

static void write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EAGAIN) { /* somebody else wanted O_NONBLOCK */
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return;
        } else if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
}

static void *run(void *sink)
{
    struct hd_log_sink *s = sink;
    char chunk[CHUNK];
    pthread_mutex_lock(&s->lock);
    for (;;) {
        if (s->len == 0 && s->dropped > 0)
            tell_dropped(s);
        if (s->len == 0 && s->ending)
            break;
        if (s->len == 0) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        size_t n = s->writing = peek(s, chunk);
        pthread_mutex_unlock(&s->lock);
        write_all(s->fd, chunk, n);
        pthread_mutex_lock(&s->lock);
        s->first = (s->first + n) % HD_LOG_BUFFER;
        s->len -= n;
        s->writing = 0;
    }
    s->ended = true;
    pthread_cond_signal(&s->empty);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int start_thread(struct hd_log_sink *s)
{
    sigset_t all, before; /* signals are for the threads that expect them */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int hd_log_sink_new(struct hd_log_sink **out, int fd, struct hd_error *err)
{
    struct hd_log_sink *s = calloc(1, sizeof *s);
    pthread_condattr_t monotonic;
    if (!s)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the log");
    s->fd = fd;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->empty, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = start_thread(s);
    if (rc != 0) {
        free(s);
        return hd_fail(err, HD_E_IO, "cannot start a thread for the log: %s", strerror(rc));
    }
    *out = s;
    return 0;
}

/* True when the thread has ended in time. */
static bool wait_for_end(struct hd_log_sink *s, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->changed);
    while (!s->ended && pthread_cond_timedwait(&s->empty, &s->lock, &until) == 0)
        ;
    bool ended = s->ended;
    pthread_mutex_unlock(&s->lock);
    return ended;
}

void hd_log_sink_free(struct hd_log_sink *s, unsigned wait_ms)
{
    if (!s)
        return;
    if (!wait_for_end(s, wait_ms)) {
        pthread_detach(s->thread);
        return;
    }
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_cond_destroy(&s->empty);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- The end of a process that crashes ---- */

static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
static struct hd_log_sink *_Atomic crashing; /* a signal handler has no argument of its own */

/* Nothing but system calls: the lock may be the crashed thread's. What the sink's thread has in
 * hand it is writing, or its reader takes nothing. */
static void write_the_rest(const struct hd_log_sink *s)
{
    char chunk[CHUNK];
    size_t at = (s->first + s->writing) % HD_LOG_BUFFER, left = s->len - s->writing;
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    if (left > HD_LOG_BUFFER)
        return;
    while (left > 0 && poll(&p, 1, CRASH_MS) == 1) {
        size_t n = left < CHUNK ? left : CHUNK;
        for (size_t i = 0; i < n; i++)
            chunk[i] = s->buffer[(at + i) % HD_LOG_BUFFER];
        ssize_t written = write(s->fd, chunk, n);
        if (written <= 0)
            return;
        at = (at + (size_t)written) % HD_LOG_BUFFER;
        left -= (size_t)written;
    }
}

static void on_fatal(int number)
{
    struct hd_log_sink *s = atomic_exchange(&crashing, NULL);
    if (s)
        write_the_rest(s);
    raise(number); /* SA_RESETHAND: as if we had not been there */
}

void hd_log_sink_on_crash(struct hd_log_sink *s)
{
    struct sigaction now, handler = {.sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND};
    atomic_store(&crashing, s);
    for (size_t i = 0; s && i < sizeof fatal / sizeof *fatal; i++)
        if (sigaction(fatal[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
            sigaction(fatal[i], &handler, NULL); /* a sanitizer's own stays */
}
