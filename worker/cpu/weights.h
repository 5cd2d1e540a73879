/* weights.h - packed pieces: the weights of units, layer by layer, as the kernels want them.
 *
 * A head is its query heads' rows of Wq, its rows of Wk and Wv and its columns of Wo; an FFN block
 * its rows of gate and up and its columns of down; a vocab block its rows of the output matrix.
 * Models that rotate halves get their Wq and Wk rows permuted to interleaved pairs here, so that
 * the kernels know one order only. */
#ifndef HD_WORKER_CPU_WEIGHTS_H
#define HD_WORKER_CPU_WEIGHTS_H

#include "worker/cpu/pack.h"
#include "worker/device.h"

struct hd_cpu_weights;

static inline const struct hd_cpu_weights *hd_cpu_weights(const struct hd_device_weights *w)
{
    return (const struct hd_cpu_weights *)(const void *)w; /* which it begins with */
}

/* Of a piece that is there. */
const struct hd_head_weights *hd_cpu_head(const struct hd_cpu_weights *w, uint32_t head,
                                          uint32_t layer);
const struct hd_ffn_weights *hd_cpu_ffn(const struct hd_cpu_weights *w, uint32_t block,
                                        uint32_t layer);
const struct hd_vocab_weights *hd_cpu_vocab(const struct hd_cpu_weights *w, uint32_t block);
/* The memory of a piece, matrix by matrix; returns how many there are, 0: it is not there. */
struct hd_cpu_part {
    uint8_t *data;
    size_t bytes;
};
size_t hd_cpu_parts(const struct hd_cpu_weights *w, struct hd_piece_at at,
                    struct hd_cpu_part parts[HD_PIECE_MAX_CUTS]);

/* The device's operations (device.h). */
int hd_cpu_weights_new(struct hd_device *d, struct hd_device_weights **out);
void hd_cpu_weights_free(struct hd_device_weights *w);
int hd_cpu_load(struct hd_device_weights *w, struct hd_piece_at at, const uint8_t *bytes);
void hd_cpu_release(struct hd_device_weights *w, struct hd_piece_at at);
uint64_t hd_cpu_piece_bytes(const struct hd_device_weights *w, struct hd_piece_at at);
size_t hd_cpu_walk(const struct hd_device_weights *w, struct hd_piece_at at,
                   struct hd_piece_walk *walk);

#endif
