/* beats.c - the table of what workers say with each heartbeat. */
#include "leader/daemon/beats.h"

#define AT(field) offsetof(Hydac__V1__HeartbeatAck, field)

const struct hd_beat hd_beats[] = {
    {AT(kv_bytes),
     "kv_bytes",
     false,
     {"hydac_worker_kv_bytes", "gauge", "Bytes of its K/V cache."},
     1},
    {AT(log_bytes),
     "log_bytes",
     false,
     {"hydac_worker_log_bytes", "gauge", "Bytes of its input log."},
     1},
    {AT(weight_bytes),
     "weight_bytes",
     false,
     {"hydac_worker_weight_bytes", "gauge", "Bytes of packed weights."},
     1},
    {AT(rss_bytes),
     "rss_bytes",
     false,
     {"hydac_worker_resident_memory_bytes", "gauge", "Its resident memory."},
     1},
    {AT(busy_us),
     "busy_us",
     false,
     {"hydac_worker_busy_seconds_total", "counter", "Time that it computed, since it started."},
     1e6},
    {AT(scrub_rounds),
     "scrub_rounds",
     true,
     {"hydac_worker_scrub_rounds_total", "counter", "Times that it has looked over its memory."},
     1},
    {AT(audits),
     "audits",
     true,
     {"hydac_worker_audits_total", "counter", "Audits of others that it has answered."},
     1},
    {AT(integrity_us),
     "integrity_us",
     true,
     {"hydac_worker_integrity_seconds_total", "counter",
      "Compute time it has spent on both, since it started."},
     1e6},
};
const size_t hd_n_beats = sizeof hd_beats / sizeof hd_beats[0];
_Static_assert(sizeof hd_beats / sizeof hd_beats[0] <= HD_MAX_BEATS, "there is room");

void hd_beats_read(struct hd_beat_values *out, const Hydac__V1__HeartbeatAck *m)
{
    for (size_t i = 0; i < hd_n_beats; i++)
        out->v[i] = *(const uint64_t *)((const char *)m + hd_beats[i].offset);
    out->scrub_clean_us = m->scrub_clean_us;
}

void hd_beats_json(const struct hd_beat_values *b, bool integrity, json_t *worker)
{
    for (size_t i = 0; i < hd_n_beats; i++)
        if (hd_beats[i].integrity == integrity)
            json_object_set_new(worker, hd_beats[i].key, json_integer((json_int_t)b->v[i]));
    if (integrity)
        json_object_set_new(worker, "scrub_clean_ms_ago",
                            b->scrub_clean_us ? json_real((double)b->scrub_clean_us / 1e3)
                                              : json_null());
}
