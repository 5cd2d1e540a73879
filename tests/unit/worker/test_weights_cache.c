/* What is kept of the weights that came, under a limit. */
#include "supply_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

Test(weights_cache, the_limit_holds)
{
    struct world w;
    world_begin(&w, HD_Q4_0, 0);
    uint64_t half = world_bytes(&w) / 2;
    world_restart(&w, half);
    world_get_all(&w);
    world_restart(&w, half); /* all is written by now */
    uint64_t kept = hd_weights_cache_bytes(w.cache);
    cr_assert_leq(kept, half);
    cr_assert_geq(kept, half / 2);
    cr_assert_not(hd_weights_cache_has_room(w.cache, (size_t)half));
    world_restart(&w, half / 2);
    cr_assert_leq(hd_weights_cache_bytes(w.cache), half / 2, "a smaller limit holds at once");
    world_end(&w);
}

/* What is owned takes the place of what is not. Without a limit only that is kept. */
Test(weights_cache, what_is_owned_stays)
{
    struct world w;
    struct hd_error err = {0};
    char name[32], path[160];
    world_begin(&w, HD_Q4_0, 0);
    struct hd_piece_at last = hd_piece_nth(w.file, &w.units, world_pieces(&w) - 1);
    hd_supply_want(w.supply, last);
    world_get_all(&w);
    world_restart(&w, 0);
    hd_supply_want(w.supply, last);
    world_get_all(&w);
    cr_assert_eq(world_totals(&w).kept, 1);
    uint64_t half = world_bytes(&w) / 2;
    world_restart(&w, half);
    for (size_t i = 0; i < world_pieces(&w) - 1; i++) /* fills it */
        cr_assert_eq(world_get(&w, i, &err), 0);
    world_stop(&w);
    snprintf(name, sizeof name, "vocab-0-%u", last.unit);
    world_path(&w, name, path, sizeof path);
    cr_assert_eq(unlink(path), 0);
    world_start(&w, half);
    hd_supply_want(w.supply, last);
    world_get_all(&w);
    world_restart(&w, half);
    cr_assert_eq(world_get(&w, world_pieces(&w) - 1, &err), 0);
    cr_assert_eq(world_totals(&w).kept, 1);
    world_end(&w);
}

Test(weights_cache, other_models_go_first)
{
    struct world w;
    char path[160], old[200];
    world_begin(&w, HD_Q4_0, PLENTY);
    snprintf(path, sizeof path, "%s/weights/00000000000000ab", w.dir);
    snprintf(old, sizeof old, "%s/head-0-0", path);
    cr_assert_eq(mkdir(path, 0700), 0);
    int fd = open(old, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(ftruncate(fd, 1 << 20), 0);
    close(fd);
    world_restart(&w, PLENTY);
    cr_assert_eq(access(old, F_OK), 0, "there is room for it");
    world_restart(&w, world_bytes(&w) + 4096);
    world_get_all(&w);
    world_stop(&w);
    cr_assert_neq(access(path, F_OK), 0, "it had to go");
    world_start(&w, PLENTY);
    world_get_all(&w);
    cr_assert_eq(world_totals(&w).kept, world_pieces(&w));
    world_end(&w);
}
