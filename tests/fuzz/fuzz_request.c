/* fuzz_request.c - the body of a completion (first byte even) or of a chat: JSON, parameters,
 * prompt. */
#include "fuzz.h"
#include "leader/api/params.h"
#include "leader/api/prompt.h"

#include <string.h>

extern struct hd_tokenizer *const stub_tokenizer;

static void read_body(const json_t *body, bool chat)
{
    struct hd_api_backend backend = {
        .model = "toy", .context = 64, .vocab = 512, .tokenizer = stub_tokenizer};
    struct hd_params p = {.chat = chat};
    struct hd_prompt prompt = {0};
    struct hd_refusal r = {0};
    if (hd_params_read(&p, body, &backend, &r) < 0) {
        hd_params_deinit(&p);
        json_decref(hd_refusal_json(&r));
        FUZZ_CHECK(r.status >= 400 && r.text[0]);
        return;
    }
    FUZZ_CHECK(p.n_stops <= HD_MAX_STOPS && p.sampling.temperature >= 0);
    for (size_t i = 0; i < p.sampling.n_bias; i++)
        FUZZ_CHECK(p.bias[i].id >= 0 && p.bias[i].id < 512);
    if (hd_prompt_read(&prompt, body, chat, &p.tools, &backend, &r) < 0)
        FUZZ_CHECK(r.status >= 400 && r.text[0]);
    else
        for (size_t i = 0; i < prompt.n; i++)
            FUZZ_CHECK(prompt.ids[i] >= 0 && prompt.ids[i] < 512);
    free(prompt.ids);
    hd_params_deinit(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    json_t *body = json_loadb((const char *)data + 1, size - 1, JSON_REJECT_DUPLICATES, NULL);
    if (body)
        read_body(body, data[0] & 1);
    json_decref(body);
    return 0;
}
