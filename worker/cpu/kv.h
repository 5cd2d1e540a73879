/* kv.h - memory for K/V rows, and what proves them.
 *
 * One lane for each (sequence, layer, head): blocks of HD_ATTN_BLOCK positions, allocated when a
 * position in them is first needed. The first ones of a sequence that shares rows are its parent's;
 * where they lie is looked up for each half-step, so that nothing has to be counted. Which rows are
 * valid is known above (share/kv.h).
 *
 * Who writes a row seals it: its digest is made while it is in that core's cache. Distinct rows may
 * be written and sealed by several threads at once, and checked while nobody writes; every other
 * call belongs to the one thread that leads the team. */
#ifndef HD_WORKER_CPU_KV_H
#define HD_WORKER_CPU_KV_H

#include "worker/device.h"

struct hd_cpu_kv;

static inline struct hd_cpu_kv *hd_cpu_kv(struct hd_device_kv *kv)
{
    return (struct hd_cpu_kv *)(void *)kv; /* which it begins with */
}

/* A lane as hd_attention wants it. */
struct hd_kv_view {
    const void *const *k; /* [blocks]: each [HD_ATTN_BLOCK][head_dim] elements */
    const void *const *v; /* likewise */
};
struct hd_kv_view hd_cpu_kv_view(const struct hd_cpu_kv *kv, struct hd_kv_at at);

/* A lane of a sequence that shares rows finds them: before hd_cpu_kv_view, by one thread. */
void hd_cpu_kv_find_shared(const struct hd_cpu_kv *kv, struct hd_kv_at at);

/* Where the row of a reserved position lies: [head_dim] elements of the storage type. */
void *hd_cpu_kv_k(const struct hd_cpu_kv *kv, struct hd_kv_at at, uint32_t position);
void *hd_cpu_kv_v(const struct hd_cpu_kv *kv, struct hd_kv_at at, uint32_t position);
/* Makes the digest of a row that was just written. */
void hd_cpu_kv_seal(struct hd_cpu_kv *kv, struct hd_kv_at at, uint32_t position);

/* The device's operations (device.h). */
int hd_cpu_kv_new(struct hd_device *d, struct hd_device_kv **out);
void hd_cpu_kv_free(struct hd_device_kv *kv);
int hd_cpu_kv_reserve(struct hd_device_kv *kv, struct hd_kv_at at, uint32_t positions,
                      uint64_t *bytes);
void hd_cpu_kv_share(struct hd_device_kv *kv, uint32_t sequence, uint32_t parent, uint32_t shared);
struct hd_device_lane *hd_cpu_kv_lane(const struct hd_device_kv *kv, struct hd_kv_at at);
struct hd_device_lane *hd_cpu_kv_detach(struct hd_device_kv *kv, struct hd_kv_at at);
void hd_cpu_kv_discard(struct hd_device_kv *kv, struct hd_device_lane *lane);
size_t hd_cpu_kv_row_bytes(const struct hd_device_kv *kv);
void hd_cpu_kv_read(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t position, void *k,
                    void *v);
void hd_cpu_kv_digests(const struct hd_device_kv *kv, struct hd_kv_at at, uint32_t from,
                       uint32_t end, uint32_t *out);
uint32_t hd_cpu_kv_bad_row(const struct hd_device_kv *kv, const struct hd_device_lane *lane,
                           uint32_t from, uint32_t end);

#endif
