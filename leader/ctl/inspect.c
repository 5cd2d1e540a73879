/* inspect.c - hydac inspect: what a model file is, what hydac makes of it, and whom it fits. The
 * text is written from the same object that --json prints. */
#include "common/math/kernels.h"
#include "common/model/arch.h"
#include "common/text/tokenizer.h"
#include "leader/ctl/ctl.h"
#include "leader/ctl/inspect.h"
#include "leader/ctl/status.h"

#include <stdlib.h>
#include <string.h>

#define PLANNED_POSITIONS 4096 /* of K/V, as plans reckon (leader/daemon/costs.c) */
#define MAX_WORKERS       64

static const char about[] =
    "hydac inspect [OPTIONS] MODEL\n"
    "\n"
    "Says what a model (a GGUF file, the first part of one, or a Hugging Face folder) is: family,\n"
    "sizes, types, tokenizer, chat template; what of it hydac does not understand; the memory "
    "that\n"
    "workers need for it, and whether a cluster's workers have that. Status 1: it does not load.\n";

static void set(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

/* ---- Sizes and types ----*/

static json_t *shape_json(const struct hd_model *m)
{
    const struct hd_model_shape *s = &m->shape;
    json_t *o = json_object();

    set(o, "layers", s->n_layers);
    set(o, "dim", s->dim);
    set(o, "heads", s->n_heads);
    set(o, "kv_heads", s->n_kv_heads);
    set(o, "head_dim", s->head_dim);
    set(o, "ffn_dim", s->ffn_dim);
    set(o, "vocabulary", s->vocab);
    set(o, "experts", s->n_experts);
    set(o, "experts_used", s->n_used);
    set(o, "context", s->context);
    json_object_set_new(o, "tied_output", json_boolean(s->tied_output));
    return o;
}

/* How many of the slot's tensors a layer has: of experts one each, else one. */
static double count_of(const struct hd_model *m, enum hd_slot_id s)
{
    return hd_slots[s].of_expert && m->shape.n_experts ? m->shape.n_experts : 1;
}

static double packed_bytes(const struct hd_model *m, enum hd_slot_id s, uint32_t layer)
{
    const struct hd_tensor *t = hd_slot_of(m, s, layer);
    const struct hd_slice all = {.n_rows = t->rows, .n_cols = t->cols};

    return (double)hd_weights_bytes(t, &all) * count_of(m, s);
}

/* Adds a tensor to its type's row of `types`: {"Q4_K": {"tensors", "bytes", "packed_bytes"}}. */
static void add_type(json_t *types, const struct hd_model *m, enum hd_slot_id s, uint32_t layer,
                     bool again)
{
    const struct hd_tensor *t = hd_slot_of(m, s, layer);
    const char *name = hd_dtype_name((int)t->type);
    json_t *o = json_object_get(types, name);

    if (!o) {
        o = json_object();
        json_object_set_new(types, name, o);
    }
    set(o, "tensors", (again ? 0 : 1) + json_number_value(json_object_get(o, "tensors")));
    set(o, "bytes",
        json_number_value(json_object_get(o, "bytes")) +
            (again ? 0 : (double)(t->rows * t->row_bytes) * count_of(m, s)));
    if (hd_slot_is_units(s))
        set(o, "packed_bytes",
            json_number_value(json_object_get(o, "packed_bytes")) + packed_bytes(m, s, layer));
}

static void add_tensors(json_t *o, const struct hd_model *m)
{
    json_t *types = json_object();
    double values = 0;

    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        for (uint32_t l = 0; l < hd_slot_layers(m, s); l++) {
            const struct hd_tensor *t = hd_slot_of(m, s, l);

            bool again = s == HD_SLOT_OUTPUT && m->shape.tied_output; /* the embedding */

            add_type(types, m, s, l, again);
            if (!again)
                values += (double)t->rows * (double)t->cols * count_of(m, s);
        }
    json_object_set_new(o, "types", types);
    set(o, "parameters", values);
}

/* ---- Memory ----*/

struct need {
    unsigned units[HD_UNIT_KINDS];
    double bytes[HD_UNIT_KINDS]; /* of one, K/V included */
    double kv, log;              /* K/V of a head; the log of a worker */
};

static void needs_of(const struct hd_model *m, struct need *n)
{
    uint32_t positions =
        m->shape.context < PLANNED_POSITIONS ? m->shape.context : PLANNED_POSITIONS;
    struct hd_units u;

    hd_model_units(m, &u);
    *n = (struct need){.units = {[HD_UNIT_HEAD] = u.heads,
                                 [HD_UNIT_FFN] = u.ffn_blocks,
                                 [HD_UNIT_VOCAB] = u.vocab_blocks}};
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        for (uint32_t l = 0; l < hd_slot_layers(m, s) && hd_slot_is_units(s); l++)
            n->bytes[hd_slots[s].unit] += packed_bytes(m, s, l);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        n->bytes[k] /= n->units[k];
    n->kv = 2.0 * m->shape.n_layers * m->shape.head_dim * 2 * positions;
    n->log = (double)positions * m->shape.n_layers * (double)hd_model_row_bytes(m, m->activations);
    n->bytes[HD_UNIT_HEAD] += n->kv;
}

/* What the worker with the most units needs of n. */
static json_t *share_json(const struct need *need, unsigned n)
{
    json_t *o = json_object();
    double heads = (need->units[HD_UNIT_HEAD] + n - 1) / n, total = 0;

    for (int k = 0; k < HD_UNIT_KINDS; k++)
        total += (need->units[k] + n - 1) / n * need->bytes[k];
    set(o, "workers", n);
    set(o, "weights_bytes", total - heads * need->kv);
    set(o, "copy_bytes", n > 1 ? total - heads * need->kv : 0); /* as much as it owns, again */
    set(o, "kv_bytes", heads * need->kv);
    set(o, "log_bytes", need->log);
    set(o, "memory_bytes", total);
    return o;
}

static void add_memory(json_t *o, const struct hd_model *m, const struct need *need,
                       uint64_t workers)
{
    static const unsigned usual[] = {1, 2, 3, 4, 8};
    json_t *memory = json_object(), *shares = json_array();

    if (workers)
        json_array_append_new(shares, share_json(need, (unsigned)workers));
    for (size_t i = 0; !workers && i < sizeof usual / sizeof *usual; i++)
        json_array_append_new(shares, share_json(need, usual[i]));
    set(memory, "positions",
        m->shape.context < PLANNED_POSITIONS ? m->shape.context : PLANNED_POSITIONS);
    json_object_set_new(memory, "shares", shares);
    json_object_set_new(o, "memory", memory);
}

/* ---- The cluster ----*/

struct machine {
    double room;
};

static size_t roomiest(const struct machine *w, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        best = w[i].room > w[best].room ? i : best;
    return best;
}

/* Every unit goes to whoever has most room left, the largest first. */
static bool fits(const struct need *need, struct machine *w, size_t n)
{
    static const enum hd_unit_kind order[] = {HD_UNIT_HEAD, HD_UNIT_FFN, HD_UNIT_VOCAB};

    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        for (unsigned i = 0; i < need->units[order[k]]; i++) {
            struct machine *to = &w[roomiest(w, n)];

            to->room -= need->bytes[order[k]];
            if (to->room < 0)
                return false;
        }
    return true;
}

/* {"workers", "memory_bytes", "fits"}; fits is null where it cannot be known. */
static json_t *cluster_json(const json_t *status, const struct need *need)
{
    struct machine machines[MAX_WORKERS];
    double all = 0;
    size_t n = 0, i;
    bool unknown = false;
    json_t *worker, *o = json_object();

    json_array_foreach(json_object_get(status, "workers"), i, worker)
    {
        const char *state = json_string_value(json_object_get(worker, "state"));
        double bytes = json_number_value(json_object_get(worker, "memory_bytes"));

        if (n == MAX_WORKERS || !state || strcmp(state, "online") != 0)
            continue;
        machines[n++].room = bytes * 7 / 8; /* as plans reckon */
        unknown |= bytes == 0;
        all += bytes;
    }
    set(o, "workers", (double)n);
    set(o, "memory_bytes", all);
    json_object_set_new(o, "fits",
                        unknown ? json_null() : json_boolean(n > 0 && fits(need, machines, n)));
    return o;
}

/* ---- Tokenizer and template ----*/

static void add_note(json_t *notes, const char *what, const char *text)
{
    json_array_append_new(notes, json_sprintf("%s%s", what, text));
}

static void add_warnings(json_t *notes, const struct hd_warnings *w)
{
    for (unsigned i = 0; i < w->n; i++)
        add_note(notes, "", w->text[i]);
}

static json_t *template_json(const struct hd_tokenizer *t, json_t *notes)
{
    static const char hi[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    const char *text = hd_chat_template(t);
    struct hd_error err = {0};
    int32_t *ids;
    size_t n;
    int rc = hd_chat_encode(t, hi, strlen(hi), &ids, &n, &err);
    json_t *o = json_object();

    free(ids);
    set(o, "bytes", (double)strlen(text));
    json_object_set_new(o, "usable", json_boolean(rc == 0));
    json_object_set_new(o, "tools", json_boolean(strstr(text, "tools") != NULL));
    if (rc < 0)
        add_note(notes, "chat: ", err.text);
    return o;
}

static void add_tokenizer(json_t *o, const struct hd_model *m, json_t *notes)
{
    struct hd_warnings w = {0};
    struct hd_error err = {0};
    struct hd_tokenizer *t;
    int rc = hd_tokenizer_open(&t, m, &w, &err);
    json_t *of = json_object();

    json_object_set_new(of, "usable", json_boolean(rc == 0));
    json_object_set_new(o, "tokenizer", of);
    add_warnings(notes, &w);
    if (rc < 0) {
        add_note(notes, "", err.text);
        return;
    }
    set(of, "tokens", hd_tokenizer_vocab(t));
    set(of, "bos", hd_tokenizer_bos(t));
    set(of, "eos", hd_tokenizer_eos(t));
    json_object_set_new(of, "adds_bos", json_boolean(hd_tokenizer_adds_bos(t)));
    json_object_set_new(o, "template", template_json(t, notes));
    hd_tokenizer_free(t);
}

/* ---- All of it ----*/

/* Of a GGUF file that is no model of ours: what it says of itself. */
static void add_stranger(json_t *o, const char *path)
{
    static const char *const keys[] = {"general.architecture", "general.name",
                                       "tokenizer.ggml.model", "tokenizer.ggml.pre"};
    struct hd_gguf *g;
    struct hd_str s;

    if (hd_gguf_open(&g, path, NULL) < 0)
        return;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (hd_gguf_str(g, keys[i], &s) == 0)
            json_object_set_new(o, keys[i], json_stringn(s.data, s.len));
    hd_gguf_close(g);
}

/* Only of a model that says something of it. */
static void add_embeddings(json_t *o, const struct hd_model *m, json_t *notes)
{
    const struct hd_pooled *p = &m->pooled;
    if (p->why_not[0])
        add_note(notes, "embeddings: ", p->why_not);
    if (p->pooling != HD_POOLING_NONE)
        json_object_set_new(o, "embeddings",
                            json_pack("{s:s, s:b, s:I}", "pooling",
                                      p->pooling == HD_POOLING_LAST ? "last" : "mean", "normalized",
                                      p->normalise, "values", (json_int_t)m->shape.dim));
}

static void add_model(json_t *o, const struct hd_model *m, const struct hd_inspect *in)
{
    json_t *notes = json_array();
    struct need need;

    json_object_set_new(o, "name", json_string(m->name));
    json_object_set_new(o, "family", json_string(m->gguf ? m->arch->gguf : m->arch->hf));
    json_object_set_new(o, "shape", shape_json(m));
    json_object_set_new(
        o, "activations",
        json_string(m->activations == HD_ACTIVATIONS_Q8 ? "8 bits" : "32-bit floats"));
    add_tensors(o, m);
    add_warnings(notes, &m->warnings);
    add_tokenizer(o, m, notes);
    add_embeddings(o, m, notes);
    needs_of(m, &need);
    add_memory(o, m, &need, in->workers);
    if (in->status)
        json_object_set_new(o, "cluster", cluster_json(in->status, &need));
    json_object_set_new(o, "notes", notes);
}

json_t *hd_inspect(const struct hd_inspect *in)
{
    struct hd_error err = {0};
    struct hd_model *m;
    json_t *o = json_object();
    int rc = hd_model_open(&m, in->path, &err);

    json_object_set_new(o, "path", json_string(in->path));
    json_object_set_new(o, "loads", json_boolean(rc == 0));
    if (rc == 0) {
        add_model(o, m, in);
        hd_model_close(m);
    } else {
        json_object_set_new(o, "error", json_string(err.text));
        add_stranger(o, in->path);
    }
    return o;
}

int hd_cmd_inspect(int argc, char **argv)
{
    const char *leader = NULL, *key_file = NULL;
    bool json = false;
    struct hd_error err = {0};
    struct hd_inspect in = {.path = NULL};
    struct hd_arg_list rest = {.n = 0};
    const struct hd_arg args[] = {
        {"--workers", HD_ARG_UINT, &in.workers, "N",
         "memory for N workers; default: 1, 2, 3, 4 and 8", 1, MAX_WORKERS},
        {"--leader", HD_ARG_STRING, &leader, "URL",
         "whose workers are looked at; default: $HYDAC_LEADER, else " HD_DEFAULT_LEADER
         ", if one answers there"},
        HD_ARG_API_KEY(&key_file),
        {"--json", HD_ARG_FLAG, &json, NULL, "one object"},
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, &rest, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (rest.n != 1) {
        fputs("hydac: inspect needs one model; see hydac inspect --help\n", stderr);
        return 2;
    }
    in.path = rest.items[0];
    in.status = hd_status_fetch(leader ? leader : hd_default_leader(), key_file, &err);
    if (!in.status && leader) /* asked for */
        return hd_complain(&err);
    json_t *o = hd_inspect(&in);
    bool loads = json_is_true(json_object_get(o, "loads"));
    if (json)
        json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    else
        hd_inspect_print(o);
    if (json)
        putchar('\n');
    json_decref(in.status);
    json_decref(o);
    return loads ? 0 : 1;
}
