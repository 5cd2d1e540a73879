/* Files that change under an open model, and the digests that find it. */
#include "common/model/digests.h"
#include "common/model/files.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[160];
static struct hd_model *model;
static const _Atomic bool go_on;

static void open_model(void)
{
    folder_init();
    snprintf(path, sizeof path, "%s", make_synth("tiny-gqa3", HD_Q4_0, 3));
    model = open_ok(path);
}

static void close_model(void)
{
    hd_model_close(model);
    folder_fini();
}

TestSuite(digests, .init = open_model, .fini = close_model, .timeout = 120);

static struct hd_digests *made(const struct hd_model *m)
{
    struct hd_digests *d;
    struct hd_error err = {0};
    cr_assert_eq(hd_digests_new(&d, m), 0);
    cr_assert_eq(hd_digests_make(d, 2, &go_on, &err), 0, "%s", err.text);
    return d;
}

static uint64_t digest_now(const struct hd_digests *d, size_t index)
{
    struct hd_cuts c = hd_piece_cuts(d->model, &d->units, hd_piece_nth(d->model, &d->units, index));
    size_t n = hd_piece_bytes(&c);
    uint8_t *bytes = malloc(n);
    hd_piece_copy(&c, 0, n, bytes);
    uint64_t digest = hd_piece_digest(bytes, n);
    free(bytes);
    return digest;
}

/* Overwrites n bytes of the file at the place of a tensor's byte. */
static void overwrite(const uint8_t *byte, size_t n)
{
    uint64_t offset;
    cr_assert_str_eq(hd_model_where(model, byte, &offset), path);
    uint8_t *junk = malloc(n);
    memset(junk, 0xA5, n);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, junk, n, (off_t)offset), (ssize_t)n);
    close(fd);
    free(junk);
}

static void expect_changed(int rc, const char *word)
{
    struct hd_error err = {0};
    cr_assert_eq(hd_model_check_files(model, &err), rc);
    cr_assert_not_null(strstr(err.text, word), "%s", err.text);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
}

Test(digests, of_every_piece_and_row)
{
    struct hd_digests *d = made(model);
    uint8_t row[4096];
    for (size_t i = 0; i < d->n; i++)
        cr_assert_eq(d->piece[i], digest_now(d, i));
    for (uint32_t i = 0; i < model->shape.vocab; i++)
        cr_assert(hd_digests_row(d, i, row));
    const struct hd_tensor *t = &model->embedding;
    cr_assert_eq(memcmp(row, t->data + (t->rows - 1) * t->row_bytes, t->row_bytes), 0);
    cr_assert_eq(d->norms, hd_digests_norms(model));
    hd_digests_free(d);
}

Test(digests, stopped)
{
    static const _Atomic bool stop = true;
    struct hd_digests *d;
    struct hd_error err = {0};
    cr_assert_eq(hd_digests_new(&d, model), 0);
    cr_assert_eq(hd_digests_make(d, 2, &stop, &err), HD_E_STATE);
    hd_digests_free(d);
}

/* ---- Kept ----*/

static int read_back(const struct hd_model *m)
{
    struct hd_digests *d;
    cr_assert_eq(hd_digests_new(&d, m), 0);
    int rc = hd_digests_read(d, in_folder("."));
    for (size_t i = 0; rc == 0 && i < d->n; i++)
        cr_assert_eq(d->piece[i], digest_now(d, i));
    hd_digests_free(d);
    return rc;
}

static void keep(void)
{
    struct hd_error err = {0};
    struct hd_digests *d = made(model);
    cr_assert_eq(hd_digests_write(d, in_folder("."), &err), 0, "%s", err.text);
    hd_digests_free(d);
}

static void kept_path(char *to, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, "digests/%016llx", (unsigned long long)model->digest);
    snprintf(to, size, "%s", in_folder(name));
}

static void reopen(void)
{
    hd_model_close(model);
    model = open_ok(path);
}

Test(digests, kept_for_this_file_only)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};
    size_t len;
    cr_assert_eq(read_back(model), HD_E_NOTFOUND);
    keep();
    cr_assert_eq(read_back(model), 0);
    reopen();
    cr_assert_eq(read_back(model), 0);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    reopen();
    cr_assert_eq(read_back(model), HD_E_NOTFOUND, "another time of writing");
    keep();
    cr_assert_eq(read_back(model), 0);
    uint8_t *bytes = file_read(path, &len); /* the same bytes and time in another file */
    cr_assert_eq(unlink(path), 0);
    file_write(in_folder("between"), "", 0); /* takes the inode, if it is free */
    file_write(path, bytes, len);
    free(bytes);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    reopen();
    cr_assert_eq(read_back(model), HD_E_NOTFOUND, "another inode");
}

Test(digests, kept_and_damaged)
{
    char kept[200];
    size_t len;
    keep();
    kept_path(kept, sizeof kept);
    uint8_t *good = file_read(kept, &len);
    for (size_t at = 0; at < len; at += 1 + len / 200) {
        good[at] ^= 4;
        file_write(kept, good, len);
        cr_assert_eq(read_back(model), HD_E_NOTFOUND, "byte %zu", at);
        good[at] ^= 4;
    }
    file_write(kept, good, len - 1);
    cr_assert_eq(read_back(model), HD_E_NOTFOUND);
    file_write(kept, good, len);
    cr_assert_eq(read_back(model), 0);
    free(good);
}

Test(digests, nowhere_to_keep_them)
{
    struct hd_error err = {0};
    struct hd_digests *d = made(model);
    cr_assert_eq(hd_digests_write(d, "/proc/self/nothing", &err), HD_E_IO);
    cr_assert_not_null(strstr(err.text, "/proc/self/nothing/digests/"), "%s", err.text);
    hd_digests_free(d);
}

/* ---- Changed ----*/

Test(digests, overwritten)
{
    struct hd_digests *d = made(model);
    const struct hd_tensor *t = &model->layers[1].down;
    uint8_t row[4096];
    size_t wrong = 0;
    cr_assert_eq(hd_model_check_files(model, NULL), 0);
    overwrite(t->data + t->rows / 2 * t->row_bytes, t->row_bytes);
    expect_changed(HD_FILES_TOUCHED, "written to");
    for (size_t i = 0; i < d->n; i++)
        wrong += d->piece[i] != digest_now(d, i);
    cr_assert_eq(wrong, d->units.ffn_blocks, "a row has columns of every block");
    t = &model->embedding;
    overwrite(t->data + (t->rows - 1) * t->row_bytes, 1);
    cr_assert_not(hd_digests_row(d, (uint32_t)t->rows - 1, row));
    cr_assert(hd_digests_row(d, (uint32_t)t->rows - 2, row));
    struct hd_error err = {0};
    struct hd_digests *again;
    struct hd_digests_part what;
    cr_assert_eq(hd_digests_new(&again, model), 0);
    cr_assert_eq(hd_digests_make(again, 1, &go_on, &err), HD_FILES_TOUCHED);
    cr_assert_not(hd_digests_same(d, again, &what));
    cr_assert_eq(what.kind, HD_DIGESTS_PIECE);
    cr_assert_eq(hd_piece_nth(model, &d->units, what.index).kind, HD_UNIT_FFN);
    memcpy(again->piece, d->piece, d->n * sizeof *d->piece);
    cr_assert_not(hd_digests_same(d, again, &what));
    cr_assert(what.kind == HD_DIGESTS_ROW && what.index == t->rows - 1);
    again->row[t->rows - 1] = d->row[t->rows - 1];
    cr_assert(hd_digests_same(d, again, &what));
    again->norms ^= 1;
    cr_assert_not(hd_digests_same(d, again, &what));
    cr_assert_eq(what.kind, HD_DIGESTS_NORMS);
    hd_digests_free(again);
    hd_digests_free(d);
}

/* Written to, but the same bytes: whoever has noted the files and made the digests anew can tell.
 */
Test(digests, touched)
{
    struct hd_digests *d = made(model), *again;
    struct hd_error err = {0};
    struct hd_digests_part what;
    uint64_t stamp = hd_model_stamp(model);
    cr_assert_eq(utimensat(AT_FDCWD, path, NULL, 0), 0);
    expect_changed(HD_FILES_TOUCHED, "written to");
    hd_model_note_files(model);
    cr_assert_eq(hd_model_check_files(model, NULL), HD_FILES_SAME);
    cr_assert_neq(hd_model_stamp(model), stamp);
    cr_assert_eq(hd_digests_new(&again, model), 0);
    cr_assert_eq(hd_digests_make(again, 1, &go_on, &err), 0, "%s", err.text);
    cr_assert(hd_digests_same(d, again, &what));
    hd_digests_free(again);
    hd_digests_free(d);
}

/* What was checked when it was opened stays: tokenizers hold views of it. */
Test(digests, the_header_is_a_copy)
{
    struct hd_str before, after;
    size_t len;
    cr_assert_eq(hd_gguf_str(model->gguf, "general.architecture", &before), 0);
    uint8_t *bytes = file_read(path, &len);
    memset(bytes, 0xFF, len);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, bytes, len, 0), (ssize_t)len);
    close(fd);
    free(bytes);
    cr_assert_eq(hd_gguf_str(model->gguf, "general.architecture", &after), 0);
    cr_assert_eq(after.len, 5);
    cr_assert_eq(memcmp(after.data, "llama", 5), 0);
    expect_changed(HD_FILES_TOUCHED, "written to");
}

static void *sum_bytes(void *arg)
{
    const struct hd_tensor *t = arg;
    uint64_t *sum = calloc(1, sizeof *sum);
    for (size_t i = 0; i < t->rows * t->row_bytes; i++)
        *sum += t->data[i];
    return sum;
}

/* Several threads read what is gone: zeros, no signal. Another file is read as ever. */
Test(digests, cut_shorter)
{
    struct hd_tensor *t = &model->layers[model->shape.n_layers - 1].down; /* near the end */
    struct hd_digests *d = made(model);
    struct hd_model *other = open_ok(make_synth("tiny", HD_F32, 4));
    struct hd_digests *whole = made(other);
    pthread_t threads[4];
    uint64_t offset;
    cr_assert_not_null(hd_model_where(model, t->data, &offset));
    cr_assert_eq(truncate(path, (off_t)(offset - offset % 4096)), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, sum_bytes, t), 0);
    for (int i = 0; i < 4; i++) {
        void *sum;
        pthread_join(threads[i], &sum);
        cr_assert_eq(*(uint64_t *)sum, 0);
        free(sum);
    }
    size_t index = hd_piece_index(model, &d->units,
                                  (struct hd_piece_at){HD_UNIT_FFN, 0, model->shape.n_layers - 1});
    cr_assert_neq(d->piece[index], digest_now(d, index));
    expect_changed(HD_E_IO, "bytes, now");
    for (size_t i = 0; i < whole->n; i++)
        cr_assert_eq(whole->piece[i], digest_now(whole, i));
    cr_assert_eq(hd_model_check_files(other, NULL), 0);
    hd_digests_free(whole);
    hd_model_close(other);
    hd_digests_free(d);
}

/* Grown again it looks whole; the pages that were lost stay lost, and said. */
Test(digests, cut_and_grown_again)
{
    struct stat st;
    struct hd_tensor *t = &model->layers[model->shape.n_layers - 1].down;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(truncate(path, 4096), 0);
    uint64_t *sum = sum_bytes(t);
    cr_assert_eq(*sum, 0);
    free(sum);
    cr_assert_eq(truncate(path, st.st_size), 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    expect_changed(HD_E_IO, "cannot be read");
}

/* Reads a mapping of its own that has shrunk. */
static int fault(void)
{
    int fd = open(in_folder("raw"), O_RDWR | O_CREAT, 0600);
    if (ftruncate(fd, 4096) < 0)
        return 0;
    volatile uint8_t *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    return p[0] == 0 && ftruncate(fd, 0) == 0 ? p[0] : 0;
}

/* A fault that is not ours ends the process, or goes to who listened before (a sanitizer). */
Test(digests, other_faults_are_not_ours)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(fault());
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert((WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) ||
                  (WIFEXITED(status) && WEXITSTATUS(status) != 0) ||
                  (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT),
              "status %x", (unsigned)status);
}

Test(digests, a_folder_of_shards)
{
    struct hd_model *m = open_ok(small_folder(&(struct twist){.sharded = true}));
    const struct hd_tensor *last = &m->layers[SMALL_LAYERS - 1].down;
    uint64_t offset, stamp = hd_model_stamp(m);
    struct hd_digests *d = made(m);
    const char *shard = hd_model_where(m, last->data, &offset);
    cr_assert_not_null(shard);
    cr_assert_neq(stamp, 0);
    cr_assert_eq(truncate(shard, (off_t)offset), 0);
    cr_assert_eq(hd_model_check_files(m, NULL), HD_E_IO);
    hd_digests_free(d);
    hd_model_close(m);
}
