/* handlers.h - one function for each path of routes.c; `rest` is what stands behind the path. */
#ifndef HD_API_HANDLERS_H
#define HD_API_HANDLERS_H

struct hd_call;

/* openai.c */
void hd_post_completions(struct hd_call *c, const char *rest);
void hd_post_chat(struct hd_call *c, const char *rest);
/* embeddings.c */
void hd_post_embeddings(struct hd_call *c, const char *rest);
void hd_post_api_embed(struct hd_call *c, const char *rest);
void hd_post_api_embeddings(struct hd_call *c, const char *rest);
/* responses.c */
void hd_post_responses(struct hd_call *c, const char *rest);
/* messages.c */
void hd_post_messages(struct hd_call *c, const char *rest);
void hd_post_count_tokens(struct hd_call *c, const char *rest);
/* ollama.c, ollama_models.c */
void hd_post_api_chat(struct hd_call *c, const char *rest);
void hd_post_api_generate(struct hd_call *c, const char *rest);
void hd_get_tags(struct hd_call *c, const char *rest);
void hd_post_show(struct hd_call *c, const char *rest);
void hd_get_version(struct hd_call *c, const char *rest);
/* models.c */
void hd_get_models(struct hd_call *c, const char *rest);
void hd_get_model(struct hd_call *c, const char *rest);
/* tokens.c */
void hd_post_tokenize(struct hd_call *c, const char *rest);
void hd_post_detokenize(struct hd_call *c, const char *rest);
/* runs.c */
void hd_get_request_events(struct hd_call *c, const char *rest);
/* page.c */
void hd_get_page(struct hd_call *c, const char *rest);
/* feed.c */
void hd_get_events(struct hd_call *c, const char *rest);
/* cluster.c */
void hd_get_health(struct hd_call *c, const char *rest);
void hd_get_status(struct hd_call *c, const char *rest);
void hd_get_metrics(struct hd_call *c, const char *rest);
void hd_post_drain(struct hd_call *c, const char *rest);
void hd_post_undrain(struct hd_call *c, const char *rest);
void hd_post_rebalance(struct hd_call *c, const char *rest);

#endif
