/* torch_zip.c - the directory at a ZIP archive's end, with its 64-bit fields. */
#include "common/model/torch_zip.h"

#include "common/util/size.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define END_BYTES     22 /* of the end's record, with no comment */
#define COMMENT_MAX   65535
#define LOCATOR_BYTES 20
#define END64_BYTES   56
#define ENTRY_BYTES   46
#define LOCAL_BYTES   30
#define ALL_16        0xffffu
#define ALL_32        0xffffffffu /* the field has no room: it stands in the 64-bit ones */

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static uint64_t u64(const uint8_t *p)
{
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

static int damaged(struct hd_error *err, const char *what)
{
    return hd_fail(err, HD_E_FORMAT, "%s: the file is damaged or incomplete, fetch it again", what);
}

/* Where the directory is, by the record at the end. */
struct where {
    uint64_t at, bytes, n;
};

/* The last bytes that say the end; NULL: none do. */
static const uint8_t *find_end(const uint8_t *data, size_t len)
{
    size_t back = len < END_BYTES + COMMENT_MAX ? len : END_BYTES + COMMENT_MAX;

    for (size_t n = END_BYTES; n <= back; n++) {
        const uint8_t *p = data + len - n;
        if (memcmp(p, "PK\5\6", 4) == 0 && u16(p + 20) == n - END_BYTES)
            return p;
    }
    return NULL;
}

static int find_directory(const uint8_t *data, size_t len, struct where *w, struct hd_error *err)
{
    const uint8_t *end = find_end(data, len);

    if (!end)
        return damaged(err, "no directory of the archive at its end");
    if (u16(end + 4) != 0 || u16(end + 6) != 0)
        return hd_fail(err, HD_E_UNSUPPORTED, "it is one of several parts of an archive");
    *w = (struct where){.at = u32(end + 16), .bytes = u32(end + 12), .n = u16(end + 10)};
    if (w->at != ALL_32 && w->bytes != ALL_32 && w->n != ALL_16)
        return 0;
    if (end - data < LOCATOR_BYTES || memcmp(end - LOCATOR_BYTES, "PK\6\7", 4) != 0)
        return damaged(err, "no 64-bit end of the archive");
    uint64_t at = u64(end - LOCATOR_BYTES + 8);
    if (at > len || len - at < END64_BYTES || memcmp(data + at, "PK\6\6", 4) != 0)
        return damaged(err, "no 64-bit end of the archive");
    *w = (struct where){
        .at = u64(data + at + 48), .bytes = u64(data + at + 40), .n = u64(data + at + 32)};
    return 0;
}

/* 64-bit sizes and place, in the order in which those of 32 bits have no room. */
static bool read_wide(const uint8_t *extra, size_t n, uint64_t *fields[3])
{
    while (n >= 4) {
        size_t id = u16(extra), size = u16(extra + 2);
        if (size > n - 4)
            return false;
        const uint8_t *p = extra + 4;
        for (size_t i = 0; id == 1 && i < 3; i++) {
            if (*fields[i] != ALL_32)
                continue;
            if (size < 8)
                return false;
            *fields[i] = u64(p);
            p += 8;
            size -= 8;
        }
        if (id == 1)
            return true;
        extra += 4 + size;
        n -= 4 + size;
    }
    return true;
}

/* The data of a record lies behind its own header, whose length only that says. */
static int place(const uint8_t *data, size_t len, uint64_t header, uint64_t size,
                 struct hd_zip_record *r, struct hd_error *err)
{
    if (header > len || len - header < LOCAL_BYTES || memcmp(data + header, "PK\3\4", 4) != 0)
        return damaged(err, "a record of the archive is not where its directory says");
    uint64_t at = header + LOCAL_BYTES + u16(data + header + 26) + u16(data + header + 28);
    if (at > len || size > len - at)
        return damaged(err, "a record of the archive ends behind the file's end");
    r->at = (size_t)at;
    r->len = (size_t)size;
    return 0;
}

/* One entry of the directory at *at; its name gets its end where the entry's other fields were. */
static int read_entry(struct hd_zip *z, size_t bytes, size_t *at, const uint8_t *data, size_t len,
                      struct hd_error *err)
{
    uint8_t *e = z->directory + *at;

    if (bytes - *at < ENTRY_BYTES || memcmp(e, "PK\1\2", 4) != 0)
        return damaged(err, "the archive's directory is too short");
    size_t name = u16(e + 28), extra = u16(e + 30), all = name + extra + u16(e + 32);
    if (all > bytes - *at - ENTRY_BYTES)
        return damaged(err, "the archive's directory is too short");
    if (u16(e + 10) != 0 || u16(e + 8) & 1)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "its records are compressed or encrypted, which torch.save does not do");
    uint64_t packed = u32(e + 20), size = u32(e + 24), header = u32(e + 42);
    if (!read_wide(e + ENTRY_BYTES + name, extra, (uint64_t *[]){&size, &packed, &header}))
        return damaged(err, "64-bit fields of a record are too short");
    if (packed != size || memchr(e + ENTRY_BYTES, 0, name))
        return damaged(err, "a record of the archive makes no sense");
    struct hd_zip_record *r = &z->records[z->n];
    memmove(e, e + ENTRY_BYTES, name);
    e[name] = 0;
    r->name = (const char *)e;
    *at += ENTRY_BYTES + all;
    z->n++;
    return place(data, len, header, size, r, err);
}

int hd_zip_read(struct hd_zip *z, const uint8_t *data, size_t len, struct hd_error *err)
{
    struct where w = {0};
    size_t at = 0;

    *z = (struct hd_zip){0};
    int rc = find_directory(data, len, &w, err);
    if (rc < 0)
        return rc;
    if (w.n > HD_ZIP_MAX_RECORDS || w.bytes > HD_ZIP_MAX_DIRECTORY)
        return hd_fail(err, HD_E_LIMIT, "an archive of %llu records", (unsigned long long)w.n);
    if (w.at > len || w.bytes > len - w.at)
        return damaged(err, "the archive's directory is not in it");
    z->directory = malloc(w.bytes + 1);
    z->records = calloc(w.n + 1, sizeof *z->records);
    if (!z->directory || !z->records)
        rc = hd_fail(err, HD_E_NOMEM, "no memory for %llu records", (unsigned long long)w.n);
    else
        memcpy(z->directory, data + w.at, w.bytes);
    for (uint64_t i = 0; rc == 0 && i < w.n; i++)
        rc = read_entry(z, w.bytes, &at, data, len, err);
    if (rc < 0)
        hd_zip_deinit(z);
    return rc;
}

void hd_zip_deinit(struct hd_zip *z)
{
    free(z->directory);
    free(z->records);
    *z = (struct hd_zip){0};
}

const struct hd_zip_record *hd_zip_find(const struct hd_zip *z, const char *name)
{
    const char *slash = z->n ? strchr(z->records[0].name, '/') : NULL;
    size_t folder = slash ? (size_t)(slash - z->records[0].name) + 1 : 0;

    for (size_t i = 0; i < z->n; i++)
        if (strncmp(z->records[i].name, z->records[0].name, folder) == 0 &&
            strcmp(z->records[i].name + folder, name) == 0)
            return &z->records[i];
    return NULL;
}
