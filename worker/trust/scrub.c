/* scrub.c - rounds over numbered items, and what is done with one that differs. */
#include "worker/share/hold.h"
#include "worker/trust/scrub_impl.h"

#include <stdlib.h>

/* A slice is what a round must look at in a tenth of a second, within these: shorter ones are
 * mostly overhead, and behind a longer one a step would wait for more than some 100 us. */
#define SLICE_US     100000
#define SLICE_LEAST  (64u << 10)
#define SLICE_MOST   (1u << 20)
#define LATE_MOST    (8u << 20)
#define LEAST_SLICES 16 /* of a round */
/* A step drops nothing, and many jobs pass before as much again is dropped. */
#define DROPPED_SLICE (256u << 10)
#define DROPPED_PART  64 /* of all that was dropped, so that it cannot pile up */

int hd_scrub_new(struct hd_scrub **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : HD_E_NOMEM;
}

void hd_scrub_free(struct hd_scrub *s)
{
    if (!s)
        return;
    hd_kv_list_deinit(&s->list);
    free(s);
}

/* ---- Rounds ----*/

void hd_scrub_begin(struct hd_node *n, uint64_t now_us)
{
    struct hd_scrub *s = n->scrub;
    bool first = s->round_us == 0;
    s->round_us = n->sizes.scrub_s * UINT64_C(500000);
    s->due_us = s->ideal_us = s->slice_us = now_us;
    if (n->kv)
        hd_kv_keep_dropped(n->kv, s->round_us > 0);
    if (first)
        s->began_us = n->whole_us = now_us;
}

static uint64_t dropped_bytes(const struct hd_node *n)
{
    return n->kv ? hd_kv_dropped_bytes(n->kv) : 0;
}

uint64_t hd_scrub_at(const struct hd_node *n)
{
    const struct hd_scrub *s = n->scrub;
    if (dropped_bytes(n) > 0 && s->slice_us < s->due_us)
        return s->slice_us;
    return s->round_us > 0 ? s->due_us : UINT64_MAX;
}

bool hd_scrub_broken(const struct hd_node *n)
{
    return n->scrub->broken;
}

void hd_scrub_totals(const struct hd_node *n, struct hd_scrub_totals *t)
{
    *t = n->scrub->totals;
}

/* About; never less than there is. */
static uint64_t bytes_there_are(const struct hd_node *n)
{
    uint64_t bytes = hd_shard_bytes(n->shard);
    bytes += n->kv ? hd_kv_bytes(n->kv) : 0;
    return bytes + (n->input_log ? hd_input_log_bytes(n->input_log) : 0);
}

struct pace {
    uint64_t bytes, period_us; /* of a slice; from one to the next */
};

static struct pace pace_of(const struct hd_node *n)
{
    uint64_t all = bytes_there_are(n), round_us = n->scrub->round_us;
    uint64_t slices = round_us / SLICE_US + 1, bytes = all / slices;
    bytes = bytes < SLICE_LEAST ? SLICE_LEAST : bytes > SLICE_MOST ? SLICE_MOST : bytes;
    slices = all / bytes + 1;
    slices = slices < LEAST_SLICES ? LEAST_SLICES : slices;
    return (struct pace){bytes, round_us / slices};
}

static void end_round(struct hd_node *n, uint64_t now_us)
{
    struct hd_scrub *s = n->scrub;
    s->totals.rounds++;
    if (!n->damaged)
        s->totals.clean_began_us = s->began_us;
    n->damaged = false;
    n->whole_us = s->began_us;
    s->began_us = now_us;
    s->cursor = (struct scrub_cursor){0};
}

/* How many slices are to be made up for, this one included. */
static uint64_t slices_due(struct hd_scrub *s, struct pace pace, uint64_t now_us)
{
    if (now_us > s->round_us && s->ideal_us < now_us - s->round_us)
        s->ideal_us = now_us - s->round_us; /* more than a round is not made up for */
    uint64_t late = now_us > s->ideal_us ? (now_us - s->ideal_us) / pace.period_us : 0;
    uint64_t most = LATE_MOST / pace.bytes;
    return late < most ? late + 1 : most;
}

/* After a late one the next comes at half the distance. */
static void set_due(struct hd_scrub *s, uint64_t period_us, uint64_t now_us)
{
    uint64_t soonest = now_us + period_us / 2;
    s->due_us = s->ideal_us > soonest ? s->ideal_us : soonest;
}

/* Of the round. */
static int look_on(struct hd_node *n, uint64_t now_us)
{
    struct hd_scrub *s = n->scrub;
    struct pace pace = pace_of(n);
    uint64_t slices = slices_due(s, pace, now_us);
    int rc = 0;
    for (uint64_t done = 0; done < slices * pace.bytes && !s->broken && rc == 0;) {
        done += scrub_look(n, now_us, &rc);
        if (s->cursor.phase == SCRUB_PHASES) {
            end_round(n, now_us);
            break;
        }
    }
    s->ideal_us += slices * pace.period_us;
    set_due(s, pace.period_us, now_us);
    return rc;
}

static void look_at_dropped(struct hd_node *n, uint64_t now_us)
{
    uint64_t most = dropped_bytes(n) / DROPPED_PART;
    size_t bytes = 1;
    most = most < DROPPED_SLICE ? DROPPED_SLICE : most;
    for (uint64_t done = 0; done < most && bytes > 0; done += bytes)
        bytes = scrub_look_at_dropped(n, now_us);
}

void hd_scrub_dropped(struct hd_node *n, uint64_t now_us)
{
    while (n->kv && scrub_look_at_dropped(n, now_us) > 0)
        ;
}

int hd_scrub_slice(struct hd_node *n, uint64_t now_us, struct hd_error *err)
{
    struct hd_scrub *s = n->scrub;
    int rc = 0;
    s->slice_us = now_us;
    if (dropped_bytes(n) > 0)
        look_at_dropped(n, now_us);
    if (now_us >= s->due_us)
        rc = look_on(n, now_us);
    if (rc < 0)
        return hd_fail(err, rc, "the list of units that are owned is damaged in memory");
    return s->broken ? HD_SCRUB_BROKEN : HD_SCRUB_WHOLE;
}

/* ---- Repair ----*/

static int load_again(struct hd_node *n, struct hd_error *err)
{
    struct hd_finding *f = &n->scrub->found;
    if (hd_shard_holds(n->shard, f->unit))
        hd_hold_load_again(n);
    int rc = hd_shard_mend(n->shard, err);
    /* Nothing is computed with what is not there; the session is about to end. */
    n->assigned = n->assigned && rc >= 0;
    f->repaired =
        rc >= 0 && (hd_shard_has(n->shard, f->unit, f->layer) || hd_shard_holds(n->shard, f->unit));
    return rc < 0 ? rc : 0;
}

/* 0: the lane's rows are there again; or they cannot be made here: HD_E_LIMIT (the log lacks some),
 * HD_E_STATE (weights are missing), HD_E_NOMEM. */
static int compute_lane(struct hd_node *n)
{
    struct hd_scrub *s = n->scrub;
    int rc;
    if (!hd_shard_has(n->shard, s->found.unit, s->lane.layer))
        return HD_E_STATE;
    do {
        struct hd_lane_rows rows = {s->lane, s->lane_end, SIZE_MAX};
        if (hd_input_log_count(n->input_log, s->lane.sequence, s->lane.layer) < s->lane_end)
            return HD_E_LIMIT;
        s->list.n = 0;
        rc = hd_kv_list_add_lane(&s->list, n, &rows);
        if (rc == 0)
            rc = hd_kv_list_run(&s->list, n);
    } while (rc == HD_KV_AGAIN);
    if (rc == 0)
        hd_kv_counters(n->kv, s->lane.layer, s->lane.head)->rebuilt += hd_kv_list_rows(&s->list);
    return rc;
}

/* Rows of a head that is owned come back at once, of one that is held beside the steps. */
static void compute_again(struct hd_node *n)
{
    struct hd_scrub *s = n->scrub;
    uint64_t bit = UINT64_C(1) << s->lane.sequence;
    if (hd_shard_holds(n->shard, s->found.unit)) {
        hd_hold_behind(n, bit);
        s->found.repaired = true;
    }
    if (!hd_shard_owns(n->shard, s->found.unit))
        return;
    s->found.repaired = compute_lane(n) == 0;
    s->found.replay = !s->found.repaired;
    n->lost |= s->found.replay ? bit : 0;
}

int hd_scrub_repair(struct hd_node *n, struct hd_error *err)
{
    struct hd_scrub *s = n->scrub;
    int rc = 0;
    if (!s->broken)
        return 0;
    s->broken = false;
    if (s->found.kind == HD_DAMAGE_WEIGHTS)
        rc = load_again(n, err);
    else
        compute_again(n);
    hd_damage_tell(n, &s->found);
    return rc;
}
