/* objects.h - OpenAI's completion objects and chunks, with hydac's extension. */
#ifndef HD_API_OBJECTS_H
#define HD_API_OBJECTS_H

#include "leader/api/generation.h"

struct hd_usage {
    size_t prompt, completion; /* tokens */
    size_t cached;             /* of the prompt's: whose rows were there */
    size_t reasoning;          /* of the completion's: before the answer */
    bool thoughts;             /* the model has such */
};

/* Each returns a new object, NULL when memory is out, also for a NULL that it takes over. */
json_t *hd_usage_json(const struct hd_usage *u);
/* Of a stream: what was collected, which is cleared; the last one, without a choice. */
json_t *hd_chunk_json(struct hd_generation *g);
/* How far a prompt is; as a chunk of a stream, in llama.cpp's words. */
struct hd_prompt_progress {
    uint32_t computed, cached, total; /* tokens; computed: with those that were there */
};
json_t *hd_progress_chunk_json(const struct hd_generation *g, const struct hd_prompt_progress *p);
json_t *hd_usage_chunk_json(const struct hd_generation *g, const struct hd_usage *u);
/* One of the choices, and all of them, which it takes over. */
json_t *hd_choice_json(struct hd_generation *g);
json_t *hd_whole_json(const struct hd_generation *g, json_t *choices, const struct hd_usage *u);
/* Adds "hydac" where it was asked for; clears what was collected. Takes `o` over and gives it back.
 */
json_t *hd_extended_json(struct hd_generation *g, json_t *o);

/* There is something for a chunk. */
bool hd_generation_has_news(const struct hd_generation *g);
/* Making its objects takes longer than a moment. */
bool hd_generation_is_long(const struct hd_generation *g);

#endif
