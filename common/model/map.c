/* map.c - mmap, with the identity that the file had when it was opened. */
#include "common/model/map.h"

#include "common/model/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_STEP ((size_t)1 << 18) /* a multiple of any page: headers are owned in such steps */

static int stat_fd(int fd, struct hd_file_id *id, struct stat *st)
{
    if (fstat(fd, st) < 0)
        return HD_E_IO;
    *id = (struct hd_file_id){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime_ns = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec,
    };
    return 0;
}

static int map_fd(struct hd_map *m, const char *path, struct hd_error *err)
{
    struct stat st;

    if (stat_fd(m->fd, &m->id, &st) < 0)
        return hd_fail(err, HD_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return hd_fail(err, HD_E_IO, "%s: not a regular file", path);
    if (st.st_size == 0)
        return 0;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, m->fd, 0);
    if (p == MAP_FAILED)
        return hd_fail(err, HD_E_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    m->guard = hd_guard_add(p, (size_t)st.st_size);
    if (!m->guard) {
        munmap(p, (size_t)st.st_size);
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", path);
    }
    m->data = p;
    m->len = (size_t)st.st_size;
    return 0;
}

int hd_map_open(struct hd_map *m, const char *path, struct hd_error *err)
{
    *m = (struct hd_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */

    if (fd < 0)
        return hd_fail(err, errno == ENOENT ? HD_E_NOTFOUND : HD_E_IO, "%s: %s", path,
                       strerror(errno));
    m->fd = fd;
    int rc = map_fd(m, path, err);
    if (!m->data)
        close(fd);
    return rc;
}

void hd_map_close(struct hd_map *m)
{
    if (m->data) {
        hd_guard_remove(m->guard);
        munmap((void *)(uintptr_t)m->data, m->len);
        close(m->fd);
    }
    *m = (struct hd_map){0};
}

static int read_at(int fd, uint8_t *to, size_t n, size_t at)
{
    while (n > 0) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got == 0 || (got < 0 && errno != EINTR))
            return HD_E_IO;
        if (got > 0) {
            to += got;
            at += (size_t)got;
            n -= (size_t)got;
        }
    }
    return 0;
}

int hd_map_own(struct hd_map *m, size_t n)
{
    while (m->owned < n) {
        size_t left = m->len - m->owned, some = left < OWN_STEP ? left : OWN_STEP;
        uint8_t *at = (uint8_t *)(uintptr_t)m->data + m->owned;
        if (mmap(at, some, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) == MAP_FAILED ||
            read_at(m->fd, at, some, m->owned) < 0)
            return HD_E_IO;
        mprotect(at, some, PROT_READ);
        m->owned += some;
    }
    return 0;
}

int hd_map_own_only(struct hd_map *m, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = (n + page - 1) / page * page;
    if (from >= m->owned)
        return 0;
    if (mmap((uint8_t *)(uintptr_t)m->data + from, m->owned - from, PROT_READ,
             MAP_SHARED | MAP_FIXED, m->fd, (off_t)from) == MAP_FAILED)
        return HD_E_IO;
    m->owned = from;
    return 0;
}

void hd_map_let_go(const struct hd_map *m)
{
    if (m->owned < m->len) /* a refusal costs only that they are counted */
        madvise((uint8_t *)(uintptr_t)m->data + m->owned, m->len - m->owned, MADV_DONTNEED);
}

int hd_map_id(const struct hd_map *m, struct hd_file_id *id)
{
    struct stat st;

    return stat_fd(m->fd, id, &st);
}
