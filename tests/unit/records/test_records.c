/* Books of records: what one says another has, word for word, and what makes no sense is refused.
 */
#include "leader/records/messages.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const int32_t prompt_a[] = {5, 6, 7}, prompt_b[] = {9};
static const struct hd_record_prompt prompts[] = {{prompt_a, 3, 1}, {prompt_b, 1, 2}};

static struct hd_record_begin begin_of(const char *id)
{
    return (struct hd_record_begin){.id = id,
                                    .client_id = "mine",
                                    .path = "/v1/completions",
                                    .model_digest = "0011223344556677",
                                    .owner = {1, 2, 3},
                                    .key = 1,
                                    .body = "{\"prompt\":1}",
                                    .body_len = 12,
                                    .seed = 1234567890123,
                                    .created = 77,
                                    .prompts = prompts,
                                    .n_prompts = 2,
                                    .choices = 4};
}

/* As over a connection: packed, unpacked, taken. */
static int pass(struct hd_book *to, Hydac__V1__Records *m)
{
    size_t len = hydac__v1__records__get_packed_size(m);
    uint8_t *buf = malloc(len + 1);
    hydac__v1__records__pack(m, buf);
    Hydac__V1__Records *other = hydac__v1__records__unpack(NULL, len, buf);
    struct hd_error err = {0};
    cr_assert_not_null(other);
    int rc = hd_book_take(to, other, &err);
    hydac__v1__records__free_unpacked(other, NULL);
    free(buf);
    return rc;
}

static int pass_begin(struct hd_book *to, struct hd_record *r, bool all)
{
    struct hd_records_message m;
    hd_records_init(&m);
    m.m.term = to->term;
    m.m.all = all;
    hd_records_begin(&m, r);
    cr_assert_eq(hd_records_tokens(&m, r, true), 0);
    r->told = true;
    int rc = pass(to, &m.m);
    hd_records_deinit(&m);
    return rc;
}

static bool pass_news(struct hd_book *from, struct hd_book *to)
{
    struct hd_records_message m;
    hd_records_init(&m);
    m.m.term = to->term;
    bool any = hd_records_news(&m, from);
    if (any)
        cr_assert_eq(pass(to, &m.m), 0);
    hd_book_told(from);
    hd_records_deinit(&m);
    return any;
}

static void same(const struct hd_record *a, const struct hd_record *b)
{
    cr_assert_str_eq(a->b.id, b->b.id);
    cr_assert_str_eq(a->b.client_id, b->b.client_id);
    cr_assert_str_eq(a->b.path, b->b.path);
    cr_assert_str_eq(a->b.model_digest, b->b.model_digest);
    cr_assert_arr_eq(a->b.owner, b->b.owner, HD_RECORD_OWNER);
    cr_assert_eq(a->b.key, b->b.key);
    cr_assert_eq(a->b.body_len, b->b.body_len);
    cr_assert_arr_eq(a->b.body, b->b.body, a->b.body_len);
    cr_assert_eq(a->b.seed, b->b.seed);
    cr_assert_eq(a->b.created, b->b.created);
    cr_assert_eq(a->b.n_prompts, b->b.n_prompts);
    for (size_t i = 0; i < a->b.n_prompts; i++) {
        cr_assert_eq(a->b.prompts[i].n, b->b.prompts[i].n);
        cr_assert_arr_eq(a->b.prompts[i].ids, b->b.prompts[i].ids, a->b.prompts[i].n * 4);
        cr_assert_eq(a->b.prompts[i].scope, b->b.prompts[i].scope);
    }
    cr_assert_eq(a->b.choices, b->b.choices);
    for (unsigned i = 0; i < a->b.choices; i++) {
        cr_assert_eq(a->answers[i].n, b->answers[i].n);
        if (a->answers[i].n > 0)
            cr_assert_arr_eq(a->answers[i].ids, b->answers[i].ids, a->answers[i].n * 4);
    }
}

Test(records, a_standby_has_what_the_leader_has)
{
    struct hd_book a = {0}, early = {.term = 3}, late = {.term = 3};
    struct hd_record_begin b = begin_of("cmpl-1"), b2 = begin_of("cmpl-2");
    struct hd_record *r = hd_book_begin(&a, &b), *r2 = hd_book_begin(&a, &b2);
    cr_assert(r && r2);
    cr_assert_eq(pass_begin(&early, r, true), 0);
    cr_assert_eq(pass_begin(&early, r2, false), 0);
    cr_assert_not(pass_news(&a, &early));
    for (int32_t t = 0; t < 200; t++)
        cr_assert(hd_book_add(&a, r, t % 4 == 3, &t, 1));
    cr_assert(pass_news(&a, &early));
    same(r, hd_book_find(&early, "cmpl-1"));
    int32_t more[] = {7, 8};
    cr_assert(hd_book_add(&a, r2, 2, more, 2));
    /* Who comes late gets all that was told, and then what is new, as everybody. */
    cr_assert_eq(pass_begin(&late, r, true), 0);
    cr_assert_eq(pass_begin(&late, r2, false), 0);
    cr_assert_eq(hd_book_find(&late, "cmpl-2")->answers[2].n, 0);
    cr_assert(hd_book_add(&a, r, 0, more, 2));
    struct hd_records_message m;
    hd_records_init(&m);
    m.m.term = 3;
    cr_assert(hd_records_news(&m, &a));
    cr_assert(pass(&early, &m.m) == 0 && pass(&late, &m.m) == 0);
    hd_records_deinit(&m);
    same(r, hd_book_find(&early, "cmpl-1"));
    same(r, hd_book_find(&late, "cmpl-1"));
    same(r2, hd_book_find(&late, "cmpl-2"));
    cr_assert_eq(early.bytes, a.bytes);
    hd_book_end(&a, r, true);
    cr_assert(pass_news(&a, &early));
    cr_assert_null(hd_book_find(&early, "cmpl-1"));
    cr_assert_eq(early.bytes, a.bytes);
    hd_book_clear(&a);
    hd_book_clear(&early);
    hd_book_clear(&late);
    cr_assert(a.bytes == 0 && early.bytes == 0 && late.bytes == 0);
}

Test(records, the_engines_names_are_found)
{
    struct hd_book a = {0};
    struct hd_record_begin b = begin_of("cmpl-1"), b2 = begin_of("cmpl-12");
    struct hd_record *r = hd_book_begin(&a, &b), *r2 = hd_book_begin(&a, &b2);
    unsigned choice;
    cr_assert_eq(hd_book_choice(&a, "cmpl-1", &choice), r);
    cr_assert_eq(choice, 0);
    cr_assert_eq(hd_book_choice(&a, "cmpl-12-3", &choice), r2);
    cr_assert_eq(choice, 3);
    cr_assert_eq(hd_record_prompt_of(r2, choice)->ids[0], 9);
    cr_assert_null(hd_book_choice(&a, "cmpl-12-4", &choice));
    cr_assert_null(hd_book_choice(&a, "cmpl-1-0", &choice));
    cr_assert_null(hd_book_choice(&a, "cmpl-", &choice));
    hd_book_clear(&a);
}

static int one(struct hd_book *to, const struct hd_record_begin *b,
               void (*spoil)(Hydac__V1__RecordBegin *b))
{
    struct hd_book from = {0};
    struct hd_records_message m;
    struct hd_record *r = hd_book_begin(&from, b);
    hd_records_init(&m);
    m.m.term = 3;
    hd_records_begin(&m, r);
    if (spoil)
        spoil(&m.begin);
    int rc = pass(to, &m.m);
    hd_book_clear(&from);
    return rc;
}

static uint32_t negative[] = {1, 0x80000000u};
static char spaced[] = "a b", nowhere[] = "v1", empty[] = "";
static char long_id[] = "0123456789012345678901234567890123456789012345678";
static void spoil_ids(Hydac__V1__RecordBegin *b)
{
    b->prompts[0]->ids = negative;
    b->prompts[0]->n_ids = 2;
}
static void spoil_id(Hydac__V1__RecordBegin *b)
{
    b->id = spaced;
}
static void spoil_long_id(Hydac__V1__RecordBegin *b)
{
    b->id = long_id;
}
static void spoil_no_id(Hydac__V1__RecordBegin *b)
{
    b->id = empty;
}
static void spoil_path(Hydac__V1__RecordBegin *b)
{
    b->path = nowhere;
}
static void spoil_owner(Hydac__V1__RecordBegin *b)
{
    b->owner.len = 3;
}
static void spoil_choices(Hydac__V1__RecordBegin *b)
{
    b->choices = 3;
}
static void spoil_many(Hydac__V1__RecordBegin *b)
{
    b->choices = 66;
}
static void spoil_prompts(Hydac__V1__RecordBegin *b)
{
    b->n_prompts = 0;
}
static void spoil_empty(Hydac__V1__RecordBegin *b)
{
    b->prompts[1]->n_ids = 0;
}
static void spoil_key(Hydac__V1__RecordBegin *b)
{
    b->key = 3;
}

Test(records, what_makes_no_sense_is_refused)
{
    static void (*const spoils[])(Hydac__V1__RecordBegin *) = {
        spoil_ids,     spoil_id,   spoil_long_id, spoil_no_id, spoil_path, spoil_owner,
        spoil_choices, spoil_many, spoil_prompts, spoil_empty, spoil_key};
    struct hd_book to = {.term = 3};
    struct hd_record_begin b = begin_of("cmpl-1");
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        cr_assert_lt(one(&to, &b, spoils[i]), 0, "spoil %zu", i);
        cr_assert_null(to.first);
    }
    cr_assert_eq(one(&to, &b, NULL), 0);
    cr_assert_eq(one(&to, &b, NULL), HD_E_PROTO, "twice");
    to.term = 4;
    cr_assert_eq(one(&to, &b, NULL), HD_E_PROTO, "of a term that is over");
    hd_book_clear(&to);
}

Test(records, tokens_follow_one_another)
{
    struct hd_book to = {.term = 3};
    struct hd_record_begin b = begin_of("cmpl-1");
    uint32_t ids[] = {3, 4};
    char id[] = "cmpl-1", other[] = "cmpl-2";
    Hydac__V1__RecordTokens t = HYDAC__V1__RECORD_TOKENS__INIT, *list[] = {&t};
    Hydac__V1__Records m = HYDAC__V1__RECORDS__INIT;
    m.term = 3;
    m.tokens = list;
    m.n_tokens = 1;
    t.id = id;
    t.ids = ids;
    t.n_ids = 2;
    cr_assert_eq(pass(&to, &m), HD_E_PROTO, "it has not begun");
    cr_assert_eq(one(&to, &b, NULL), 0);
    cr_assert_eq(pass(&to, &m), 0);
    cr_assert_eq(pass(&to, &m), HD_E_PROTO, "they are there");
    t.first = 3;
    cr_assert_eq(pass(&to, &m), HD_E_PROTO, "one is missing");
    t.first = 2;
    t.choice = 4;
    cr_assert_eq(pass(&to, &m), HD_E_PROTO, "no such choice");
    t.choice = 0;
    t.id = other;
    cr_assert_eq(pass(&to, &m), HD_E_PROTO, "no such record");
    t.id = id;
    t.ids = negative;
    cr_assert_eq(pass(&to, &m), HD_E_PROTO, "no token");
    t.ids = ids;
    cr_assert_eq(pass(&to, &m), 0);
    cr_assert_eq(to.first->answers[0].n, 4);
    hd_book_clear(&to);
}

Test(records, a_book_has_an_end)
{
    struct hd_book a = {0};
    struct hd_record_begin b = begin_of("cmpl-1");
    char *body = calloc(1, HD_RECORD_BODY + 1);
    b.body = body;
    b.body_len = HD_RECORD_BODY + 1;
    cr_assert_null(hd_book_begin(&a, &b));
    b.body_len = HD_RECORD_BODY;
    unsigned n = 0;
    while (hd_book_begin(&a, &b))
        n++;
    cr_assert_eq(n, HD_BOOK_BYTES / HD_RECORD_BODY - 1);
    cr_assert_leq(a.bytes, HD_BOOK_BYTES);
    hd_book_clear(&a);
    cr_assert_eq(a.bytes, 0);
    free(body);
}
