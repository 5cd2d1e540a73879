/* picks.h - the rows of an FFN half by the experts that they want, for every device. */
#ifndef HD_WORKER_PICKS_H
#define HD_WORKER_PICKS_H

#include "worker/device.h"

/* Expert e has the entries first[e] .. first[e + 1] - 1, its rows ascending. */
struct hd_picks {
    size_t *first; /* [experts + 1] */
    uint32_t *row; /* [most rows * used] */
    float *weight; /* likewise: what the expert's output of the row is multiplied with */
    uint32_t experts, used;
};

/* For steps of up to so many rows. Of a model without experts it stays empty. 0 or HD_E_NOMEM; what
 * there is then is given back by deinit all the same. */
int hd_picks_init(struct hd_picks *p, const struct hd_model *m, size_t rows);
void hd_picks_deinit(struct hd_picks *p);
void hd_picks_sort(struct hd_picks *p, const struct hd_rows *rows);

#endif
