/* replay.c - a fuzz target as an ordinary test: replay FILE-OR-FOLDER ...
 *
 * Runs the target with every file, with beginnings of it and with single bytes changed, always the
 * same ones. Fails when it finds no file. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE  (4u << 20)
#define VARIANTS  64    /* of each file and kind */
#define MAX_SLOW  65536 /* larger files are run as they are, and cut short a few times */
#define SLOW_CUTS 4

static unsigned files;

/* A copy of exact size, so that a sanitizer sees every byte that is read beyond it. */
static void run_copy(const uint8_t *data, size_t size, size_t at, uint8_t change)
{
    uint8_t *copy = malloc(size ? size : 1);
    FUZZ_CHECK(copy);
    memcpy(copy, data, size);
    if (at < size)
        copy[at] ^= change;
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_variants(const uint8_t *data, size_t size)
{
    size_t n = size > MAX_SLOW ? SLOW_CUTS : VARIANTS;
    run_copy(data, size, SIZE_MAX, 0);
    for (size_t i = 0; i < n; i++)
        run_copy(data, size * i / n, SIZE_MAX, 0);
    for (size_t i = 0; i < n && size <= MAX_SLOW; i++)
        run_copy(data, size, (size * i + i) / n, (uint8_t)(1u << i % 8));
}

static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(MAX_FILE);
    FUZZ_CHECK(f && data);
    size_t size = fread(data, 1, MAX_FILE, f);
    FUZZ_CHECK(size < MAX_FILE);
    fclose(f);
    run_variants(data, size);
    free(data);
    files++;
}

static void run_folder(const char *path)
{
    char file[4096];
    DIR *d = opendir(path);
    FUZZ_CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        run_file(file);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    struct stat st;
    for (int i = 1; i < argc; i++) {
        FUZZ_CHECK(stat(argv[i], &st) == 0);
        if (S_ISDIR(st.st_mode))
            run_folder(argv[i]);
        else
            run_file(argv[i]);
    }
    printf("%u files\n", files);
    return files > 0 ? 0 : 1;
}
