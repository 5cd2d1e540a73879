/* digests.h - what a model's bytes are, as numbers: of every piece that a worker packs, of every
 * row of the embedding, of the norms. Whoever uses such bytes later compares.
 *
 * They are made from the files on all CPUs, once, and kept in a state folder
 *
 *   STATE/digests/MODEL'S DIGEST
 *
 * together with the stamp of the files (files.h) and of the cut into units: for other files, or a
 * release that cuts in another way, they are made anew. */
#ifndef HD_MODEL_DIGESTS_H
#define HD_MODEL_DIGESTS_H

#include "common/model/piece.h"

#include <stdatomic.h>

struct hd_digests {
    const struct hd_model *model; /* borrowed; it has its data */
    struct hd_units units;
    size_t n;        /* pieces */
    uint64_t *piece; /* [n], by piece.h's numbers; none is 0 */
    uint64_t *row;   /* [vocab]: XXH3 of a row of the embedding */
    uint64_t norms;  /* XXH3 of all norms: attention and FFN of each layer, then the output's */
};

/* Room for them, all 0. 0 or HD_E_NOMEM. */
int hd_digests_new(struct hd_digests **out, const struct hd_model *m);
void hd_digests_free(struct hd_digests *d); /* NULL is allowed */

/* Makes them, on so many threads besides nobody else's. HD_FILES_TOUCHED (files.h): they are made,
 * but a file was written to meanwhile. HD_E_STATE: *stop was set meanwhile; else HD_E_NOMEM,
 * HD_E_IO (a file has another length, or cannot be read). */
int hd_digests_make(struct hd_digests *d, unsigned threads, const _Atomic bool *stop,
                    struct hd_error *err);

/* Does the other say the same of the same model? Else *what is the first that differs. */
struct hd_digests_part {
    enum { HD_DIGESTS_PIECE, HD_DIGESTS_ROW, HD_DIGESTS_NORMS } kind;
    size_t index; /* piece, row */
};
bool hd_digests_same(const struct hd_digests *d, const struct hd_digests *other,
                     struct hd_digests_part *what);

/* One number of all of it, and of what the model is (model.h's digest). */
uint64_t hd_digests_whole(const struct hd_digests *d);

/* From the state folder. HD_E_NOTFOUND: there are none of these files; HD_E_NOMEM. */
int hd_digests_read(struct hd_digests *d, const char *state_dir);
/* Beside, then renamed. The folder must be there. HD_E_IO, HD_E_NOMEM. */
int hd_digests_write(const struct hd_digests *d, const char *state_dir, struct hd_error *err);

/* Of the norms as the files have them now. */
uint64_t hd_digests_norms(const struct hd_model *m);
/* Copies a row of the embedding to `to` [row_bytes]; false when it is not what it was. */
bool hd_digests_row(const struct hd_digests *d, uint32_t row, uint8_t *to);

#endif
