/* fixture.h - the tokenizers, tables and chats of tests/fixtures/text (made by its make.py). */
#ifndef TEXT_FIXTURE_H
#define TEXT_FIXTURE_H

#include "common/text/encoder.h"

#include <jansson.h>

/* Rows of an embedding that every fixture fits in. */
#define FIXTURE_VOCAB 2048

/* The folder tests/fixtures/text/`name`, opened; the test fails when it cannot be. */
struct hd_tokenizer *fixture_folder(const char *name);
/* Any folder: as hd_tokenizer_open does. */
int fixture_open_folder(struct hd_tokenizer **out, const char *folder, struct hd_error *err);
/* A GGUF file by its path, likewise without its model. */
int fixture_open_gguf(struct hd_tokenizer **out, const char *path, struct hd_error *err);
/* The path of a fixture, in `buf` of PATH_MAX bytes. */
const char *fixture_path(char *buf, const char *name);

/* A JSON fixture; to be given to json_decref. */
json_t *fixture_json(const char *name);
/* Each row of its "cases" or "chats" gives the ids it tells; returns how many rows there are. */
size_t check_cases(const struct hd_tokenizer *t, const json_t *fixture);
size_t check_chats(const struct hd_tokenizer *t, const json_t *fixture);

/* A conversation of plain messages through hd_chat_encode; its JSON, malloc'ed. */
struct turn {
    const char *role, *content;
};
int encode_turns(const struct hd_tokenizer *t, const struct turn *m, size_t n, int32_t **ids,
                 size_t *n_ids, struct hd_error *err);
char *json_of_turns(const struct turn *m, size_t n);

/* encode, then the pieces one after another: whether they are the text again. */
bool round_trips(const struct hd_tokenizer *t, const char *text, size_t len);

/* A reproducible stream of bits (splitmix64). */
uint64_t next_random(uint64_t *state);
/* Breaks a file's bytes in a few places, or cuts it off. */
void damage(char *data, size_t *len, uint64_t *state);

#endif
