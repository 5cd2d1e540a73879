/* objects.h - OpenAI's completion objects and chunks, with hydac's extension. */
#ifndef HD_API_OBJECTS_H
#define HD_API_OBJECTS_H

#include "leader/api/generation.h"

/* Each returns a new object, NULL when memory is out. */
bool hd_generation_has_news(const struct hd_generation *g);
json_t *hd_generation_chunk(struct hd_generation *g); /* clears what was collected */
json_t *hd_generation_usage_chunk(const struct hd_generation *g);
json_t *hd_generation_whole(struct hd_generation *g);
/* Making that takes longer than a moment. */
bool hd_generation_is_long(const struct hd_generation *g);

#endif
