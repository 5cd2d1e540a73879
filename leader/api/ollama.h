/* ollama.h - Ollama's API, in three files: what is asked (ollama.c), what is answered, the models.
 */
#ifndef HD_API_OLLAMA_H
#define HD_API_OLLAMA_H

#include "leader/api/answer.h"

extern const struct hd_form hd_ollama_chat, hd_ollama_generate;
int hd_ollama_read(struct hd_answer *a, json_t **body, struct hd_refusal *r);
/* As Ollama writes times. */
void hd_ollama_time(int64_t s, char text[32]);

#endif
