/* Rows that workers have kept of an earlier leader: when they agree requests go on with them. */
#include "leader/engine/engine_impl.h"
#include "tests/unit/engine/solo.h"

#include <criterion/criterion.h>
#include <string.h>

enum { BLOCK = HD_PREFIX_BLOCK, MOST = 5 * BLOCK };

struct text {
    int32_t t[MOST];
};

static struct text text(int32_t own, const struct text *like, uint32_t same)
{
    struct text x;
    for (uint32_t i = 0; i < MOST; i++)
        x.t[i] = like && i < same ? like->t[i] : (own * 7 + (int32_t)i) % 250;
    return x;
}

/* A worker's word: it has rows of so many positions, and has seen so many tokens. */
static bool has(struct solo *f, uint32_t sequence, const struct text *x, uint32_t positions,
                uint32_t tokens)
{
    struct hd_kept_rows k = {
        .sequence = sequence, .positions = positions, .tokens = x->t, .n_tokens = tokens};
    bool used = hd_engine_adopt(f->engine, &k);
    cr_assert_null(hd_prefixes_check(&f->engine->prefixes));
    return used;
}

static uint32_t n_of(const struct solo *f, uint32_t sequence)
{
    uint32_t n;
    cr_assert_not_null(hd_engine_tokens(f->engine, sequence, &n));
    cr_assert_eq(n, f->positions[sequence], "the core is told the same");
    return n;
}

static void ask(struct solo *f, struct solo_client *c, const struct text *x, uint32_t n)
{
    struct hd_request *r;
    struct hd_error err = {0};
    struct hd_request_options o = {
        .id = "r", .tokens = x->t, .n_tokens = n, .max_tokens = 1, .ignore_eos = true};
    *c = (struct solo_client){0};
    cr_assert_eq(hd_engine_submit(f->engine, &o, &solo_events, c, &r, &err), 0, "%s", err.text);
    solo_run(f);
    cr_assert(c->ended && c->n == 1);
}

/* Each has what it has; what all have is there, and rows behind that are those of the same tokens.
 */
Test(engine_adopt, what_all_have_is_gone_on_with)
{
    struct solo f;
    struct solo_client c, fresh;
    struct text x = text(1, NULL, 0);
    solo_open_cached(&f, 32, 10000);
    hd_engine_set_ready(f.engine, false);
    cr_assert(has(&f, 2, &x, 201, 201), "a whole step");
    cr_assert_eq(n_of(&f, 2), 200, "the last row may be on its way");
    cr_assert(has(&f, 2, &x, 180, 181), "a step behind");
    cr_assert_eq(n_of(&f, 2), 180);
    cr_assert(has(&f, 2, &x, 190, 230), "a prompt's rows, under way");
    cr_assert_eq(n_of(&f, 2), 180);
    hd_engine_set_ready(f.engine, true);
    ask(&f, &c, &x, 230);
    cr_assert_eq(c.cached, 180);
    solo_close(&f);
    solo_open_cached(&f, 32, 10000);
    ask(&f, &fresh, &x, 230);
    cr_assert_eq(c.tokens[0], fresh.tokens[0]);
    solo_close(&f);
}

/* Rows of other tokens, or of tokens that nobody has asked for yet, go. */
Test(engine_adopt, rows_that_are_in_the_way_are_cut)
{
    static const struct {
        uint32_t positions, tokens, same, asked, cached;
        unsigned cuts;
    } cases[] = {
        {180, 230, MOST, 230, 180, 0}, /* all that may be there it has, too */
        {180, 230, 190, 230, 180, 1},        {180, 230, MOST, 200, 180, 1},
        {202, 203, MOST, 200, 199, 1},       /* the earlier leader was a few tokens further */
        {240, 241, MOST, 150, 2 * BLOCK, 0}, /* ... or it is another one's: a fork */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct solo f;
        struct solo_client c;
        struct text x = text(1, NULL, 0), y = text(2, &x, cases[i].same);
        solo_open_cached(&f, 32, 10000);
        cr_assert(has(&f, 2, &x, cases[i].positions, cases[i].tokens));
        ask(&f, &c, &y, cases[i].asked);
        cr_assert_eq(c.cached, cases[i].cached, "case %zu: %u", i, c.cached);
        cr_assert_eq(f.cuts, cases[i].cuts, "case %zu: %u", i, f.cuts);
        solo_close(&f);
    }
}

/* Two histories of one number: nobody can tell which rows are whose. */
Test(engine_adopt, who_disagrees_ends_it)
{
    struct solo f;
    struct text x = text(1, NULL, 0), y = text(2, &x, 100);
    solo_open_cached(&f, 32, 10000);
    cr_assert(has(&f, 2, &x, 180, 181));
    cr_assert_not(has(&f, 2, &y, 180, 181));
    cr_assert_eq(f.open, 0);
    cr_assert(has(&f, 2, &x, 180, 181));
    cr_assert_not(has(&f, 2, &x, 20, 21), "less than a block");
    cr_assert_eq(f.open, 0);
    cr_assert_not(has(&f, 3, &x, 64, 64), "the last row may be on its way");
    solo_close(&f);
}

/* A branch needs its parent, of the same scope. */
Test(engine_adopt, parents_come_first)
{
    struct solo f;
    struct text x = text(1, NULL, 0);
    struct hd_kept_rows child = {.sequence = 4,
                                 .parent = 2,
                                 .shared = 2 * BLOCK,
                                 .positions = 230,
                                 .tokens = x.t + 2 * BLOCK,
                                 .n_tokens = 240 - 2 * BLOCK};
    solo_open_cached(&f, 32, 10000);
    cr_assert_not(hd_engine_adopt(f.engine, &child));
    cr_assert(has(&f, 2, &x, 180, 181));
    child.scope = 1;
    cr_assert_not(hd_engine_adopt(f.engine, &child));
    child.scope = 0;
    cr_assert(hd_engine_adopt(f.engine, &child));
    cr_assert_eq(n_of(&f, 4), 230);
    cr_assert_not(has(&f, 2, &x, 100, 101), "its child needs more");
    cr_assert_eq(f.open, 0);
    solo_close(&f);
}

/* Of this leader's own only what it has sent itself. */
Test(engine_adopt, what_runs_is_looked_at)
{
    struct solo f;
    struct solo_client c = {0};
    struct hd_request *r;
    struct hd_error err = {0};
    struct text x = text(1, NULL, 0), y = text(2, &x, 50);
    struct hd_request_options o = {
        .id = "r", .tokens = x.t, .n_tokens = 200, .max_tokens = 1, .ignore_eos = true};
    solo_open_cached(&f, 32, 10000);
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c, &r, &err), 0);
    hd_engine_kick(f.engine);
    while (r->done < 96)
        solo_answer_half(&f);
    cr_assert(has(&f, r->sequence, &x, 96, 128));
    cr_assert(has(&f, r->sequence, &x, 80, 96));
    cr_assert_not(has(&f, r->sequence, &x, 96, 129), "it never sent that");
    cr_assert_not(has(&f, r->sequence, &y, 96, 128));
    cr_assert_eq(f.open, UINT64_C(1) << r->sequence);
    solo_run(&f);
    cr_assert(c.ended);
    solo_close(&f);
}
