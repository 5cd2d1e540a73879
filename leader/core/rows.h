/* rows.h - K/V rows that two workers have computed are compared. */
#ifndef HD_CORE_ROWS_H
#define HD_CORE_ROWS_H

#include "leader/core/audits.h"

/* What workers say of the K/V rows of one sequence and head, in the present epoch. */
struct same_rows {
    unsigned n;
    struct {
        unsigned slot;
        uint64_t digest;
    } said[MAX_OPINIONS]; /* the first ones */
};

struct rows {
    struct same_rows *same; /* [heads][HD_MAX_SEQUENCES] */
};

int core_rows_init(struct hd_core *c);
void core_rows_deinit(struct hd_core *c);
/* False when a digest is of what does not exist. */
bool core_rows_make_sense(const struct hd_core *c, const struct hd_kv_info *kv);
/* A confirmation of the present epoch. */
void core_rows_said(struct hd_core *c, unsigned slot, const struct hd_kv_info *kv);
/* All have confirmed: compares. Somebody may be lost by it, sequences spoiled. */
void core_rows_compare(struct hd_core *c);
void core_rows_forget(struct hd_core *c);

#endif
