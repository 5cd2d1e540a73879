/* inspect_text.c - the object of inspect.c in words. */
#include "leader/ctl/inspect.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *word(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "-";
}

static bool is(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static void print_shape(const json_t *o)
{
    const json_t *s = json_object_get(o, "shape");

    printf("model      %s, family %s, %.3g billion parameters\n", word(o, "name"),
           word(o, "family"), number(o, "parameters") / 1e9);
    printf("shape      %.0f layers of %.0f, %.0f heads on %.0f KV heads of %.0f, FFN %.0f, "
           "vocabulary %.0f%s, context %.0f\n",
           number(s, "layers"), number(s, "dim"), number(s, "heads"), number(s, "kv_heads"),
           number(s, "head_dim"), number(s, "ffn_dim"), number(s, "vocabulary"),
           is(s, "tied_output") ? " (one matrix in and out)" : "", number(s, "context"));
    if (number(s, "experts") > 0)
        printf("experts    %.0f, of which a token takes %.0f\n", number(s, "experts"),
               number(s, "experts_used"));
}

static void print_types(const json_t *o)
{
    const char *type;
    json_t *t;

    json_object_foreach(json_object_get((json_t *)o, "types"), type, t)
    {
        printf("type       %-7s %4.0f tensors, %.1f MB", type, number(t, "tensors"),
               number(t, "bytes") / 1e6);
        if (number(t, "packed_bytes") > 0)
            printf(", %.1f MB in workers' memory", number(t, "packed_bytes") / 1e6);
        putchar('\n');
    }
    printf("inputs     of %s\n", word(o, "activations"));
}

static void print_text(const json_t *o)
{
    const json_t *t = json_object_get(o, "tokenizer"), *c = json_object_get(o, "template");

    if (is(t, "usable"))
        printf("tokenizer  %.0f tokens, BOS %.0f%s, EOS %.0f\n", number(t, "tokens"),
               number(t, "bos"), is(t, "adds_bos") ? " (in front of each text)" : "",
               number(t, "eos"));
    else
        printf("tokenizer  none that can be used: token ids only\n");
    if (is(c, "usable"))
        printf("template   %.0f bytes, %s tools\n", number(c, "bytes"),
               is(c, "tools") ? "knows" : "knows no");
    else
        printf("template   none that can be used: no chat\n");
}

static void print_embeddings(const json_t *o)
{
    const json_t *e = json_object_get(o, "embeddings");

    if (e)
        printf("embeddings %.0f values, %s%s\n", number(e, "values"),
               strcmp(word(e, "pooling"), "last") == 0 ? "of the last token"
                                                       : "the mean of all tokens",
               is(e, "normalized") ? ", of length 1" : "");
}

static void print_memory(const json_t *o)
{
    const json_t *m = json_object_get(o, "memory");
    size_t i;
    json_t *s;

    printf("\nmemory of the worker with the largest share, with %.0f positions of K/V (f16):\n",
           number(m, "positions"));
    printf("%8s %12s %10s %10s %18s %30s\n", "workers", "weights MB", "K/V MB", "all MB",
           "log MB (on disk)", "recovery.standby_weights: 1 MB");
    json_array_foreach(json_object_get(m, "shares"), i, s)
        printf("%8.0f %12.1f %10.1f %10.1f %18.1f %30.1f\n", number(s, "workers"),
               number(s, "weights_bytes") / 1e6, number(s, "kv_bytes") / 1e6,
               number(s, "memory_bytes") / 1e6, number(s, "log_bytes") / 1e6,
               number(s, "copy_bytes") / 1e6);
}

static void print_cluster(const json_t *o)
{
    const json_t *c = json_object_get(o, "cluster"), *fits = json_object_get(c, "fits");

    if (!c)
        return;
    printf("\ncluster    %.0f workers with %.1f GB: the model %s\n", number(c, "workers"),
           number(c, "memory_bytes") / 1e9,
           json_is_null(fits)   ? "may fit, not all say how much they have"
           : json_is_true(fits) ? "fits"
                                : "does not fit");
}

/* What is refused, or served otherwise than it may be meant. */
static void print_notes(const json_t *o)
{
    size_t i;
    json_t *n;

    json_array_foreach(json_object_get(o, "notes"), i, n)
        printf("note       %s\n", json_string_value(n));
}

/* What a file that does not load says of itself. */
static void print_stranger(const json_t *o)
{
    const char *key;
    json_t *v;

    printf("does not load: %s\n", word(o, "error"));
    json_object_foreach((json_t *)o, key, v) if (strchr(key, '.'))
        printf("%-26s %s\n", key, json_string_value(v));
}

void hd_inspect_print(const json_t *o)
{
    if (!is(o, "loads")) {
        print_stranger(o);
        return;
    }
    print_shape(o);
    print_types(o);
    print_text(o);
    print_embeddings(o);
    print_notes(o);
    print_memory(o);
    print_cluster(o);
}
