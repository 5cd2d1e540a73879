/* journal.c - records in a file: appended, read back, written anew. */
#include "leader/daemon/journal.h"

#include "common/net/frame.h"
#include "common/util/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SYNC_US 1000000

/* ---- Writing ----*/

/* The disk is full, or gone: answers go on, a restart will not know of them. */
static void give_up(struct hd_journal *j, const char *what)
{
    hd_warn(j->log, "journal_lost", "path=\"%s\" reason=\"%s: %s\"", j->path, what,
            strerror(errno));
    if (j->fd >= 0 && !j->syncing)
        close(j->fd);
    if (!j->syncing)
        j->fd = -1;
    unlink(j->path);
    j->path[0] = '\0';
}

static bool put(int fd, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* Bytes written, 0: errno says why not. */
static size_t put_message(int fd, const Hydac__V1__Records *m)
{
    size_t len = hydac__v1__records__get_packed_size(m);
    uint8_t *buf = malloc(HD_FRAME_HEADER + len);
    if (!buf)
        return 0;
    hydac__v1__records__pack(m, buf + HD_FRAME_HEADER);
    hd_frame_header(buf, HD_FRAME_RECORDS, (struct hd_piece){buf + HD_FRAME_HEADER, len}, NULL, 0);
    bool good = put(fd, buf, HD_FRAME_HEADER + len);
    free(buf);
    return good ? HD_FRAME_HEADER + len : 0;
}

void hd_journal_add(struct hd_journal *j, const Hydac__V1__Records *m)
{
    if (!j->path[0])
        return;
    size_t n = put_message(j->fd, m);
    if (n == 0) {
        give_up(j, "cannot be written");
        return;
    }
    j->bytes += n;
    j->dirty = true;
}

/* All that the book has told; the rest of its tokens come as news. */
static uint64_t put_book(int fd, const struct hd_book *book)
{
    uint64_t bytes = 0;
    for (const struct hd_record *r = book->first; r; r = r->next) {
        struct hd_records_message m;
        hd_records_init(&m);
        m.m.term = book->term;
        hd_records_begin(&m, r);
        size_t n = hd_records_tokens(&m, r, true) == 0 ? put_message(fd, &m.m) : 0;
        hd_records_deinit(&m);
        if (n == 0)
            return UINT64_MAX;
        bytes += n;
    }
    return bytes;
}

void hd_journal_rewrite(struct hd_journal *j, const struct hd_book *book)
{
    char tmp[sizeof j->path + 8];
    if (!j->path[0] || j->syncing)
        return;
    snprintf(tmp, sizeof tmp, "%s.new", j->path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    uint64_t bytes = fd < 0 ? UINT64_MAX : put_book(fd, book);
    if (bytes == UINT64_MAX || rename(tmp, j->path) < 0) {
        if (fd >= 0)
            close(fd);
        give_up(j, "cannot be written anew");
        return;
    }
    if (j->fd >= 0)
        close(j->fd);
    j->fd = fd;
    j->bytes = bytes;
    j->limit = bytes * 4 > HD_JOURNAL_BYTES ? bytes * 4 : HD_JOURNAL_BYTES;
    j->dirty = true;
}

/* ---- Reading ----*/

/* Takes what the bytes have; *whole: how many of them are whole messages. */
static void take_all(struct hd_journal *j, struct hd_book *book, const uint8_t *data, size_t len)
{
    struct hd_decoder d;
    struct hd_frame f;
    struct hd_error err = {0};
    const size_t all = len;
    int rc;
    hd_decoder_init(&d, (struct hd_frame_limits){HD_FRAME_RECORDS_BODY, 0});
    while ((rc = hd_decoder_feed(&d, &data, &len, &f, &err)) == 1) {
        Hydac__V1__Records *m = f.type == HD_FRAME_RECORDS
                                    ? hydac__v1__records__unpack(NULL, f.body_len, f.body)
                                    : NULL;
        rc = m ? hd_book_take(book, m, &err) : hd_fail(&err, HD_E_PROTO, "something else");
        if (m)
            hydac__v1__records__free_unpacked(m, NULL);
        hd_frame_clear(&f);
        if (rc < 0)
            break;
    }
    if (rc < 0)
        hd_warn(j->log, "journal_cut", "path=\"%s\" at=%zu reason=\"%s\"", j->path, all - len,
                err.text);
    hd_decoder_deinit(&d);
}

static int read_file(struct hd_journal *j, struct hd_book *book, struct hd_error *err)
{
    int fd = open(j->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    uint8_t *data = size < 0 ? NULL : malloc((size_t)size + 1);
    ssize_t n = data ? pread(fd, data, (size_t)size, 0) : -1;
    if (n >= 0)
        take_all(j, book, data, (size_t)n);
    int rc = n >= 0 ? 0
                    : hd_fail(err, HD_E_IO, "state.journal: cannot read %s: %s", j->path,
                              strerror(errno));
    free(data);
    if (fd >= 0)
        close(fd);
    return rc;
}

int hd_journal_open(struct hd_journal *j, const char *folder, struct hd_book *book,
                    const struct hd_log *log, struct hd_error *err)
{
    *j = (struct hd_journal){.log = log, .fd = -1};
    snprintf(j->path, sizeof j->path, "%s/answers.journal", folder);
    int rc = hd_state_dir_make(folder, err);
    if (rc == 0)
        rc = read_file(j, book, err);
    if (rc < 0) {
        j->path[0] = '\0';
        return rc;
    }
    book->term = 0;
    hd_journal_rewrite(j, book);
    return j->path[0] ? 0
                      : hd_fail(err, HD_E_IO,
                                "state.journal: nothing can be written to %s; make "
                                "the folder writable, or set it to false",
                                folder);
}

/* ---- Time, and the end ----*/

static void on_synced(uv_fs_t *req)
{
    struct hd_journal *j = req->data;
    uv_fs_req_cleanup(req);
    j->syncing = false;
    if (!j->path[0] && j->fd >= 0) {
        close(j->fd);
        j->fd = -1;
    }
}

void hd_journal_tick(struct hd_journal *j, uv_loop_t *loop, const struct hd_book *book,
                     uint64_t now_us)
{
    if (!j->path[0] || j->syncing)
        return;
    if (j->bytes > j->limit)
        hd_journal_rewrite(j, book);
    if (!j->dirty || now_us - j->synced_us < SYNC_US)
        return;
    j->sync.data = j;
    j->synced_us = now_us;
    j->syncing = uv_fs_fdatasync(loop, &j->sync, j->fd, on_synced) == 0;
    j->dirty = !j->syncing;
}

bool hd_journal_busy(const struct hd_journal *j)
{
    return j->syncing;
}

void hd_journal_close(struct hd_journal *j)
{
    if (j->path[0] && j->fd >= 0)
        close(j->fd);
    j->path[0] = '\0';
    j->fd = -1;
}
