/* What sentence-transformers reads in a folder: modules.json, a list of what a text goes through,
 * and the settings of each. Done are Transformer, Pooling (the last token's row, the mean) and
 * Normalize; whatever else is there is named, and the model makes no embeddings. */
#include "common/model/hf_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(struct hd_pooled *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct hd_pooled *p, const char *fmt, ...)
{
    va_list ap;

    if (p->why_not[0])
        return;
    va_start(ap, fmt);
    vsnprintf(p->why_not, sizeof p->why_not, fmt, ap);
    va_end(ap);
    for (char *c = p->why_not; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* NULL: there is no such file; one that cannot be read is named. */
static json_t *open_file(struct hd_pooled *p, const char *folder, const char *name, bool list)
{
    struct hd_error err = {0};
    json_t *o = NULL;
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return NULL;
    int rc = list ? hd_json_list(&o, path, &err) : hd_json_file(&o, path, &err);
    free(path);
    if (rc < 0 && rc != HD_E_NOTFOUND)
        refuse(p, "%s", err.text);
    return o;
}

/* Nothing in it, or none. */
static bool says_nothing(const json_t *v)
{
    bool empty = json_is_object(v) ? json_object_size(v) == 0 : json_array_size(v) == 0;

    return hf_absent(v) || json_is_false(v) || ((json_is_object(v) || json_is_array(v)) && empty);
}

/* ---- Pooling ----*/

struct modes {
    bool last, mean, other;
};

static void read_mode(struct hd_pooled *p, struct modes *m, const char *key, const json_t *v)
{
    bool on = json_is_true(v);

    if (strcmp(key, "pooling_mode_lasttoken") == 0) {
        m->last = on;
    } else if (strcmp(key, "pooling_mode_mean_tokens") == 0) {
        m->mean = on;
    } else if (on) {
        m->other = true;
        refuse(p, "%s is not done", key);
    }
}

static void read_pooling(struct hd_pooled *p, const json_t *o, uint32_t dim)
{
    struct modes m = {0};
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (strncmp(key, "pooling_mode_", 13) == 0)
            read_mode(p, &m, key, v);
        else if (strcmp(key, "word_embedding_dimension") == 0 && json_integer_value(v) != dim)
            refuse(p, "word_embedding_dimension is not the model's");
        else if (strcmp(key, "word_embedding_dimension") != 0 &&
                 strcmp(key, "include_prompt") != 0 && !says_nothing(v))
            refuse(p, "Pooling's %s is not known", key);
    }
    if (m.last == m.mean)
        refuse(p, "Pooling has not one mode");
    p->pooling = m.last ? HD_POOLING_LAST : HD_POOLING_MEAN;
}

static void pooling_module(struct hd_pooled *p, const char *folder, const char *path, uint32_t dim)
{
    char name[128];

    if (strlen(path) > 64 || strstr(path, "..") || strchr(path, '/')) {
        refuse(p, "modules.json: a path leads elsewhere");
        return;
    }
    snprintf(name, sizeof name, "%s/config.json", path);
    json_t *o = open_file(p, folder, name, false);
    if (o)
        read_pooling(p, o, dim);
    else
        refuse(p, "%s is not there", name);
    json_decref(o);
}

/* ---- The other files ----*/

/* How a text becomes tokens. */
static void read_transformer(struct hd_pooled *p, const char *folder)
{
    json_t *o = open_file(p, folder, "sentence_bert_config.json", false), *v;
    const char *key;

    json_object_foreach(o, key, v)
    {
        json_int_t n = json_integer_value(v);
        if (strcmp(key, "max_seq_length") == 0 && n > 0 && n <= UINT32_MAX)
            p->max_tokens = (uint32_t)n;
        else if (!says_nothing(v))
            refuse(p, "sentence_bert_config.json: %s is not known", key);
    }
    json_decref(o);
}

/* What stands before a text where its user says nothing, how long a vector is. */
static void read_defaults(struct hd_pooled *p, const char *folder)
{
    json_t *o = open_file(p, folder, "config_sentence_transformers.json", false);

    if (!hf_absent(json_object_get(o, "default_prompt_name")))
        refuse(p, "config_sentence_transformers.json puts a prompt before each text");
    if (!hf_absent(json_object_get(o, "truncate_dim")))
        refuse(p, "config_sentence_transformers.json cuts vectors (truncate_dim)");
    json_decref(o);
}

/* As vLLM reads them of config.json. */
static void read_lengths(struct hd_pooled *p, const char *folder)
{
    json_t *o = open_file(p, folder, "config.json", false), *v;
    const json_t *list = json_object_get(o, "matryoshka_dimensions");
    size_t i;

    p->any_length = json_is_true(json_object_get(o, "is_matryoshka")) && hf_absent(list);
    json_array_foreach((json_t *)(uintptr_t)list, i, v) if (p->n_lengths < HD_MATRYOSHKA &&
                                                            json_integer_value(v) > 0 &&
                                                            json_integer_value(v) <= UINT32_MAX)
        p->lengths[p->n_lengths++] = (uint32_t)json_integer_value(v);
    json_decref(o);
}

/* ---- The whole ----*/

/* The i-th of the modules. Their types are names of classes, which have moved with the versions. */
static void read_module(struct hd_pooled *p, const char *folder, const json_t *module, size_t i,
                        uint32_t dim)
{
    const char *type = json_string_value(json_object_get(module, "type"));
    const char *path = json_string_value(json_object_get(module, "path"));
    const char *dot = type ? strrchr(type, '.') : NULL, *name = dot ? dot + 1 : "";

    path = path ? path : "";
    if (i == 0 && strcmp(name, "Transformer") == 0 && path[0] == '\0')
        read_transformer(p, folder);
    else if (i == 1 && strcmp(name, "Pooling") == 0)
        pooling_module(p, folder, path, dim);
    else if (i == 2 && strcmp(name, "Normalize") == 0)
        p->normalise = true;
    else
        refuse(p, "modules.json: module %zu, %s, is not done", i, type ? type : "without a type");
}

void hf_read_pooled(struct hd_pooled *p, const char *folder, uint32_t dim)
{
    json_t *modules = open_file(p, folder, "modules.json", true), *module;
    size_t i;

    if (!modules)
        return;
    json_array_foreach(modules, i, module) read_module(p, folder, module, i, dim);
    json_decref(modules);
    read_defaults(p, folder);
    read_lengths(p, folder);
    if (p->pooling == HD_POOLING_NONE)
        refuse(p, "modules.json has no Pooling");
    if (p->why_not[0])
        p->pooling = HD_POOLING_NONE;
}
