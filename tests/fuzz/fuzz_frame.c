/* fuzz_frame.c - the frame decoder. The first byte: in how large pieces the rest arrives. */
#include "common/net/frame.h"
#include "fuzz.h"

#define MAX_BODY    4096
#define MAX_PAYLOAD 65536

static void check(struct hd_frame *f)
{
    volatile uint8_t sum = 0; /* every byte can be read */
    FUZZ_CHECK(f->body_len <= MAX_BODY && f->payload_len <= MAX_PAYLOAD);
    FUZZ_CHECK((uintptr_t)f->payload % 64 == 0);
    for (uint32_t i = 0; i < f->body_len; i++)
        sum ^= f->body[i];
    for (uint32_t i = 0; i < f->payload_len; i++)
        sum ^= f->payload[i];
    (void)sum;
    hd_frame_clear(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hd_decoder d;
    struct hd_frame f;
    struct hd_error err = {0};
    int rc = 0;
    if (size == 0)
        return 0;
    size_t step = (size_t)*data++ + 1;
    size--;
    hd_decoder_init(&d, (struct hd_frame_limits){MAX_BODY, MAX_PAYLOAD});
    while (size > 0 && rc >= 0) {
        size_t n = step < size ? step : size;
        const uint8_t *p = data;
        data += n;
        size -= n;
        while ((rc = hd_decoder_feed(&d, &p, &n, &f, &err)) > 0)
            check(&f);
    }
    FUZZ_CHECK(rc >= 0 || err.text[0]);
    hd_decoder_deinit(&d);
    return 0;
}
