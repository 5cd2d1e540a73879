/* pool.c - requests for the vector of a text: what is made of its prompt's rows behind the last
 * norm, instead of an answer. A row is a function of the tokens before it, and they are taken in
 * the order of positions, so the vector is a function of the request as every answer is. */
#include "leader/engine/engine_impl.h"

#include <math.h>
#include <string.h>

static void take_row(struct hd_engine *e, struct hd_request *r, size_t row)
{
    size_t dim = e->o.model->shape.dim;
    float *normalised = e->scratch;
    uint32_t position = e->rows[row].position;
    if (r->o.pooling == HD_POOLING_LAST && position + 1 < r->n_tokens)
        return;
    if (position == 0 || r->o.pooling == HD_POOLING_LAST) /* 0: it may have begun again */
        memset(r->pooled, 0, dim * sizeof *r->pooled);
    hd_final_norm(e, e->residual + row * dim, normalised);
    for (size_t i = 0; i < dim; i++)
        r->pooled[i] += (double)normalised[i];
}

static void end(struct hd_engine *e, struct hd_request *r)
{
    size_t dim = e->o.model->shape.dim;
    double rows = r->o.pooling == HD_POOLING_MEAN ? (double)r->n_tokens : 1;
    bool finite = true;
    for (size_t i = 0; i < dim; i++) {
        r->pooled[i] /= rows;
        finite &= isfinite(r->pooled[i]) != 0;
    }
    hd_request_end(e, r, finite ? HD_FINISH_STOP : HD_FINISH_ERROR, finite ? NULL : HD_NOT_FINITE);
}

void hd_pool_rows(struct hd_engine *e)
{
    for (size_t i = 0; i < e->n_rows; i++) {
        struct hd_request *r = e->rows[i].r;
        if (r->o.pooling == HD_POOLING_NONE || r->cancelled || r->ended)
            continue;
        take_row(e, r, i);
        if (e->rows[i].position + 1 == r->n_tokens)
            end(e, r);
    }
}
