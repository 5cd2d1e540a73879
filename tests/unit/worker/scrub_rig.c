/* scrub_rig.c - a node whose memory is looked at. */
#include "scrub_rig.h"

#include <criterion/criterion.h>

/* What a node said, and the time that its scrub is told. */
struct hd_finding scrub_found[MOST];
size_t scrub_n_found;
uint64_t scrub_now_us;

static void on_found(void *arg, const struct hd_finding *f)
{
    (void)arg;
    cr_assert_lt(scrub_n_found, MOST);
    scrub_found[scrub_n_found++] = *f;
}

void scrub_begin(struct hd_node *n)
{
    n->o.found = on_found;
    n->sizes.scrub_s = 2 * ROUND_S;
    scrub_n_found = 0;
    scrub_now_us = 1000000;
    hd_scrub_begin(n, scrub_now_us);
}

uint64_t scrub_rounds(const struct hd_node *n)
{
    struct hd_scrub_totals t;
    hd_scrub_totals(n, &t);
    return t.rounds;
}

/* When it is due; repairs what it finds. */
void scrub_slice(struct hd_node *n)
{
    struct hd_error err = {0};
    scrub_now_us = hd_scrub_at(n) > scrub_now_us ? hd_scrub_at(n) : scrub_now_us;
    int rc = hd_scrub_slice(n, scrub_now_us, &err);
    cr_assert_geq(rc, 0, "%s", err.text);
    cr_assert_eq(rc == HD_SCRUB_BROKEN, hd_scrub_broken(n));
    cr_assert_eq(hd_scrub_repair(n, &err), 0, "%s", err.text);
    cr_assert_not(hd_scrub_broken(n));
}

void scrub_round(struct hd_node *n)
{
    for (uint64_t end = scrub_rounds(n) + 1; scrub_rounds(n) < end;)
        scrub_slice(n);
}

/* Owns `heads` and has two sequences; a round has found nothing. */
void scrub_open(struct rig *r, uint64_t heads, enum hd_activations activations)
{
    struct hd_kv_report report;
    struct rig_options o = {.shape = "tiny",
                            .type = HD_Q4_0,
                            .kv = HD_KV_F16,
                            .activations = activations,
                            .threads = 2};
    rig_open(r, &o);
    r->log.level = HD_LOG_ERROR + 1;
    cr_assert_eq(rig_own_heads(r, heads, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
    rig_feed(r, (struct rig_feed){0, LAYERS, 0, N0});
    rig_feed(r, (struct rig_feed){1, LAYERS, 0, N1});
    scrub_begin(r->node);
    scrub_round(r->node);
    cr_assert_eq(scrub_n_found, 0);
}

static const struct hd_sequence_need both[] = {{.sequence = 0, .base = N0},
                                               {.sequence = 1, .base = N1}};
const struct hd_assignment scrub_need_both = {.needs = both, .n_needs = 2, .layers_done = {LAYERS}};

void scrub_expect_lanes(const struct rig *a, const struct rig *b, uint64_t heads)
{
    for (uint32_t h = 0; h < HEADS; h++)
        for (uint32_t l = 0; l < LAYERS && heads >> h & 1; l++) {
            rig_expect_same_lane(a, b, (struct hd_kv_at){0, l, h}, N0);
            rig_expect_same_lane(a, b, (struct hd_kv_at){1, l, h}, N1);
        }
}

void scrub_flip_kv(struct rig *r, struct hd_kv_at at, uint32_t position)
{
    ((uint8_t *)hd_cpu_kv_v(hd_cpu_kv(hd_kv_memory(r->node->kv)), at, position))[3] ^= 0x10;
}

void scrub_flip_log(struct rig *r, struct hd_log_at at)
{
    size_t n;
    ((uint8_t *)hd_input_log_rows(r->node->input_log, at, &n))[9] ^= 0x40;
}
