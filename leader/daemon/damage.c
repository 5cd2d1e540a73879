/* damage.c - what workers say of memory or files that were not what they had been: counted, told to
 * the core (a sequence to replay, a worker to drain), and told to whose answers it may be part of.
 *
 * Of a file's bytes nothing was computed: what is packed is checked first. Rows of a log are
 * checked where they are used. Packed weights go into every answer, K/V into those of its
 * sequence and of all that began with rows of it. */
#include "common/util/clock.h"
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>
#include <string.h>

static const char *const kinds[HD_DAMAGE_KINDS] = {
    [HD_DAMAGE_WEIGHTS] = "weights",
    [HD_DAMAGE_KV] = "kv",
    [HD_DAMAGE_LOG] = "log",
    [HD_DAMAGE_FILE] = "file",
};

const char *hd_damage_name(enum hd_damage kind)
{
    return kinds[kind];
}

/* The text goes into a line of the log: a worker does not end that line. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~' || *text == '"')
            *text = '?';
}

/* Marks the requests that may have used it, and names those that have ended. */
static unsigned mark(struct hd_leader *l, const Hydac__V1__Damage *m, char text[HD_EVENT_TEXT])
{
    uint64_t now = hd_now_us(), since = m->since_us < now ? now - m->since_us : 0;
    text[0] = 0;
    if (m->kind != HD_DAMAGE_WEIGHTS && m->kind != HD_DAMAGE_KV)
        return 0;
    uint32_t sequence = m->kind == HD_DAMAGE_KV ? m->sequence : HD_ALL_SEQUENCES;
    hd_trust_name_ended(l, since, sequence, text);
    return hd_engine_suspect(l->engine, sequence);
}

static void take(struct hd_peer *p, const Hydac__V1__Damage *m)
{
    struct hd_leader *l = p->leader;
    struct hd_worker_view v = {.name = "?"};
    hd_core_worker(l->core, (unsigned)p->slot, hd_now_us(), &v);
    char ended[HD_EVENT_TEXT];
    unsigned suspect = mark(l, m, ended);
    if (m->kind != HD_DAMAGE_FILE) /* a damaged copy has hundreds of pieces */
        memcpy(hd_leader_note(l, v.name, "damaged", kinds[m->kind])->text, ended, sizeof ended);
    p->wrong_pieces += m->kind == HD_DAMAGE_FILE;
    l->damages[p->slot][m->kind]++;
    hd_warn(l->o.log, "damage",
            "worker=%s kind=%s unit_kind=%u unit=%u layer=%u sequence=%u since_us=%" PRIu64
            " repaired=%s replay=%s suspect_requests=%u text=\"%s\"",
            v.name, kinds[m->kind], m->unit_kind, m->unit, m->layer, m->sequence, m->since_us,
            m->repaired ? "true" : "false", m->replay ? "true" : "false", suspect, m->text);
    struct hd_event ev = {.type = HD_EV_DAMAGE,
                          .slot = (unsigned)p->slot,
                          .damage = {.memory = m->kind != HD_DAMAGE_FILE,
                                     .replay = m->replay,
                                     .sequence = m->sequence}};
    hd_leader_event(l, &ev);
}

void hd_peer_damage(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Damage *m = hydac__v1__damage__unpack(NULL, f->body_len, f->body);
    if (!m || m->kind >= HD_DAMAGE_KINDS) {
        hd_peer_broke_rules(p, m ? "Damage of a kind that there is not" : "Damage cannot be read");
        goto out;
    }
    make_printable(m->text);
    take(p, m);
out:
    if (m)
        hydac__v1__damage__free_unpacked(m, NULL);
}
