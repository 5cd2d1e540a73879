/* read_probe.c - each thread adds up its part of a large area, so that nothing but reading takes
 * time. */
#include "common/math/read_probe.h"

#include "common/util/error.h"

#include <stdlib.h>
#include <string.h>

#define STREAMS 4 /* side by side: more than one keeps more lines on their way */

int hd_read_probe_init(struct hd_read_probe *p)
{
    *p = (struct hd_read_probe){.memory = malloc(HD_READ_PROBE_BYTES)};
    if (!p->memory)
        return HD_E_NOMEM;
    memset(p->memory, 1, HD_READ_PROBE_BYTES); /* pages of their own, not all the same one */
    return 0;
}

void hd_read_probe_deinit(struct hd_read_probe *p)
{
    free(p->memory);
    *p = (struct hd_read_probe){0};
}

static void read_part(void *arg, size_t index, unsigned thread)
{
    struct hd_read_probe *p = arg;
    size_t n = HD_READ_PROBE_BYTES / sizeof *p->memory / HD_READ_PROBE_PARTS / STREAMS;
    const uint64_t *d = p->memory + index * n * STREAMS;
    uint64_t sum[8] = {0};
    (void)thread;
    for (size_t i = 0; i + 8 <= n; i += 8)
        for (size_t s = 0; s < STREAMS; s++)
            for (size_t j = 0; j < 8; j++)
                sum[j] += d[s * n + i + j];
    for (size_t j = 1; j < 8; j++)
        sum[0] += sum[j];
    p->sums[index] = sum[0];
}

void hd_read_probe_pass(struct hd_read_probe *p, struct hd_team *team)
{
    hd_team_run(team, HD_READ_PROBE_PARTS, read_part, p);
}
