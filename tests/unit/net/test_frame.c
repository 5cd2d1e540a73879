/* Frames: what goes in comes out, whatever the cuts; everything else is refused with a reason. */
#include "common/net/frame.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAX_BODY    1000
#define MAX_PAYLOAD 5000
#define MAX_FRAME   (HD_FRAME_HEADER + MAX_BODY + MAX_PAYLOAD)

static const struct hd_frame_limits limits = {MAX_BODY, MAX_PAYLOAD};

struct sample {
    int type;
    size_t body_len, payload_len;
    uint8_t bytes[MAX_FRAME + 2];
    size_t len;
};

/* A frame whose bytes are a function of its type and lengths. */
static void make(struct sample *s, int type, size_t body_len, size_t payload_len)
{
    *s = (struct sample){.type = type, .body_len = body_len, .payload_len = payload_len};
    uint8_t *body = s->bytes + HD_FRAME_HEADER, *payload = body + body_len;
    for (size_t i = 0; i < body_len + payload_len; i++)
        body[i] = (uint8_t)(i * 7 + (size_t)type);
    struct hd_piece pieces[2] = {{payload, payload_len / 3},
                                 {payload + payload_len / 3, payload_len - payload_len / 3}};
    hd_frame_header(s->bytes, type, (struct hd_piece){body, body_len}, pieces, 2);
    s->len = HD_FRAME_HEADER + body_len + payload_len;
}

static void check(const struct sample *s, const struct hd_frame *f)
{
    cr_assert_eq(f->type, s->type);
    cr_assert_eq(f->body_len, s->body_len);
    cr_assert_eq(f->payload_len, s->payload_len);
    cr_assert_not_null(f->body);
    cr_assert(memcmp(f->body, s->bytes + HD_FRAME_HEADER, s->body_len) == 0);
    if (s->payload_len == 0) {
        cr_assert_null(f->payload);
        return;
    }
    cr_assert_eq((uintptr_t)f->payload % 64, 0);
    cr_assert(memcmp(f->payload, s->bytes + HD_FRAME_HEADER + s->body_len, s->payload_len) == 0);
}

/* Feeds all bytes to a fresh decoder; returns what the last call returned. */
static int decode(const uint8_t *bytes, size_t len, struct hd_frame *f, struct hd_error *err)
{
    struct hd_decoder d;
    hd_decoder_init(&d, limits);
    int rc = hd_decoder_feed(&d, &bytes, &len, f, err);
    hd_decoder_deinit(&d);
    return rc;
}

/* Recomputes the checksum after a test has changed the header: only the change itself is wrong. */
static void seal(struct sample *s)
{
    uint8_t header[HD_FRAME_HEADER];
    struct hd_piece payload = {s->bytes + HD_FRAME_HEADER + s->body_len, s->payload_len};
    hd_frame_header(header, s->type, (struct hd_piece){s->bytes + HD_FRAME_HEADER, s->body_len},
                    &payload, 1);
    memcpy(s->bytes + 16, header + 16, 8);
}

Test(frame, header_is_as_documented)
{
    struct sample s;
    make(&s, HD_FRAME_STEP, 0x102, 0x304);
    const uint8_t want[16] = {'H', 'D', 'A', 'C', HD_PROTO_VERSION, HD_FRAME_STEP, 0, 0, 2, 1, 0, 0,
                              4,   3,   0,   0};
    cr_assert(memcmp(s.bytes, want, sizeof want) == 0);
}

Test(frame, whole)
{
    static const size_t lengths[][2] = {{0, 0}, {1, 0}, {0, 1}, {63, 1}, {64, 64}, {65, 4097}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct sample s;
        struct hd_frame f;
        struct hd_error err = {0};
        make(&s, HD_FRAME_STEP, lengths[i][0], lengths[i][1]);
        cr_assert_eq(decode(s.bytes, s.len, &f, &err), 1, "%s", err.text);
        check(&s, &f);
        hd_frame_clear(&f);
        cr_assert_null(f.block);
    }
}

/* Three frames in a row, cut into pieces of every size from one byte up. */
Test(frame, any_cut)
{
    struct sample s[3];
    make(&s[0], HD_FRAME_HEARTBEAT, 9, 0);
    make(&s[1], HD_FRAME_STEP, 100, 777);
    make(&s[2], HD_FRAME_STEP_RESULT, 0, 130);
    uint8_t all[3 * MAX_FRAME];
    size_t total = 0;
    for (int i = 0; i < 3; i++) {
        memcpy(all + total, s[i].bytes, s[i].len);
        total += s[i].len;
    }
    for (size_t cut = 1; cut <= total; cut++) {
        struct hd_decoder d;
        struct hd_error err = {0};
        int frames = 0;
        hd_decoder_init(&d, limits);
        for (size_t at = 0; at < total; at += cut) {
            const uint8_t *data = all + at;
            size_t len = total - at < cut ? total - at : cut;
            while (len > 0) {
                struct hd_frame f;
                int rc = hd_decoder_feed(&d, &data, &len, &f, &err);
                cr_assert_geq(rc, 0, "cut %zu: %s", cut, err.text);
                if (rc == 1) {
                    check(&s[frames++], &f);
                    hd_frame_clear(&f);
                }
            }
        }
        cr_assert_eq(frames, 3);
        cr_assert_eq(d.have, 0);
        hd_decoder_deinit(&d);
    }
}

Test(frame, truncated_is_not_a_frame)
{
    struct sample s;
    make(&s, HD_FRAME_STEP, 50, 50);
    for (size_t len = 0; len < s.len; len++) {
        struct hd_frame f;
        struct hd_error err = {0};
        cr_assert_eq(decode(s.bytes, len, &f, &err), 0);
        cr_assert_null(f.block);
    }
}

Test(frame, every_flipped_bit_is_noticed)
{
    struct sample s;
    make(&s, HD_FRAME_STEP, 40, 70);
    for (size_t bit = 0; bit < s.len * 8; bit++) {
        struct hd_frame f;
        struct hd_error err = {0};
        s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rc = decode(s.bytes, s.len, &f, &err);
        /* A longer length waits for bytes that never come; nothing else gets through. */
        cr_assert_neq(rc, 1, "bit %zu", bit);
        cr_assert(rc < 0 || (bit / 8 >= 8 && bit / 8 < 16), "bit %zu", bit);
        cr_assert_null(f.block);
        s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void expect(struct sample *s, int code, const char *text)
{
    struct hd_frame f;
    struct hd_error err = {0};
    cr_assert_eq(decode(s->bytes, s->len, &f, &err), code, "%s", text);
    cr_assert_eq(err.code, code);
    cr_assert_not_null(strstr(err.text, text), "\"%s\" is not in \"%s\"", text, err.text);
    cr_assert_eq(f.type, 0);
}

Test(frame, refusals_are_distinct)
{
    struct sample s;
    make(&s, HD_FRAME_STEP, 8, 8);
    s.bytes[0] = 'G';
    expect(&s, HD_E_PROTO, "does not speak hydac's protocol");
    make(&s, HD_FRAME_STEP, 8, 8);
    s.bytes[5] = HD_FRAME_TYPES;
    seal(&s);
    char unknown[64];
    snprintf(unknown, sizeof unknown, "unknown frame type %d", HD_FRAME_TYPES);
    expect(&s, HD_E_PROTO, unknown);
    s.bytes[5] = 0;
    expect(&s, HD_E_PROTO, "unknown frame type 0");
    make(&s, HD_FRAME_STEP, 8, 8);
    s.bytes[7] = 0x80;
    expect(&s, HD_E_PROTO, "Step frame with unknown flags 0x8000");
    make(&s, HD_FRAME_STEP, 8, 8);
    s.bytes[s.len - 1] ^= 1;
    expect(&s, HD_E_PROTO, "Step frame with a wrong checksum");
}

Test(frame, another_version_is_told_apart)
{
    struct sample s;
    make(&s, HD_FRAME_HELLO, 8, 0);
    s.bytes[4] = 7;
    struct hd_decoder d;
    struct hd_frame f;
    struct hd_error err = {0};
    const uint8_t *data = s.bytes;
    size_t len = 5; /* no more of the header is needed */
    hd_decoder_init(&d, limits);
    cr_assert_eq(hd_decoder_feed(&d, &data, &len, &f, &err), HD_E_PROTO);
    cr_assert_eq(d.other_version, 7);
    cr_assert_eq(f.type, 0);
    char both[64];
    snprintf(both, sizeof both, "version 7 and this is version %d", HD_PROTO_VERSION);
    cr_assert_not_null(strstr(err.text, both), "%s", err.text);
    hd_decoder_deinit(&d);

    hd_decoder_init(&d, limits);
    data = (const uint8_t *)"GET / HTTP/1.1\r\n\r\n";
    len = 18;
    cr_assert_eq(hd_decoder_feed(&d, &data, &len, &f, &err), HD_E_PROTO);
    cr_assert_eq(d.other_version, 0);
    hd_decoder_deinit(&d);
}

Test(frame, limits_to_the_byte)
{
    struct sample s;
    struct hd_frame f;
    struct hd_error err = {0};
    make(&s, HD_FRAME_STEP, MAX_BODY, MAX_PAYLOAD);
    cr_assert_eq(decode(s.bytes, s.len, &f, &err), 1, "%s", err.text);
    check(&s, &f);
    hd_frame_clear(&f);
    make(&s, HD_FRAME_STEP, MAX_BODY + 1, 0);
    expect(&s, HD_E_LIMIT, "Step frame with a body of 1001 bytes; the limit is 1000");
    make(&s, HD_FRAME_STEP, 0, MAX_PAYLOAD + 1);
    expect(&s, HD_E_LIMIT, "Step frame with a payload of 5001 bytes; the limit is 5000");
}

Test(frame, limits_of_a_type_to_the_byte)
{
    struct sample s;
    struct hd_frame f;
    struct hd_error err = {0};
    make(&s, HD_FRAME_HEARTBEAT, HD_FRAME_SMALL_BODY, 0);
    cr_assert_eq(decode(s.bytes, s.len, &f, &err), 1, "%s", err.text);
    hd_frame_clear(&f);
    make(&s, HD_FRAME_HEARTBEAT, HD_FRAME_SMALL_BODY + 1, 0);
    expect(&s, HD_E_LIMIT, "Heartbeat frame with a body of 257 bytes; the limit is 256");
    make(&s, HD_FRAME_HELLO, 8, 1);
    expect(&s, HD_E_LIMIT, "Hello frame with a payload of 1 bytes; the limit is 0");

    struct hd_frame_limits wide = {UINT32_MAX, UINT32_MAX};
    for (int type = 1; type < HD_FRAME_TYPES; type++) {
        struct hd_frame_limits l = hd_frame_limits_of(type, wide);
        bool carries = type == HD_FRAME_STEP || type == HD_FRAME_STEP_RESULT ||
                       type == HD_FRAME_ROWS || type == HD_FRAME_WEIGHTS ||
                       type == HD_FRAME_PIECE_DIGESTS || type == HD_FRAME_AUDIT ||
                       type == HD_FRAME_SEQ_TOKENS;
        cr_assert_eq(l.max_payload, carries ? UINT32_MAX : 0, "%s", hd_frame_type_name(type));
        cr_assert_gt(l.max_body, 0);
        cr_assert_neq(hd_frame_type_name(type)[0], '?');
    }
    cr_assert_str_eq(hd_frame_type_name(0), "?");
    cr_assert_str_eq(hd_frame_type_name(HD_FRAME_TYPES), "?");
}

/* Lengths are refused from the header alone: nothing is allocated for them. */
Test(frame, huge_lengths_need_no_memory)
{
    struct sample s;
    struct hd_decoder d;
    struct hd_frame f;
    struct hd_error err = {0};
    make(&s, HD_FRAME_STEP, 0, 0);
    memset(s.bytes + 8, 0xff, 8);
    const uint8_t *data = s.bytes;
    size_t len = HD_FRAME_HEADER;
    hd_decoder_init(&d, limits);
    cr_assert_eq(hd_decoder_feed(&d, &data, &len, &f, &err), HD_E_LIMIT);
    cr_assert_null(d.frame.block);
    hd_decoder_deinit(&d);
}
