#include "common/model/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_fd(struct hd_map *m, int fd, const char *path, struct hd_error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return hd_fail(err, HD_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return hd_fail(err, HD_E_IO, "%s: not a regular file", path);
    if (st.st_size == 0)
        return 0;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return hd_fail(err, HD_E_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    *m = (struct hd_map){p, (size_t)st.st_size};
    return 0;
}

int hd_map_open(struct hd_map *m, const char *path, struct hd_error *err)
{
    *m = (struct hd_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */

    if (fd < 0)
        return hd_fail(err, errno == ENOENT ? HD_E_NOTFOUND : HD_E_IO, "%s: %s", path,
                       strerror(errno));
    int rc = map_fd(m, fd, path, err);
    close(fd);
    return rc;
}

void hd_map_close(struct hd_map *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->len);
    *m = (struct hd_map){0};
}
