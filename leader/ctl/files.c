/* files.c - programs are looked for beside this one first, as in a build folder, then in PATH. */
#include "leader/ctl/files.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* folder/name into path; true if that is a program. */
static bool program_at(const char *folder, size_t folder_len, const char *name, char *path,
                       size_t size)
{
    int n = snprintf(path, size, "%.*s/%s", (int)folder_len, folder, name);
    struct stat st;
    return n > 0 && (size_t)n < size && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           access(path, X_OK) == 0;
}

static bool program_beside_us(const char *name, const char *neighbour, char *path, size_t size)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    size_t folder = (size_t)(strrchr(self, '/') - self);
    return program_at(self, folder, name, path, size) ||
           program_at(self, folder, neighbour, path, size);
}

bool hd_find_in_path(const char *name, char *path, size_t size)
{
    const char *p = getenv("PATH");
    while (p && *p) {
        size_t n = strcspn(p, ":");
        if (n > 0 && program_at(p, n, name, path, size))
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

int hd_find_program(const char *name, const char *neighbour, char *path, size_t size,
                    struct hd_error *err)
{
    const char *bindir = getenv("HYDAC_BINDIR");
    if (bindir && *bindir) {
        if (program_at(bindir, strlen(bindir), name, path, size))
            return 0;
        return hd_fail(err, HD_E_NOTFOUND, "there is no %s in $HYDAC_BINDIR (%s)", name, bindir);
    }
    if (program_beside_us(name, neighbour, path, size))
        return 0;
    if (hd_find_in_path(name, path, size))
        return 0;
    return hd_fail(err, HD_E_NOTFOUND, "cannot find %s; set $HYDAC_BINDIR to its folder", name);
}

int hd_make_folders(const char *path, struct hd_error *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return hd_fail(err, HD_E_RANGE, "not a path: '%s'", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return hd_fail(err, HD_E_IO, "cannot make the folder %s: %s", part, strerror(errno));
    }
    return 0;
}

int hd_make_temporary_folder(char *path, size_t size, struct hd_error *err)
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(path, size, "%s/hydac-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n > 0 && (size_t)n < size && mkdtemp(path))
        return 0;
    return hd_fail(err, HD_E_IO, "cannot make a temporary folder %s", path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    remove(path);
    return 0;
}

void hd_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int hd_write_text(const char *path, void (*print)(FILE *f, const void *what), const void *what,
                  struct hd_error *err)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return hd_fail(err, HD_E_IO, "cannot write %s: %s", path, strerror(errno));
    print(f, what);
    int broken = ferror(f);
    if (fclose(f) != 0 || broken)
        return hd_fail(err, HD_E_IO, "cannot write %s", path);
    return 0;
}

int hd_write_json(const char *path, const json_t *v, struct hd_error *err)
{
    char tmp[PATH_MAX];
    if (!v)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof tmp)
        return hd_fail(err, HD_E_RANGE, "the path is too long: %s", path);
    if (json_dump_file(v, tmp, JSON_COMPACT) == 0 && rename(tmp, path) == 0)
        return 0;
    hd_fail(err, HD_E_IO, "cannot write %s: %s", path, strerror(errno));
    unlink(tmp);
    return HD_E_IO;
}
