/* traffic.c - counts frames by kind and direction, and steps by whether they were of one row each.
 */
#include "leader/daemon/traffic.h"

#include "common/net/frame.h"
#include "leader/metrics/exposition.h"

static const char *const kind_names[HD_TRAFFIC_KINDS] = {
    [HD_TRAFFIC_ATTENTION] = "attention", [HD_TRAFFIC_FFN] = "ffn",
    [HD_TRAFFIC_LOGITS] = "logits",       [HD_TRAFFIC_LOGS] = "logs",
    [HD_TRAFFIC_WEIGHTS] = "weights",     [HD_TRAFFIC_REST] = "rest",
};
static const char *const way_names[HD_TRAFFIC_WAYS] = {"down", "up"};

/* ---- Counting ----*/

void hd_traffic_half(struct hd_traffic *t, const struct hd_half_work *w)
{
    t->single = w->groups == 1;
    for (size_t i = 0; i < w->n_sequences; i++)
        t->single = t->single && w->by_sequence[i].rows == 1;
    if (w->half == HD_HALF_ATTENTION && w->layer == 0)
        t->rows = w->rows + (w->group > 0 ? t->rows : 0);
}

void hd_traffic_step_done(struct hd_traffic *t)
{
    t->steps[t->single].rows += t->rows;
}

static enum hd_traffic_kind kind_of(const struct hd_traffic_frame *f)
{
    switch (f->type) {
    case HD_FRAME_STEP:
    case HD_FRAME_STEP_RESULT:
        return f->half >= 0 && f->half <= HD_HALF_LOGITS ? (enum hd_traffic_kind)f->half
                                                         : HD_TRAFFIC_REST;
    case HD_FRAME_FILL_LOG:
    case HD_FRAME_LOG_STATE:
    case HD_FRAME_FETCH:
    case HD_FRAME_ROWS:
        return HD_TRAFFIC_LOGS;
    case HD_FRAME_WEIGHTS_REQUEST:
    case HD_FRAME_WEIGHTS:
        return HD_TRAFFIC_WEIGHTS;
    default:
        return HD_TRAFFIC_REST;
    }
}

void hd_traffic_count(struct hd_traffic *t, const struct hd_traffic_frame *f)
{
    enum hd_traffic_kind kind = kind_of(f);
    t->bytes[kind][f->way] += f->bytes;
    if (kind <= HD_TRAFFIC_LOGITS)
        t->steps[t->single].bytes[f->way] += f->bytes;
}

/* ---- Showing ----*/

static json_t *steps_json(const struct hd_traffic_steps *s)
{
    double rows = s->rows > 0 ? (double)s->rows : 1;
    return json_pack("{sI sI sI sf sf}", "rows", (json_int_t)s->rows, "down",
                     (json_int_t)s->bytes[HD_TRAFFIC_DOWN], "up",
                     (json_int_t)s->bytes[HD_TRAFFIC_UP], "down_per_row",
                     (double)s->bytes[HD_TRAFFIC_DOWN] / rows, "up_per_row",
                     (double)s->bytes[HD_TRAFFIC_UP] / rows);
}

json_t *hd_traffic_json(const struct hd_traffic *t)
{
    json_t *kinds = json_object();
    for (int k = 0; k < HD_TRAFFIC_KINDS; k++)
        json_object_set_new(kinds, kind_names[k],
                            json_pack("{sI sI}", "down", (json_int_t)t->bytes[k][HD_TRAFFIC_DOWN],
                                      "up", (json_int_t)t->bytes[k][HD_TRAFFIC_UP]));
    return json_pack("{so so so}", "kinds", kinds, "decode", steps_json(&t->steps[1]), "prefill",
                     steps_json(&t->steps[0]));
}

void hd_traffic_expose(FILE *out, const struct hd_traffic *t)
{
    static const struct hd_family f = {"hydac_cluster_bytes_total", "counter",
                                       "Bytes of frames to (down) and from (up) workers."};
    hd_exposition_family(out, &f);
    for (int k = 0; k < HD_TRAFFIC_KINDS; k++)
        for (int w = 0; w < HD_TRAFFIC_WAYS; w++) {
            const struct hd_label labels[] = {
                {"kind", kind_names[k]}, {"direction", way_names[w]}, {0}};
            hd_exposition_sample(out, f.name, labels, (double)t->bytes[k][w]);
        }
}
