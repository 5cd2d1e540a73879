/* audit_rig.h - a worker that is audited, and its auditor. */
#ifndef HD_TESTS_AUDIT_RIG_H
#define HD_TESTS_AUDIT_RIG_H

#include "rig.h"
#include "worker/trust/audit.h"

enum { PROMPT = 70 };

/* What is audited, the auditor, and how much of it is the auditor's own. */
enum audit_overlap { NOTHING, ALL_OWNED, SOME_OWNED, ALL_HELD, HEADS_BARE };
struct audit_rig {
    struct rig worker, auditor;
    uint64_t audited;
    bool late; /* the auditor has seen nothing yet */
};

void audit_open(struct audit_rig *c, struct rig_options o, enum audit_overlap overlap);
void audit_open_tiny(struct audit_rig *c, enum audit_overlap overlap,
                     enum hd_activations activations);
void audit_close(struct audit_rig *c);

/* The units of a kind that a node owns, copied: an assignment may change the list. */
struct audit_units {
    uint32_t list[512];
    size_t n;
};
struct audit_units audit_owned(const struct rig *r, enum hd_unit_kind kind);

struct hd_half_step audit_half_step(struct audit_rig *c, const struct rig_rows *rows,
                                    enum hd_unit_kind kind, uint32_t layer);
/* The digest of what the audited worker sends; the auditor takes part in the step. */
uint64_t audit_step_digest(struct audit_rig *c, const struct hd_half_step *step);
void audit_order(struct audit_rig *c, const struct hd_half_step *step, bool fresh);
/* Does the next audit; returns how many slices it took. */
unsigned audit_finish(struct audit_rig *c, struct hd_audit_answer *a);
struct hd_audit_answer audit_now(struct audit_rig *c, const struct hd_half_step *step, bool fresh);
/* An attention half of `n` rows from a position of sequence 0; returns its digest. */
uint64_t audit_attend(struct audit_rig *c, struct rig_rows *rows, uint32_t layer, uint32_t first,
                      size_t n);
/* The same half-step once more, to be audited. */
struct hd_half_step audit_same_step(struct audit_rig *c, struct rig_rows *rows, uint32_t layer);

#endif
