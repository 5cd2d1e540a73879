/* tls_record - what one TLS record costs the two ends, in nanoseconds.
 *
 *   tls_record [RECORDS] [SLEEP_US]
 *
 * Two engines talk through memory; printed are the medians of `seal` (plaintext to ciphertext) and
 * `open` (back), for the sizes of a decode step of SmolLM2-135M and for a full record. In turn, as
 * fast as they go, and then with a sleep before each, as a daemon has it that waits for its peer:
 * the instructions are the same, but the core has forgotten them. */
#include "common/net/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void need(int rc, const struct hd_error *err)
{
    if (rc < 0) {
        fprintf(stderr, "tls_record: %s\n", err->text);
        exit(1);
    }
}

static unsigned now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned)t.tv_sec * 1000000000u + (unsigned)t.tv_nsec; /* differences fit */
}

static void rest(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};
    if (us > 0)
        nanosleep(&t, NULL);
}

/* What `from` has to say, to `to`. */
static void carry(struct hd_tls *from, struct hd_tls *to)
{
    static uint8_t plain[HD_TLS_RECORD];
    struct hd_error err = {0};
    size_t len, n = 1;
    const uint8_t *data = hd_tls_output(from, &len);
    need(hd_tls_feed(to, data, len, &err), &err);
    while (n > 0)
        need(hd_tls_read(to, plain, sizeof plain, &n, &err), &err);
    hd_tls_output_done(from);
}

static int by_value(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

static unsigned median(unsigned *ns, size_t n)
{
    qsort(ns, n, sizeof *ns, by_value);
    return ns[n / 2];
}

static void measure(struct hd_tls *ends[2], size_t len, size_t records, long sleep_us)
{
    static const uint8_t plain[HD_TLS_RECORD];
    struct hd_error err = {0};
    unsigned *seal = calloc(records, sizeof *seal), *open = calloc(records, sizeof *open);
    if (!seal || !open)
        need(hd_fail(&err, HD_E_NOMEM, "out of memory"), &err);
    for (size_t i = 0; i < records; i++) {
        rest(sleep_us);
        unsigned t0 = now_ns();
        need(hd_tls_write(ends[0], plain, len, &err), &err);
        seal[i] = now_ns() - t0;
        rest(sleep_us);
        t0 = now_ns();
        carry(ends[0], ends[1]);
        open[i] = now_ns() - t0;
    }
    printf("%5zu bytes, %3ld us of sleep before: seal %5u ns, open %5u ns\n", len, sleep_us,
           median(seal, records), median(open, records));
    free(seal);
    free(open);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {600, 2304, HD_TLS_RECORD};
    long records = argc > 1 ? atol(argv[1]) : 5000, sleep_us = argc > 2 ? atol(argv[2]) : 250;
    struct hd_tls_context *context;
    struct hd_tls *ends[2];
    struct hd_error err = {0};
    const struct hd_key key = {{1}};
    if (records < 1 || sleep_us < 0 || sleep_us > 999999)
        need(hd_fail(&err, HD_E_CONFIG, "tls_record [RECORDS] [SLEEP_US]"), &err);
    need(hd_tls_context_new(&context, &key, &err), &err);
    need(hd_tls_new(&ends[0], context, HD_TLS_CLIENT, &err), &err);
    need(hd_tls_new(&ends[1], context, HD_TLS_SERVER, &err), &err);
    while (!hd_tls_ready(ends[0]) || !hd_tls_ready(ends[1])) {
        carry(ends[0], ends[1]);
        carry(ends[1], ends[0]);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        measure(ends, sizes[i], (size_t)records, 0);
        measure(ends, sizes[i], (size_t)records, sleep_us);
    }
    hd_tls_free(ends[0]);
    hd_tls_free(ends[1]);
    hd_tls_context_free(context);
    return 0;
}
