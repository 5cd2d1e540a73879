/* temp_file.c - mkdtemp and a file in it. */
#include "temp_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void temp_file_init(struct temp_file *f, const void *bytes, size_t len)
{
    snprintf(f->dir, sizeof f->dir, "/tmp/hydac-util-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/config.yaml", f->dir);
    FILE *out = fopen(f->path, "w");
    cr_assert_not_null(out);
    cr_assert_eq(fwrite(bytes, 1, len, out), len);
    cr_assert_eq(fclose(out), 0);
}

void temp_file_deinit(struct temp_file *f)
{
    unlink(f->path);
    rmdir(f->dir);
}
