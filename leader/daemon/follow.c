/* follow.c - what standbys are told, what a standby hears, and what it goes on with. */
#include "leader/daemon/follow.h"

#include "common/util/clock.h"
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>
#include <string.h>

#define TELL_US 5000 /* steps are quicker with small models: then several go together */

static bool serves(const struct hd_leader *l)
{
    return !l->closing && !hd_leaders_standby(l);
}

/* ---- Telling ----*/

static void send_to(struct hd_other_leader *o, const Hydac__V1__Records *m)
{
    if (hd_conn_send(o->conn, HD_FRAME_RECORDS, &m->base, NULL) < 0)
        hd_conn_close(o->conn, false);
    else if (hd_conn_queued(o->conn) > HD_LEADERS_QUEUED - 2 * HD_FRAME_RECORDS_BODY)
        o->follower = (struct hd_follower){.slow = true}; /* told all when it has read that */
}

/* To all that follow, and to the journal. */
static void tell(struct hd_leader *l, Hydac__V1__Records *m)
{
    m->term = hd_leaders_term(l);
    m->number = ++l->follow.number;
    for (unsigned i = 0; i < l->role.n; i++)
        if (l->role.others[i].follower.synced)
            send_to(&l->role.others[i], m);
    hd_journal_add(&l->follow.journal, m);
}

static void tell_news(struct hd_leader *l, uint64_t now)
{
    struct hd_records_message m;
    l->follow.told_us = now;
    hd_records_init(&m);
    if (hd_records_news(&m, &l->follow.book)) {
        tell(l, &m.m);
        hd_book_told(&l->follow.book);
    }
    hd_records_deinit(&m);
}

static bool may_follow(const struct hd_other_leader *o)
{
    return !o->self && o->conn && o->open && o->there && !o->active && !o->follower.synced &&
           hd_conn_queued(o->conn) == 0;
}

/* All that lives, to one who knows nothing yet: a message for each, the first of which clears what
 * it had. */
static void tell_all(struct hd_leader *l, struct hd_other_leader *o)
{
    struct hd_records_message m;
    o->follower = (struct hd_follower){0};
    hd_records_init(&m);
    m.m.term = hd_leaders_term(l);
    m.m.number = l->follow.number;
    m.m.all = true;
    send_to(o, &m.m);
    for (const struct hd_record *r = l->follow.book.first; r; r = r->next) {
        hd_records_init(&m);
        m.m.term = hd_leaders_term(l);
        m.m.number = l->follow.number;
        hd_records_begin(&m, r);
        if (r->told && o->conn && hd_records_tokens(&m, r, true) == 0)
            send_to(o, &m.m);
        hd_records_deinit(&m);
    }
    if (o->follower.slow || !o->conn)
        return;
    o->follower = (struct hd_follower){.synced = true, .from = l->follow.number};
    hd_info(l->o.log, "standby_follows", "address=%s number=%" PRIu64, o->address,
            l->follow.number);
}

/* ---- Who is waited for ----*/

static bool is_waited_for(const struct hd_other_leader *o, uint64_t number)
{
    const struct hd_follower *f = &o->follower;
    return f->synced && !f->slow && number > f->from && number > f->acked;
}

static void look_at(struct hd_leader *l, struct hd_record *r)
{
    for (unsigned i = 0; i < l->role.n; i++)
        if (is_waited_for(&l->role.others[i], r->number))
            return;
    void (*sure)(void *) = r->sure;
    r->sure = NULL;
    sure(r->sure_arg); /* r may be gone */
}

static void look_at_all(struct hd_leader *l)
{
    for (struct hd_record *r = l->follow.book.first, *next; r; r = next) {
        next = r->next;
        if (r->sure)
            look_at(l, r);
    }
}

static void give_up_waiting(struct hd_leader *l, uint64_t now)
{
    for (struct hd_record *r = l->follow.book.first; r; r = r->next) {
        if (!r->sure || now - r->begun_us < HD_FOLLOW_WAIT_MS * 1000)
            continue;
        l->follow.not_waited++;
        for (unsigned i = 0; i < l->role.n; i++) {
            struct hd_other_leader *o = &l->role.others[i];
            if (!is_waited_for(o, r->number))
                continue;
            o->follower.slow = true;
            hd_warn(l->o.log, "standby_slow", "address=%s waited_ms=%u id=%s", o->address,
                    HD_FOLLOW_WAIT_MS, r->b.id);
        }
    }
    look_at_all(l);
}

void hd_follow_acked(struct hd_other_leader *o, const struct hd_frame *f)
{
    struct hd_leader *l = o->leader;
    Hydac__V1__RecordsAck *m = hydac__v1__records_ack__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_conn_close(o->conn, false);
        return;
    }
    o->follower.acked = m->number;
    hydac__v1__records_ack__free_unpacked(m, NULL);
    if (o->follower.slow && o->follower.synced && o->follower.acked == l->follow.number) {
        o->follower.slow = false;
        hd_info(l->o.log, "standby_caught_up", "address=%s", o->address);
    }
    look_at_all(l);
}

void hd_follow_lost(struct hd_other_leader *o)
{
    o->follower = (struct hd_follower){0};
    look_at_all(o->leader);
}

/* ---- Requests (hd_api_backend) ----*/

struct hd_record *hd_follow_begun(void *leader, const struct hd_record_begin *b,
                                  void (*sure)(void *arg), void *sure_arg, bool *wait)
{
    struct hd_leader *l = leader;
    struct hd_follow *w = &l->follow;
    *wait = false;
    struct hd_record *r = serves(l) ? hd_book_begin(&w->book, b) : NULL;
    if (!r) {
        w->unrecorded++;
        hd_warn(l->o.log, "not_recorded", "id=%s effect=\"it ends with this leader\"", b->id);
        return NULL;
    }
    struct hd_records_message m;
    hd_records_init(&m);
    hd_records_begin(&m, r);
    tell(l, &m.m);
    hd_records_deinit(&m);
    w->begun++;
    r->ours = r->told = true;
    r->number = w->number;
    r->begun_us = hd_now_us();
    for (unsigned i = 0; i < l->role.n; i++)
        *wait |= is_waited_for(&l->role.others[i], r->number);
    if (*wait) {
        r->sure = sure;
        r->sure_arg = sure_arg;
    }
    return r;
}

void hd_follow_sampled(void *leader, struct hd_record *r, unsigned choice, uint32_t index,
                       int32_t id)
{
    struct hd_leader *l = leader;
    if (index == r->answers[choice].n)
        hd_book_add(&l->follow.book, r, choice, &id, 1);
}

void hd_follow_ended(void *leader, struct hd_record *r, bool whole)
{
    struct hd_leader *l = leader;
    r->sure = NULL;
    if (whole && !l->closing)
        r->ended_us = hd_now_us();
    else
        hd_book_end(&l->follow.book, r, !l->closing); /* a standby, or the next start, goes on */
}

/* ---- A standby ----*/

void hd_follow_told(struct hd_peer *p, const struct hd_frame *f)
{
    struct hd_leader *l = p->leader;
    struct hd_error err = {0};
    Hydac__V1__Records *m = hydac__v1__records__unpack(NULL, f->body_len, f->body);
    Hydac__V1__RecordsAck ack = HYDAC__V1__RECORDS_ACK__INIT;
    int rc = m ? 0 : hd_fail(&err, HD_E_PROTO, "Records cannot be read");
    if (rc == 0 && serves(l))
        goto out; /* two that serve will meet; until then each has its own */
    /* Of two that serve the later one is followed; when that is gone, whoever is left. */
    if (rc == 0 && m->term < l->follow.book.term && !hd_leaders_serve_at(l, l->follow.book.term))
        l->follow.book.term = 0;
    if (rc == 0)
        rc = hd_book_take(&l->follow.book, m, &err);
    ack.number = m ? m->number : 0;
    if (rc == 0)
        rc = hd_conn_send(p->conn, HD_FRAME_RECORDS_ACK, &ack.base, NULL);
    if (rc < 0) {
        hd_warn(l->o.log, "records_refused", "reason=\"%s\"", err.text);
        hd_conn_close(p->conn, false); /* it comes again, and tells everything */
    }
out:
    if (m)
        hydac__v1__records__free_unpacked(m, NULL);
}

/* ---- Serving, and not any more ----*/

static bool is_of_this_model(const struct hd_leader *l, const struct hd_record *r)
{
    return !r->b.model_digest[0] || strcmp(r->b.model_digest, l->model_digest) == 0;
}

static void adopt(struct hd_leader *l, struct hd_record *r)
{
    struct hd_follow *w = &l->follow;
    const char *why = is_of_this_model(l, r) ? NULL : "it is another model's";
    if (!why && hd_api_adopt(l->api, r) < 0)
        why = "it cannot be begun again";
    if (why) {
        w->dropped++;
        hd_warn(l->o.log, "orphan_dropped", "id=%s reason=\"%s\"", r->b.id, why);
        hd_book_end(&w->book, r, true);
        return;
    }
    w->adopted++;
    hd_info(l->o.log, "orphan", "id=%s tokens=%u choices=%u", r->b.id, r->answers[0].n,
            r->b.choices);
}

void hd_follow_serve(struct hd_leader *l)
{
    if (!serves(l) || !l->api || hd_digests_not_ready(l))
        return;
    l->follow.book.term = hd_leaders_term(l);
    bool any = false;
    for (struct hd_record *r = l->follow.book.first, *next; r; r = next) {
        next = r->next;
        if (r->ours)
            continue;
        adopt(l, r);
        any = true;
    }
    if (any) /* a standby has none of it */
        hd_journal_rewrite(&l->follow.journal, &l->follow.book);
}

void hd_follow_step_down(struct hd_leader *l)
{
    if (l->api)
        hd_api_forget_records(l->api);
    hd_book_clear(&l->follow.book);
    l->follow.book.term = 0;
    for (unsigned i = 0; i < l->role.n; i++)
        l->role.others[i].follower = (struct hd_follower){0};
    hd_journal_rewrite(&l->follow.journal, &l->follow.book);
}

/* ---- Time ----*/

static void forget_ended(struct hd_leader *l, uint64_t now)
{
    for (struct hd_record *r = l->follow.book.first, *next; r; r = next) {
        next = r->next;
        if (r->ended_us > 0 && now - r->ended_us > HD_FOLLOW_LINGER_MS * 1000)
            hd_book_end(&l->follow.book, r, true);
    }
}

void hd_follow_tick(struct hd_leader *l, uint64_t now)
{
    if (!serves(l))
        return;
    hd_follow_serve(l);
    forget_ended(l, now);
    tell_news(l, now);
    for (unsigned i = 0; i < l->role.n; i++)
        if (may_follow(&l->role.others[i]))
            tell_all(l, &l->role.others[i]);
    give_up_waiting(l, now);
    hd_journal_tick(&l->follow.journal, l->o.loop, &l->follow.book, now);
}

void hd_follow_step(struct hd_leader *l, uint64_t now)
{
    if (l->follow.begun + l->follow.adopted > 0 && serves(l) && now - l->follow.told_us >= TELL_US)
        tell_news(l, now);
}

/* ---- Beginning, end, and what is told ----*/

int hd_follow_init(struct hd_leader *l, struct hd_error *err)
{
    l->follow.journal.fd = -1;
    if (!l->o.config->journal)
        return 0;
    int rc =
        hd_journal_open(&l->follow.journal, l->o.config->state_dir, &l->follow.book, l->o.log, err);
    unsigned n = 0;
    for (const struct hd_record *r = l->follow.book.first; r; r = r->next)
        n++;
    if (rc == 0)
        hd_info(l->o.log, "journal", "path=\"%s\" answers=%u", l->follow.journal.path, n);
    return rc;
}

void hd_follow_close(struct hd_leader *l)
{
    hd_journal_close(&l->follow.journal);
    hd_book_clear(&l->follow.book);
}

json_t *hd_follow_json(const struct hd_leader *l)
{
    const struct hd_follow *w = &l->follow;
    json_int_t records = 0, synced = 0, slow = 0;
    for (const struct hd_record *r = w->book.first; r; r = r->next)
        records++;
    for (unsigned i = 0; i < l->role.n; i++) {
        synced += l->role.others[i].follower.synced;
        slow += l->role.others[i].follower.slow;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "records", records,
                     "bytes", (json_int_t)w->book.bytes, "followers", synced, "slow", slow, "begun",
                     (json_int_t)w->begun, "unrecorded", (json_int_t)w->unrecorded, "not_waited",
                     (json_int_t)w->not_waited, "adopted", (json_int_t)w->adopted, "dropped",
                     (json_int_t)w->dropped, "journal", w->journal.path[0] != '\0');
}
