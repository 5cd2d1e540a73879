/* fuzz_records.c - what a leader tells a standby, and a journal a new start, of answers.
 *
 * The input is a list of messages: two bytes for the length, then Records. Whatever they are, the
 * book knows how large it is, and what is told of it makes the same book elsewhere. */
#include "fuzz.h"
#include "leader/records/messages.h"

#include <string.h>

static void check_bytes(const struct hd_book *b)
{
    size_t bytes = 0;
    for (const struct hd_record *r = b->first; r; r = r->next)
        bytes += hd_record_bytes(r);
    FUZZ_CHECK(bytes == b->bytes);
    FUZZ_CHECK(bytes <= HD_BOOK_BYTES);
}

static void take(struct hd_book *b, const uint8_t *data, size_t size)
{
    struct hd_error err = {0};
    Hydac__V1__Records *m = hydac__v1__records__unpack(NULL, size, data);
    if (!m)
        return;
    FUZZ_CHECK(hd_book_take(b, m, &err) == 0 || err.text[0]);
    hydac__v1__records__free_unpacked(m, NULL);
    check_bytes(b);
}

static void retell(struct hd_book *to, const struct hd_record *r)
{
    struct hd_records_message m;
    hd_records_init(&m);
    hd_records_begin(&m, r);
    FUZZ_CHECK(hd_records_tokens(&m, r, true) == 0);
    size_t n = hydac__v1__records__get_packed_size(&m.m);
    uint8_t *bytes = malloc(n + 1);
    FUZZ_CHECK(bytes && hydac__v1__records__pack(&m.m, bytes) == n);
    take(to, bytes, n);
    free(bytes);
    hd_records_deinit(&m);
}

static void check_same(const struct hd_record *a, const struct hd_record *b)
{
    FUZZ_CHECK(b && a->b.choices == b->b.choices && a->b.seed == b->b.seed);
    FUZZ_CHECK(a->b.body_len == b->b.body_len && memcmp(a->b.body, b->b.body, a->b.body_len) == 0);
    for (unsigned i = 0; i < a->b.choices; i++) {
        const struct hd_record_tokens *x = &a->answers[i], *y = &b->answers[i];
        FUZZ_CHECK(x->n == y->n);
        FUZZ_CHECK(y->n == 0 || memcmp(x->ids, y->ids, y->n * sizeof *y->ids) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hd_book book = {0}, other = {0};
    while (size >= 2) {
        size_t n = (size_t)(data[0] | data[1] << 8);
        n = n < size - 2 ? n : size - 2;
        take(&book, data + 2, n);
        data += 2 + n;
        size -= 2 + n;
    }
    for (const struct hd_record *r = book.first; r; r = r->next)
        retell(&other, r);
    for (const struct hd_record *r = book.first; r; r = r->next)
        check_same(r, hd_book_find(&other, r->b.id));
    hd_book_clear(&other);
    hd_book_clear(&book);
    return 0;
}
