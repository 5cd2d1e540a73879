/* answer_digest.c - one hash over payload and lists, each list with its length before it. */
#include "common/net/answer_digest.h"

#define XXH_STATIC_LINKING_ONLY /* the streaming state lives on the stack */
#include <xxhash.h>

/* A list with its length before it, so that two lists cannot run into one another. Numbers are
 * little-endian on every machine that hydac runs on, as everything that travels is. */
static void add_list(XXH3_state_t *state, const uint32_t *list, size_t n)
{
    uint64_t length = n;
    XXH3_64bits_update(state, &length, sizeof length);
    if (n > 0)
        XXH3_64bits_update(state, list, n * sizeof *list);
}

uint64_t hd_answer_digest(const struct hd_answer *a)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    if (a->payload_len > 0)
        XXH3_64bits_update(&state, a->payload, a->payload_len);
    add_list(&state, a->wide, a->n_wide);
    add_list(&state, a->bad, a->n_bad);
    uint64_t digest = XXH3_64bits_digest(&state);
    return digest ? digest : 1;
}
