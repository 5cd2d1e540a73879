/* shard.h - the packed weights of the units a worker owns.
 *
 * A head is its query heads' rows of Wq, its rows of Wk and Wv and its columns of Wo, in every
 * layer; an FFN block its rows of gate and up and its columns of down; a vocab block its rows of
 * the output matrix. Assigning packs only what is new (a failover loads only what moved), on the
 * compute team. Models that rotate halves get their Wq and Wk rows permuted to interleaved pairs
 * here, so that the kernels know one order only. */
#ifndef HD_WORKER_SHARD_H
#define HD_WORKER_SHARD_H

#include "common/math/kernels.h"
#include "common/math/team.h"
#include "common/model/model.h"

enum hd_shard_kind { HD_SHARD_HEAD, HD_SHARD_FFN, HD_SHARD_VOCAB, HD_SHARD_KINDS };

/* One head in one layer. */
struct hd_head_weights {
    struct hd_weights q; /* [n_rep * head_dim][dim] */
    struct hd_weights k; /* [head_dim][dim] */
    struct hd_weights v; /* [head_dim][dim] */
    struct hd_weights o; /* [dim][n_rep * head_dim] */
};

/* One FFN block in one layer; width = ffn_width, or less for the last block. */
struct hd_ffn_weights {
    struct hd_weights gate, up; /* [width][dim] */
    struct hd_weights down;     /* [dim][width] */
};

/* Unit numbers, ascending. */
struct hd_unit_list {
    const uint32_t *list;
    size_t n;
};

struct hd_shard;

int hd_shard_new(struct hd_shard **out, const struct hd_model *model, struct hd_team *team);
void hd_shard_free(struct hd_shard *s);

/* Own exactly these from now on. On failure (HD_E_NOMEM, or what packing said) nothing new is owned
 * and what is not in `want` is dropped all the same. */
int hd_shard_assign(struct hd_shard *s, const struct hd_unit_list want[HD_SHARD_KINDS],
                    struct hd_error *err);
struct hd_unit_list hd_shard_owned(const struct hd_shard *s, enum hd_shard_kind kind);
bool hd_shard_owns(const struct hd_shard *s, enum hd_shard_kind kind, uint32_t unit);
uint64_t hd_shard_bytes(const struct hd_shard *s);
const struct hd_units *hd_shard_units(const struct hd_shard *s);

/* Weights of an owned unit. */
const struct hd_head_weights *hd_shard_head(const struct hd_shard *s, uint32_t head,
                                            uint32_t layer);
const struct hd_ffn_weights *hd_shard_ffn(const struct hd_shard *s, uint32_t block, uint32_t layer);
const struct hd_weights *hd_shard_vocab(const struct hd_shard *s, uint32_t block);

#endif
