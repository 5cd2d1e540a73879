/* damage.c - what workers say of memory or files that were not what they had been. */
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>

static const char *const kinds[HD_DAMAGE_KINDS] = {
    [HD_DAMAGE_WEIGHTS] = "weights",
    [HD_DAMAGE_KV] = "kv",
    [HD_DAMAGE_LOG] = "log",
    [HD_DAMAGE_FILE] = "file",
};

/* The text goes into a line of the log: a worker does not end that line. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~' || *text == '"')
            *text = '?';
}

void hd_peer_damage(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Damage *m = hydac__v1__damage__unpack(NULL, f->body_len, f->body);
    if (!m || m->kind >= HD_DAMAGE_KINDS) {
        hd_peer_broke_rules(p, m ? "Damage of a kind that there is not" : "Damage cannot be read");
        goto out;
    }
    make_printable(m->text);
    hd_warn(p->leader->o.log, "damage",
            "slot=%d kind=%s unit_kind=%u unit=%u layer=%u sequence=%u since_us=%" PRIu64
            " repaired=%s replay=%s text=\"%s\"",
            p->slot, kinds[m->kind], m->unit_kind, m->unit, m->layer, m->sequence, m->since_us,
            m->repaired ? "true" : "false", m->replay ? "true" : "false", m->text);
out:
    if (m)
        hydac__v1__damage__free_unpacked(m, NULL);
}
