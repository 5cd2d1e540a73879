/* bench_lists.c - options of measurements that are lists; the time they began. */
#include "leader/ctl/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int hd_bench_each_item(const char *option, const char *list,
                       int (*take)(void *arg, size_t i, const char *item, struct hd_error *err),
                       void *arg, size_t *n, struct hd_error *err)
{
    char item[64];
    *n = 0;
    for (const char *p = list;; p++) {
        size_t len = strcspn(p, ",");
        if (*n == HD_BENCH_MAX_LIST)
            return hd_fail(err, HD_E_CONFIG, "%s takes at most %d items", option,
                           HD_BENCH_MAX_LIST);
        if (len == 0 || len >= sizeof item)
            return hd_fail(err, HD_E_CONFIG, "%s takes items with commas between, not '%s'", option,
                           list);
        memcpy(item, p, len);
        item[len] = '\0';
        int rc = take(arg, *n, item, err);
        if (rc < 0)
            return rc;
        ++*n;
        p += len;
        if (!*p)
            return 0;
    }
}

static int take_number(void *arg, size_t i, const char *item, struct hd_error *err)
{
    const struct hd_bench_numbers *l = arg;
    char *end;
    errno = 0;
    uint64_t v = strtoull(item, &end, 10);
    if (errno || *end || *item < '0' || *item > '9' || v < l->min || v > l->max)
        return hd_fail(err, HD_E_CONFIG, "%s takes integers from %llu to %llu, not '%s'", l->option,
                       (unsigned long long)l->min, (unsigned long long)l->max, item);
    l->to[i] = v;
    return 0;
}

int hd_bench_take_numbers(const struct hd_bench_numbers *l, const char *list, size_t *n,
                          struct hd_error *err)
{
    struct hd_bench_numbers numbers = *l;
    return hd_bench_each_item(l->option, list, take_number, &numbers, n, err);
}

void hd_bench_now(char text[HD_BENCH_TIME])
{
    time_t now = time(NULL);
    struct tm t;
    strftime(text, HD_BENCH_TIME, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &t));
}
