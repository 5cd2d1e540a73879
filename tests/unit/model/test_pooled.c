/* What folders say of embeddings: done whole, or not done with its name. */
#include "common/model/hf_read.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRANSFORMER "{\"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}"
#define POOLING     "{\"path\": \"1_Pooling\", \"type\": \"any.Pooling\"}"
#define NORMALIZE                                                                                  \
    "{\"path\": \"2_Normalize\", \"type\": \"sentence_transformers.models.Normalize\"}"
#define DENSE "{\"path\": \"2_Dense\", \"type\": \"sentence_transformers.models.Dense\"}"
#define LAST  "{\"word_embedding_dimension\": 8, \"pooling_mode_lasttoken\": true}"
#define MEAN                                                                                       \
    "{\"word_embedding_dimension\": 8, \"pooling_mode_mean_tokens\": true, "                       \
    "\"pooling_mode_cls_token\": false, \"include_prompt\": true}"

static void put(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = text ? fopen(path, "w") : NULL;
    if (f) {
        fputs(text, f);
        fclose(f);
    } else {
        unlink(path);
    }
}

struct files {
    const char *modules, *pooling, *transformer, *defaults, *config;
};

static struct hd_pooled read_files(const struct files *x)
{
    char folder[] = "/tmp/hydac-pooled-XXXXXX", inner[64];
    struct hd_pooled p = {0};
    cr_assert_not_null(mkdtemp(folder));
    snprintf(inner, sizeof inner, "%s/1_Pooling", folder);
    cr_assert_eq(mkdir(inner, 0700), 0);
    const char *const names[] = {"modules.json", "1_Pooling/config.json",
                                 "sentence_bert_config.json", "config_sentence_transformers.json",
                                 "config.json"};
    const char *const texts[] = {x->modules, x->pooling, x->transformer, x->defaults, x->config};
    for (int i = 0; i < 5; i++)
        put(folder, names[i], texts[i]);
    hf_read_pooled(&p, folder, 8);
    for (int i = 0; i < 5; i++)
        put(folder, names[i], NULL);
    rmdir(inner);
    rmdir(folder);
    return p;
}

Test(pooled, done)
{
    struct hd_pooled p = read_files(&(struct files){.modules = NULL});
    cr_expect(p.pooling == HD_POOLING_NONE && p.why_not[0] == '\0');
    p = read_files(
        &(struct files){"[" TRANSFORMER ", " POOLING "]", LAST,
                        "{\"max_seq_length\": 512, \"do_lower_case\": false}",
                        "{\"prompts\": {\"query\": \"q\"}, \"default_prompt_name\": null}",
                        "{\"matryoshka_dimensions\": [2, 4]}"});
    cr_expect_eq(p.pooling, HD_POOLING_LAST, "%s", p.why_not);
    cr_expect_not(p.normalise);
    cr_expect_eq(p.max_tokens, 512);
    cr_expect(hd_pooled_has_length(&p, 8, 4) && hd_pooled_has_length(&p, 8, 8));
    cr_expect_not(hd_pooled_has_length(&p, 8, 3) || hd_pooled_has_length(&p, 8, 9) ||
                  hd_pooled_has_length(&p, 8, 0));
    p = read_files(&(struct files){"[" TRANSFORMER ", " POOLING ", " NORMALIZE "]", MEAN, NULL,
                                   NULL, "{\"is_matryoshka\": true}"});
    cr_expect_eq(p.pooling, HD_POOLING_MEAN, "%s", p.why_not);
    cr_expect(p.normalise && hd_pooled_has_length(&p, 8, 3));
}

Test(pooled, not_done)
{
    static const char usual[] = "[" TRANSFORMER ", " POOLING ", " NORMALIZE "]";
    static const struct {
        struct files files;
        const char *why;
    } cases[] = {
        {{"[" TRANSFORMER ", " POOLING ", " DENSE "]", LAST, NULL, NULL, NULL}, "Dense"},
        {{"[" POOLING ", " TRANSFORMER "]", LAST, NULL, NULL, NULL}, "module 0"},
        {{"[" TRANSFORMER "]", LAST, NULL, NULL, NULL}, "no Pooling"},
        {{"{}", LAST, NULL, NULL, NULL}, "not a JSON list"},
        {{"[" TRANSFORMER, LAST, NULL, NULL, NULL}, "modules.json: line 1"},
        {{usual, NULL, NULL, NULL, NULL}, "1_Pooling/config.json is not there"},
        {{usual, "{\"pooling_mode_cls_token\": true}", NULL, NULL, NULL}, "cls_token is not done"},
        {{usual, "{\"pooling_mode_lasttoken\": true, \"pooling_mode_mean_tokens\": true}", NULL,
          NULL, NULL},
         "not one mode"},
        {{usual, "{\"word_embedding_dimension\": 9, \"pooling_mode_lasttoken\": true}", NULL, NULL,
          NULL},
         "word_embedding_dimension"},
        {{usual, "{\"pooling_mode_lasttoken\": true, \"scale\": 2}", NULL, NULL, NULL}, "scale"},
        {{usual, LAST, "{\"do_lower_case\": true}", NULL, NULL}, "do_lower_case"},
        {{usual, LAST, NULL, "{\"default_prompt_name\": \"query\"}", NULL}, "puts a prompt"},
        {{usual, LAST, NULL, "{\"truncate_dim\": 4}", NULL}, "truncate_dim"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hd_pooled p = read_files(&cases[i].files);
        cr_expect_eq(p.pooling, HD_POOLING_NONE);
        cr_expect_not_null(strstr(p.why_not, cases[i].why), "%zu: %s", i, p.why_not);
    }
}
