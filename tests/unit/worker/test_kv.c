/* The K/V store: rows in order, blocks on demand, counters that add up. */
#include "rig.h"

#include <string.h>

/* A store of its own beside the rig's node. */
static struct hd_kv *make(struct rig *r, enum hd_kv_type type)
{
    struct hd_kv *kv;
    rig_open(r, &(struct rig_options){.shape = "tiny", .type = HD_F32, .kv = type, .threads = 1});
    cr_assert_eq(hd_kv_new(&kv, r->device), 0);
    return kv;
}

static void done(struct rig *r, struct hd_kv *kv)
{
    hd_kv_free(kv);
    rig_close(r);
}

static struct hd_cpu_kv *memory(const struct hd_kv *kv)
{
    return hd_cpu_kv(hd_kv_memory(kv));
}

Test(kv, blocks_come_on_demand_and_are_counted)
{
    struct rig r;
    struct hd_kv *kv = make(&r, HD_KV_F16);
    struct hd_kv_at at = {.sequence = 1, .layer = 2, .head = 1};
    size_t row = r.model->shape.head_dim * sizeof(uint16_t);
    size_t block = HD_ATTN_BLOCK * (2 * row + 4); /* K and V, and a digest a position */
    cr_assert_eq(hd_kv_row_bytes(kv), row);
    cr_assert_eq(hd_kv_bytes(kv), 0);
    cr_assert_eq(hd_kv_reserve(kv, at, 1), 0);
    cr_assert_eq(hd_kv_bytes(kv), block);
    cr_assert_eq(hd_kv_reserve(kv, at, HD_ATTN_BLOCK), 0);
    cr_assert_eq(hd_kv_bytes(kv), block);
    cr_assert_eq(hd_kv_reserve(kv, at, HD_ATTN_BLOCK + 1), 0);
    cr_assert_eq(hd_kv_bytes(kv), 2 * block);
    cr_assert_eq(hd_kv_counters(kv, 2, 1)->bytes, 2 * block);
    cr_assert_eq(hd_kv_counters(kv, 2, 0)->bytes, 0);
    hd_kv_drop_head(kv, 1);
    cr_assert_eq(hd_kv_bytes(kv), 0);
    cr_assert_eq(hd_kv_counters(kv, 2, 1)->bytes, 0);
    done(&r, kv);
}

Test(kv, positions_beyond_the_limit_are_refused)
{
    struct rig r;
    struct hd_kv *kv = make(&r, HD_KV_F32);
    struct hd_kv_at at = {0, 0, 0};
    cr_assert_eq(hd_kv_reserve(kv, at, RIG_POSITIONS + 1), HD_E_LIMIT);
    cr_assert_eq(hd_kv_reserve(kv, at, RIG_POSITIONS), 0);
    done(&r, kv);
}

Test(kv, rows_are_valid_once_committed_and_lie_where_the_view_says)
{
    struct rig r;
    struct hd_kv *kv = make(&r, HD_KV_F32);
    struct hd_kv_at at = {.sequence = 3, .layer = 1, .head = 0};
    cr_assert_eq(hd_kv_valid(kv, at), 0);
    cr_assert_eq(hd_kv_reserve(kv, at, 100), 0);
    for (uint32_t p = 0; p < 100; p++) {
        memset(hd_cpu_kv_k(memory(kv), at, p), (int)p, hd_kv_row_bytes(kv));
        memset(hd_cpu_kv_v(memory(kv), at, p), (int)p + 100, hd_kv_row_bytes(kv));
    }
    cr_assert_eq(hd_kv_valid(kv, at), 0);
    hd_kv_commit(kv, at, 100);
    hd_kv_commit(kv, at, 40); /* never lowers */
    struct hd_kv_view view = hd_cpu_kv_view(memory(kv), at);
    cr_assert_eq(hd_kv_valid(kv, at), 100);
    size_t row = hd_kv_row_bytes(kv);
    for (uint32_t p = 0; p < 100; p++) {
        const uint8_t *k = (const uint8_t *)view.k[p / HD_ATTN_BLOCK] + p % HD_ATTN_BLOCK * row;
        const uint8_t *v = (const uint8_t *)view.v[p / HD_ATTN_BLOCK] + p % HD_ATTN_BLOCK * row;
        cr_assert_eq(k[0], p);
        cr_assert_eq(k[row - 1], p);
        cr_assert_eq(v[row - 1], p + 100);
    }
    done(&r, kv);
}

Test(kv, dropping_takes_what_was_named_and_nothing_else)
{
    struct rig r;
    struct hd_kv *kv = make(&r, HD_KV_F16);
    for (uint32_t s = 0; s < 4; s++)
        for (uint32_t h = 0; h < 2; h++) {
            struct hd_kv_at at = {s, 0, h};
            cr_assert_eq(hd_kv_reserve(kv, at, 10 + s), 0);
            hd_kv_commit(kv, at, 10 + s);
        }
    cr_assert_eq(hd_kv_valid_total(kv, 0, 0), 10 + 11 + 12 + 13);
    hd_kv_drop_sequence(kv, 2);
    cr_assert_eq(hd_kv_valid_total(kv, 0, 0), 10 + 11 + 13);
    hd_kv_drop_head(kv, 0);
    cr_assert_eq(hd_kv_valid_total(kv, 0, 0), 0);
    cr_assert_eq(hd_kv_valid_total(kv, 0, 1), 10 + 11 + 13);
    hd_kv_clear(kv);
    cr_assert_eq(hd_kv_valid_total(kv, 0, 1), 0);
    cr_assert_eq(hd_kv_bytes(kv), 0);
    cr_assert_eq(hd_kv_valid(kv, (struct hd_kv_at){2, 0, 1}), 0);
    done(&r, kv);
}

Test(kv, a_row_that_is_not_what_was_sealed_is_found_and_cut)
{
    struct rig r;
    struct hd_kv *kv = make(&r, HD_KV_F16);
    struct hd_kv_at at = {.sequence = 1, .layer = 2, .head = 1};
    cr_assert_eq(hd_kv_bad_row(kv, at, 0), UINT32_MAX);
    cr_assert_eq(hd_kv_reserve(kv, at, 100), 0);
    for (uint32_t p = 0; p < 90; p++) {
        memset(hd_cpu_kv_k(memory(kv), at, p), (int)p, hd_kv_row_bytes(kv));
        memset(hd_cpu_kv_v(memory(kv), at, p), (int)p + 100, hd_kv_row_bytes(kv));
        hd_cpu_kv_seal(memory(kv), at, p);
    }
    hd_kv_commit(kv, at, 90);
    cr_assert_eq(hd_kv_bad_row(kv, at, 0), UINT32_MAX);
    cr_assert_eq(hd_kv_bad_row(kv, at, 1), UINT32_MAX);
    *(uint8_t *)hd_cpu_kv_k(memory(kv), at, 91) ^= 1; /* no row is there yet */
    cr_assert_eq(hd_kv_bad_row(kv, at, 1), UINT32_MAX);
    *(uint8_t *)hd_cpu_kv_v(memory(kv), at, 89) ^= 0x80;
    *(uint8_t *)hd_cpu_kv_k(memory(kv), at, 7) ^= 1;
    cr_assert_eq(hd_kv_bad_row(kv, at, 0), 7);
    cr_assert_eq(hd_kv_bad_row(kv, at, 1), 89);
    hd_kv_cut(kv, at, 89);
    cr_assert_eq(hd_kv_valid(kv, at), 89);
    cr_assert_eq(hd_kv_bad_row(kv, at, 1), UINT32_MAX);
    hd_kv_cut(kv, at, 95); /* nothing to cut */
    cr_assert_eq(hd_kv_valid(kv, at), 89);
    done(&r, kv);
}
