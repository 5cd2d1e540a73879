/* Weights from a leader: what is asked for, what is kept, what is not believed. */
#include "supply_rig.h"
#include "worker/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(supply, fetched_once)
{
    struct world w;
    world_begin(&w, HD_Q4_0, PLENTY);
    world_get_all(&w);
    cr_assert_eq(world_totals(&w).fetched, world_pieces(&w));
    cr_assert_leq(w.most_asked, HD_WEIGHTS_IN_FLIGHT);
    world_restart(&w, PLENTY);
    world_get_all(&w);
    cr_assert_eq(world_totals(&w).fetched, 0);
    cr_assert_eq(world_totals(&w).kept, world_pieces(&w));
    cr_assert_eq(w.requests, 0, "what is kept has the leader's digest");
    world_end(&w);
}

/* Pieces of several chunks, at most so many on the way. */
Test(supply, large_pieces)
{
    struct world w;
    struct hd_error err = {0};
    world_begin(&w, HD_F32, PLENTY);
    hd_supply_set_window(w.supply, 1);
    cr_assert_eq(world_get(&w, 0, &err), 0);
    cr_assert_eq(w.most_asked, 1);
    hd_supply_set_window(w.supply, HD_WEIGHTS_IN_FLIGHT);
    world_get_all(&w);
    cr_assert_gt(w.requests, world_pieces(&w));
    world_end(&w);
}

Test(supply, damage_is_noticed)
{
    struct world w;
    char path[160];
    world_begin(&w, HD_Q4_0, PLENTY);
    world_get_all(&w);
    world_stop(&w);
    world_damage(&w, "head-0-0", 1000); /* bytes that are not what the digest says */
    world_damage(&w, "ffn-1-2", 3);     /* the digest itself */
    world_path(&w, "vocab-0-1", path, sizeof path);
    cr_assert_eq(truncate(path, 100), 0);
    world_path(&w, "ffn-0-0", path, sizeof path);
    cr_assert_eq(unlink(path), 0);
    world_start(&w, PLENTY);
    world_get_all(&w);
    cr_assert_eq(world_totals(&w).fetched, 4);
    cr_assert_eq(world_totals(&w).kept, world_pieces(&w) - 4);
    cr_assert_eq(w.refused[HD_SUPPLY_KEPT], 2, "one is gone, one too short to be listed");
    world_restart(&w, PLENTY);
    world_get_all(&w);
    cr_assert_eq(world_totals(&w).fetched, 0);
    world_end(&w);
}

/* The session ends in the middle: what was kept stays, the rest is asked for again. */
Test(supply, interrupted)
{
    struct world w;
    struct hd_error err = {0};
    struct hd_piece_bytes *b;
    world_begin(&w, HD_F32, PLENTY);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(world_get(&w, i, &err), 0);
    cr_assert_eq(hd_supply_get(w.supply, hd_piece_nth(w.file, &w.units, 5), &b), HD_SUPPLY_LATER);
    cr_assert(hd_supply_on_the_way(w.supply));
    hd_supply_begin(w.supply);
    w.n_asked = 0;
    cr_assert_not(hd_supply_on_the_way(w.supply));
    world_get_all(&w);
    cr_assert_eq(world_totals(&w).fetched + world_totals(&w).kept, world_pieces(&w) + 5);
    world_end(&w);
}

Test(supply, lies)
{
    struct world w;
    struct hd_error err = {0};
    world_begin(&w, HD_Q4_0, PLENTY);
    w.lies_after = 1;
    cr_assert_eq(world_get(&w, 0, &err), HD_E_PROTO);
    hd_supply_begin(w.supply);
    w.n_asked = 0;
    struct hd_weights_answer unasked = {.at = {HD_UNIT_HEAD, 1, 1}, .digest = 5};
    cr_assert_eq(hd_supply_take(w.supply, &unasked, &err), HD_E_PROTO);
    struct hd_piece_bytes *b;
    cr_assert_eq(hd_supply_get(w.supply, unasked.at, &b), HD_SUPPLY_LATER);
    cr_assert_eq(hd_supply_take(w.supply, &unasked, &err), HD_E_PROTO, "no bytes");
    world_end(&w);
}

/* Everything is fetched when nobody waits; then there is nothing more to do. */
Test(supply, ahead)
{
    struct world w;
    struct hd_error err = {0};
    world_begin(&w, HD_F32, PLENTY);
    cr_assert_eq(world_get(&w, 3, &err), 0);
    while (hd_supply_ahead(w.supply))
        while (hd_supply_on_the_way(w.supply)) {
            cr_assert_eq(world_answer(&w, &err), 0, "%s", err.text);
            hd_supply_pump(w.supply);
        }
    cr_assert_eq(world_totals(&w).fetched, world_pieces(&w));
    world_restart(&w, PLENTY);
    cr_assert_not(hd_supply_ahead(w.supply));
    world_get_all(&w);
    cr_assert_eq(w.requests, 0, "a takeover does not wait for the network");
    world_end(&w);
}

/* Packed from pieces the weights are those that are packed from the file. */
static void same_piece(const struct hd_shard *a, const struct hd_shard *b, struct hd_piece_at at)
{
    struct hd_cpu_part x[HD_PIECE_MAX_CUTS], y[HD_PIECE_MAX_CUTS];
    size_t n = hd_cpu_parts(hd_cpu_weights(hd_shard_memory(a)), at, x);
    cr_assert_gt(n, 0);
    cr_assert_eq(hd_cpu_parts(hd_cpu_weights(hd_shard_memory(b)), at, y), n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(x[i].bytes, y[i].bytes);
        cr_assert_arr_eq(x[i].data, y[i].data, x[i].bytes);
    }
}

static void expect_same(const struct world *w, const struct hd_shard *a, const struct hd_shard *b)
{
    cr_assert_eq(hd_shard_bytes(a), hd_shard_bytes(b));
    for (size_t i = 0; i < hd_piece_count(w->file, &w->units); i++)
        same_piece(a, b, hd_piece_nth(w->file, &w->units, i));
}

/* All units of the device's model; with a supply, or unchecked. */
static struct hd_shard *load_all(const struct world *w, struct hd_supply *supply,
                                 struct hd_device *device)
{
    struct hd_error err = {0};
    struct hd_shard *s;
    uint32_t list[64];
    for (uint32_t i = 0; i < 64; i++)
        list[i] = i;
    struct hd_unit_list want[HD_UNIT_KINDS] = {
        {list, w->units.heads}, {list, w->units.ffn_blocks}, {list, w->units.vocab_blocks}};
    cr_assert_eq(hd_shard_new(&s, device), 0);
    hd_shard_set_supply(s, supply);
    cr_assert_eq(hd_shard_assign(s, want, &err), HD_SHARD_LOADED, "%s", err.text);
    return s;
}

static struct hd_device *device_of(const struct hd_model *m, struct hd_team *team)
{
    struct hd_device *d;
    struct hd_device_options o = {
        .model = m, .threads = hd_team_threads(team), .isa = hd_isa_best(), .team = team};
    cr_assert_eq(hd_cpu_device.create(&d, &o, NULL), 0);
    return d;
}

/* The worker's shard is that of the leader's file. */
static void packs_the_leaders(const struct world *w)
{
    struct hd_team *team;
    struct hd_team_options o = {.threads = 2, .name = "test"};
    cr_assert_eq(hd_team_new(&team, &o), 0);
    struct hd_device *file = device_of(w->file, team), *outline = device_of(w->outline, team);
    struct hd_shard *a = load_all(w, NULL, file);
    struct hd_shard *b = load_all(w, w->supply, outline);
    expect_same(w, a, b);
    hd_shard_free(a);
    hd_shard_free(b);
    hd_device_free(file);
    hd_device_free(outline);
    hd_team_free(team);
}

static const enum hd_dtype all_types[] = {HD_F32, HD_F16, HD_BF16, HD_Q8_0, HD_Q4_0, HD_Q4_1};
#define N_TYPES (sizeof all_types / sizeof *all_types)

Test(supply, packs_the_same)
{
    for (size_t t = 0; t < N_TYPES; t++) {
        struct world w;
        world_begin(&w, all_types[t], PLENTY);
        packs_the_leaders(&w);
        cr_assert_eq(world_totals(&w).fetched, world_pieces(&w));
        world_end(&w);
    }
}

/* ---- A worker with a file of its own ----*/

Test(supply, a_whole_file_needs_nobody)
{
    for (size_t t = 0; t < N_TYPES; t++) {
        struct world w;
        world_begin(&w, all_types[t], PLENTY);
        world_give_file(&w);
        packs_the_leaders(&w);
        cr_assert_eq(w.requests + w.refused[HD_SUPPLY_FILE], 0);
        world_end(&w);
    }
}

/* Zeros in the middle of a matrix: all FFN blocks of that layer, and nothing else, from the leader;
 * each is told of once. */
Test(supply, wrong_bytes_come_from_the_leader)
{
    struct world w;
    world_begin(&w, HD_Q4_0, PLENTY);
    world_give_file(&w);
    const struct hd_tensor *t = &w.outline->layers[1].down;
    world_overwrite(&w, t->data + t->rows / 2 * t->row_bytes, t->row_bytes);
    packs_the_leaders(&w);
    cr_assert_eq(w.refused[HD_SUPPLY_FILE], w.units.ffn_blocks);
    cr_assert_eq(world_totals(&w).fetched, w.units.ffn_blocks);
    cr_assert_eq(w.last_refused.kind, HD_UNIT_FFN);
    cr_assert_eq(w.last_refused.layer, 1);
    packs_the_leaders(&w);
    cr_assert_eq(w.refused[HD_SUPPLY_FILE], w.units.ffn_blocks, "told once");
    cr_assert_eq(world_totals(&w).kept, w.units.ffn_blocks, "and kept");
    world_end(&w);
}

/* The file ends before its data while it is open. */
Test(supply, a_file_that_is_gone)
{
    struct world w;
    world_begin(&w, HD_F16, PLENTY);
    world_give_file(&w);
    cr_assert_eq(truncate(w.own, 4096), 0);
    packs_the_leaders(&w);
    cr_assert_gt(w.refused[HD_SUPPLY_FILE], world_pieces(&w) / 2);
    cr_assert_eq(world_totals(&w).fetched, w.refused[HD_SUPPLY_FILE]);
    world_end(&w);
}

/* Another leader has other weights behind the same name: what was refused may be right for it. */
Test(supply, another_leader)
{
    struct world w;
    struct hd_piece_bytes *b;
    world_begin(&w, HD_Q4_0, 0);
    world_give_file(&w);
    struct hd_piece_at at = hd_piece_nth(w.file, &w.units, 0);
    const struct hd_tensor *t = &w.outline->layers[0].wq;
    world_overwrite(&w, t->data, 1);
    uint8_t *bytes = malloc(hd_supply_piece_bytes(w.supply, at));
    cr_assert_eq(hd_supply_get(w.supply, at, &b), HD_SUPPLY_OWN);
    cr_assert_not(hd_supply_read_own(w.supply, at, bytes));
    hd_supply_refuse_own(w.supply, at);
    cr_assert_eq(hd_supply_get(w.supply, at, &b), HD_SUPPLY_LATER);
    hd_supply_begin(w.supply);
    w.n_asked = 0;
    uint64_t digest = hd_piece_digest(bytes, hd_supply_piece_bytes(w.supply, at));
    hd_supply_learn(w.supply, 0, &digest, 1);
    cr_assert_eq(hd_supply_get(w.supply, at, &b), HD_SUPPLY_OWN);
    cr_assert(hd_supply_read_own(w.supply, at, bytes));
    free(bytes);
    world_end(&w);
}
