/* Rows that are there: which are found for a prompt, what is kept, and what goes first. */
#include "leader/engine/engine_impl.h"
#include "tests/unit/engine/solo.h"

#include <criterion/criterion.h>
#include <string.h>

enum { BLOCK = HD_PREFIX_BLOCK, MOST = 5 * BLOCK };

/* ---- The tree alone ----*/

/* Tokens that are those of `like` up to a position, and its own behind it. */
struct text {
    int32_t t[MOST];
};
static struct text text(int32_t own, const struct text *like, uint32_t same)
{
    struct text x;
    for (uint32_t i = 0; i < MOST; i++)
        x.t[i] = like && i < same ? like->t[i] : own * 1000 + (int32_t)i;
    return x;
}

static struct hd_prefix_match find(const struct hd_prefixes *p, const struct text *x, uint32_t n)
{
    return hd_prefixes_match(p, &(struct hd_prefix_ask){x->t, n, 0});
}

static void expect(struct hd_prefix_match m, uint32_t sequence, uint32_t positions, bool whole)
{
    cr_assert_eq(m.positions, positions, "%u of sequence %u", m.positions, m.sequence);
    cr_assert_eq(m.sequence, positions ? sequence : HD_NO_SEQUENCE);
    cr_assert_eq(m.whole, whole);
}

static void open(struct hd_prefixes *p, uint32_t sequence, struct hd_prefix_match m,
                 const struct text *x)
{
    hd_prefixes_open(p, sequence, &m)->tokens = x->t;
    cr_assert_null(hd_prefixes_check(p));
}

Test(prefixes, what_a_branch_and_its_parents_have_is_found)
{
    struct hd_prefixes p = {0};
    struct hd_prefix_match none = {.sequence = HD_NO_SEQUENCE};
    struct text a = text(1, NULL, 0), b = text(2, &a, 150), c = text(3, &b, 270);
    expect(find(&p, &a, MOST), 0, 0, false);
    open(&p, 4, none, &a);
    hd_prefixes_keep(&p, 4, 200);
    expect(find(&p, &a, 300), 4, 200, true);
    expect(find(&p, &a, 199), 4, 3 * BLOCK, false); /* one less, and it is a fork */
    expect(find(&p, &a, BLOCK - 1), 0, 0, false);
    expect(find(&p, &b, 300), 4, 2 * BLOCK, false);
    open(&p, 1, find(&p, &b, 300), &b);
    p.of[1].n = 300; /* it runs */
    expect(find(&p, &b, MOST), 1, 4 * BLOCK, false);
    open(&p, 0, find(&p, &c, 300), &c);
    cr_assert_eq(p.of[0].parent, 1);
    cr_assert_eq(p.of[0].shared, 4 * BLOCK);
    cr_assert_eq(p.of[0].lineage, 1u << 0 | 1u << 1 | 1u << 4);
    /* What a parent shares itself is forked from who has it. */
    struct text d = text(4, &c, 130);
    expect(find(&p, &d, MOST), 4, 2 * BLOCK, false);
    cr_assert_eq(hd_prefixes_with_parents(&p, 1), 0x13);
    cr_assert_eq(hd_prefixes_with_children(&p, 1u << 4), 0x13);
    cr_assert_eq(p.kept, 200);
}

Test(prefixes, what_a_running_one_will_have_is_waited_for)
{
    struct hd_prefixes p = {0};
    struct text a = text(1, NULL, 0), b = text(2, &a, 150);
    open(&p, 0, (struct hd_prefix_match){.sequence = HD_NO_SEQUENCE}, &a);
    p.of[0].coming = 200;
    cr_assert(find(&p, &b, 300).coming);
    cr_assert_not(find(&p, &b, BLOCK - 1).coming, "less than a block is not worth it");
    p.of[0].n = 130;
    cr_assert_not(find(&p, &b, 300).coming, "it has all that is shared");
    cr_assert(find(&p, &a, 300).coming);
    p.of[0].n = 200;
    cr_assert_not(find(&p, &a, 300).coming);
}

Test(prefixes, scopes_and_doubt_keep_apart)
{
    struct hd_prefixes p = {0};
    struct text a = text(1, NULL, 0);
    open(&p, 0, (struct hd_prefix_match){.sequence = HD_NO_SEQUENCE}, &a);
    hd_prefixes_keep(&p, 0, 100);
    struct hd_prefix_ask ask = {a.t, MOST, 7};
    cr_assert_eq(hd_prefixes_match(&p, &ask).positions, 0);
    p.of[0].scope = 7;
    cr_assert_eq(hd_prefixes_match(&p, &ask).positions, 100);
    p.of[0].doomed = true;
    cr_assert_eq(hd_prefixes_match(&p, &ask).positions, 0);
}

Test(prefixes, the_last_used_leaf_goes_first)
{
    struct hd_prefixes p = {0};
    struct hd_prefix_match none = {.sequence = HD_NO_SEQUENCE};
    struct text a = text(1, NULL, 0), b = text(2, &a, 128), c = text(3, NULL, 0);
    open(&p, 0, none, &a);
    hd_prefixes_keep(&p, 0, 200);
    open(&p, 1, none, &c);
    hd_prefixes_keep(&p, 1, 100);
    open(&p, 2, find(&p, &b, 200), &b);
    cr_assert_eq(hd_prefixes_spare(&p), 1u << 1, "the first one's rows are in use");
    hd_prefixes_keep(&p, 2, 150);
    cr_assert_eq(hd_prefixes_spare(&p), 0x7);
    cr_assert_eq(hd_prefixes_positions(&p, 0x7), 200 + 100 + 150 - 128);
    cr_assert_eq(p.kept, 322);
    cr_assert_eq(hd_prefixes_oldest(&p, 0x7), 1);
    cr_assert_eq(hd_prefixes_oldest(&p, 0x5), 2, "not one with children");
    p.of[2].doomed = true;
    cr_assert_eq(hd_prefixes_oldest(&p, 0x7), 2);
    hd_prefixes_close(&p, 2);
    hd_prefixes_resume(&p, 1);
    cr_assert_eq(hd_prefixes_oldest(&p, hd_prefixes_spare(&p)), 0);
    hd_prefixes_close(&p, 0);
    cr_assert_eq(hd_prefixes_oldest(&p, hd_prefixes_spare(&p)), HD_NO_SEQUENCE);
    cr_assert_eq(p.kept, 0);
}

/* ---- In the engine ----*/

static struct hd_request *ask(struct solo *f, struct solo_client *c, const struct text *x,
                              unsigned prompt, unsigned answer)
{
    int32_t ids[MOST];
    struct hd_request *r = NULL;
    struct hd_error err = {0};
    for (unsigned i = 0; i < prompt; i++)
        ids[i] = x->t[i] % 251;
    struct hd_request_options o = {
        .tokens = ids, .n_tokens = prompt, .max_tokens = answer, .ignore_eos = true};
    *c = (struct solo_client){0};
    cr_assert_eq(hd_engine_submit(f->engine, &o, &solo_events, c, &r, &err), 0, "%s", err.text);
    return r;
}

static struct hd_engine_stats stats_of(const struct solo *f)
{
    struct hd_engine_stats s;
    hd_engine_get_stats(f->engine, &s);
    cr_assert_null(hd_prefixes_check(&f->engine->prefixes));
    cr_assert_eq(s.kept, (unsigned)__builtin_popcountll(f->kept));
    return s;
}

Test(engine_cache, only_what_is_new_is_computed)
{
    struct solo f;
    struct solo_client a, b, c;
    struct text x = text(1, NULL, 0), y = text(2, &x, 150);
    solo_open_cached(&f, 32, 10000);
    ask(&f, &a, &x, 200, 3);
    solo_run(&f);
    cr_assert_eq(stats_of(&f).rows, 202);
    ask(&f, &b, &x, 200, 3); /* the same again: the last row's logits are needed */
    solo_run(&f);
    cr_assert_eq(b.cached, 3 * BLOCK);
    cr_assert_eq(stats_of(&f).rows, 202 + 10);
    cr_assert_arr_eq(a.tokens, b.tokens, 3 * sizeof *a.tokens);
    ask(&f, &c, &y, 170, 1);
    solo_run(&f);
    cr_assert_eq(c.cached, 2 * BLOCK);
    cr_assert_eq(stats_of(&f).kept_positions, 202 + 10 + 170 - 128);
    cr_assert_eq(stats_of(&f).reused_tokens, 192 + 128);
    cr_assert_eq(stats_of(&f).asked_tokens, 200 + 200 + 170);
    solo_close(&f);
}

Test(engine_cache, those_who_come_at_once_wait_for_the_first)
{
    struct solo f;
    struct solo_client a, b, c, short_one;
    struct text x = text(1, NULL, 0), y = text(2, &x, 150), z = text(3, NULL, 0);
    solo_open_cached(&f, 32, 10000);
    ask(&f, &a, &x, 200, 20);
    ask(&f, &b, &y, 170, 1);
    ask(&f, &short_one, &z, 5, 1);
    ask(&f, &c, &x, 199, 1);
    hd_engine_kick(f.engine);
    cr_assert_eq(stats_of(&f).running, 2, "the short one passes by");
    solo_run(&f);
    cr_assert_eq(b.cached, 128);
    cr_assert_eq(c.cached, 192);
    cr_assert(a.ended && b.ended && short_one.ended);
    cr_assert_eq(stats_of(&f).kept_positions, 219 + 170 - 128 + 199 - 192);
    /* Who leaves before it has the rows lets those who wait for them begin. */
    struct hd_request *r = ask(&f, &a, &z, 300, 1);
    ask(&f, &b, &z, 300, 1);
    hd_engine_kick(f.engine);
    solo_answer_half(&f);
    hd_engine_cancel(f.engine, r);
    solo_run(&f);
    cr_assert(b.ended && b.finish == HD_FINISH_LENGTH);
    solo_close(&f);
}

Test(engine_cache, kept_rows_give_way)
{
    struct solo f;
    struct solo_client c;
    struct text x[8];
    solo_open_cached(&f, 64, 1000);
    for (int i = 0; i < 8; i++) { /* there are five numbers */
        x[i] = text(10 + i, NULL, 0);
        ask(&f, &c, &x[i], 70, 1);
        solo_run(&f);
    }
    cr_assert_eq(stats_of(&f).kept, 5);
    cr_assert_eq(stats_of(&f).evictions, 3);
    /* Its room is that of the others, but for what it begins with. */
    struct hd_live_limit limit = {.logged = UINT64_MAX, .held = 330, .cached = 1000};
    hd_engine_set_live_limit(f.engine, &limit);
    ask(&f, &c, &x[7], 100, 60);
    solo_run(&f);
    cr_assert(c.ended && c.cached == 70 && c.finish == HD_FINISH_LENGTH);
    ask(&f, &c, &x[3], 300, 30); /* all there is */
    solo_run(&f);
    cr_assert(c.ended && c.finish == HD_FINISH_LENGTH, "%s", c.error);
    cr_assert_eq(stats_of(&f).kept, 1);
    limit.cached = 100; /* less memory, of a sudden */
    hd_engine_set_live_limit(f.engine, &limit);
    cr_assert_eq(stats_of(&f).kept, 0);
    cr_assert_eq(f.open, 0);
    solo_close(&f);
}

Test(engine_cache, what_may_be_wrong_is_not_begun_with)
{
    struct solo f;
    struct solo_client a, b, c;
    struct text x = text(1, NULL, 0), y = text(2, &x, 150), z = text(3, NULL, 0);
    solo_open_cached(&f, 32, 10000);
    ask(&f, &a, &x, 200, 1);
    solo_run(&f);
    uint32_t first = (uint32_t)__builtin_ctzll(f.kept);
    ask(&f, &c, &z, 200, 1);
    solo_run(&f);
    ask(&f, &b, &y, 170, 5);
    hd_engine_kick(f.engine);
    /* Damage in rows that another one computed: who begins with them is marked. */
    cr_assert_eq(hd_engine_suspect(f.engine, first), 1);
    solo_run(&f);
    cr_assert(b.suspect);
    cr_assert_eq(stats_of(&f).kept, 1, "%u: only the one that has nothing to do with it",
                 stats_of(&f).kept);
    ask(&f, &a, &y, 170, 1);
    solo_run(&f);
    cr_assert_eq(a.cached, 0);
    hd_engine_fail_running(f.engine, "who knows");
    cr_assert_eq(f.open, 0);
    solo_close(&f);
}

/* Workers have rows of a step that was given up, behind those that count: they are cut, for whoever
 * goes on may have other tokens there. */
Test(engine_cache, what_was_given_up_midway_is_cut)
{
    struct solo f;
    struct solo_client a, b, other;
    struct text x = text(1, NULL, 0), z = text(3, NULL, 0);
    solo_open_cached(&f, 32, 10000);
    struct hd_request *r = ask(&f, &a, &x, 200, 1);
    hd_engine_kick(f.engine);
    while (r->done < 96)
        solo_answer_half(&f);
    cr_assert(f.wanted && r->sent == 128, "a step is in hand");
    ask(&f, &other, &z, 10, 1);
    hd_engine_replay(f.engine, 0); /* of none of its own */
    f.wanted = false;
    hd_engine_cancel(f.engine, r);
    cr_assert_eq(stats_of(&f).kept_positions, 96);
    cr_assert_eq(f.cuts, 1);
    solo_run(&f);
    ask(&f, &b, &x, 97, 1);
    solo_run(&f);
    cr_assert_eq(b.cached, 96, "all that it had");
    cr_assert_eq(f.cuts, 1);
    solo_close(&f);
}

Test(engine_cache, a_replay_stands_alone)
{
    struct solo f;
    struct solo_client a, b;
    struct text x = text(1, NULL, 0), y = text(2, &x, 150);
    solo_open_cached(&f, 32, 10000);
    ask(&f, &a, &x, 200, 1);
    solo_run(&f);
    ask(&f, &b, &y, 170, 5);
    hd_engine_kick(f.engine);
    memset(f.positions, 0, sizeof f.positions);
    memset(f.shared, 0, sizeof f.shared);
    cr_assert_eq(hd_engine_replay(f.engine, UINT64_MAX), 128);
    f.wanted = false;
    cr_assert_eq(stats_of(&f).kept, 0);
    solo_run(&f);
    cr_assert(b.ended && b.finish == HD_FINISH_LENGTH);
    cr_assert_eq(stats_of(&f).rows, 200 + 174);
    solo_close(&f);
}
