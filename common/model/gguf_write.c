/* gguf_write.c - writes beside the wanted name and renames at the end: nobody sees half a file. */
#include "common/model/gguf_write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct hd_gguf_writer {
    const char *path; /* borrowed */
    char *tmp;
    FILE *file;
    FILE *keys, *infos; /* in memory: their numbers come first in the file */
    char *keys_text, *infos_text;
    size_t keys_len, infos_len;
    uint64_t n_keys, n_tensors;
    uint64_t declared; /* bytes of data that the tensors listed so far take, padded */
    uint64_t written;  /* bytes of data */
    int error;         /* errno of the first failure */
};

static void put(struct hd_gguf_writer *w, FILE *f, const void *p, size_t n)
{
    if (w->error == 0 && fwrite(p, 1, n, f) != n)
        w->error = errno ? errno : EIO;
}

static void put_string(struct hd_gguf_writer *w, FILE *f, const char *s)
{
    uint64_t len = strlen(s);

    put(w, f, &len, sizeof len);
    put(w, f, s, len);
}

static void writer_free(struct hd_gguf_writer *w)
{
    if (w->file)
        fclose(w->file);
    if (w->keys)
        fclose(w->keys);
    if (w->infos)
        fclose(w->infos);
    free(w->keys_text);
    free(w->infos_text);
    free(w->tmp);
    free(w);
}

/* mkstemp makes files that only their owner may read; a model is an ordinary file. */
static FILE *open_temporary(char *name)
{
    int fd = mkstemp(name);
    mode_t mask = umask(0);

    umask(mask);
    if (fd < 0)
        return NULL;
    fchmod(fd, 0666 & ~mask);
    FILE *f = fdopen(fd, "wb");
    if (!f) {
        close(fd);
        unlink(name);
    }
    return f;
}

int hd_gguf_write_begin(struct hd_gguf_writer **out, const char *path, struct hd_error *err)
{
    struct hd_gguf_writer *w = calloc(1, sizeof *w);

    *out = NULL;
    if (!w)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to write it", path);
    w->path = path;
    w->keys = open_memstream(&w->keys_text, &w->keys_len);
    w->infos = open_memstream(&w->infos_text, &w->infos_len);
    if (asprintf(&w->tmp, "%s.XXXXXX", path) < 0)
        w->tmp = NULL;
    if (!w->keys || !w->infos || !w->tmp) {
        writer_free(w);
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to write it", path);
    }
    w->file = open_temporary(w->tmp);
    if (!w->file) {
        int rc = hd_fail(err, HD_E_IO, "%s: cannot be written: %s", path, strerror(errno));

        writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* ---- Keys -----------------------------------------------------------------------------------*/

static void put_key(struct hd_gguf_writer *w, const char *key, uint32_t type)
{
    put_string(w, w->keys, key);
    put(w, w->keys, &type, sizeof type);
    w->n_keys++;
}

void hd_gguf_put_u32(struct hd_gguf_writer *w, const char *key, uint32_t v)
{
    put_key(w, key, GGUF_U32);
    put(w, w->keys, &v, sizeof v);
}

void hd_gguf_put_f32(struct hd_gguf_writer *w, const char *key, float v)
{
    put_key(w, key, GGUF_F32);
    put(w, w->keys, &v, sizeof v);
}

void hd_gguf_put_bool(struct hd_gguf_writer *w, const char *key, bool v)
{
    uint8_t byte = v;

    put_key(w, key, GGUF_BOOL);
    put(w, w->keys, &byte, sizeof byte);
}

void hd_gguf_put_str(struct hd_gguf_writer *w, const char *key, const char *v)
{
    put_key(w, key, GGUF_STRING);
    put_string(w, w->keys, v);
}

void hd_gguf_put_array(struct hd_gguf_writer *w, const char *key, enum gguf_type type, uint64_t n)
{
    uint32_t element = type;

    put_key(w, key, GGUF_ARRAY);
    put(w, w->keys, &element, sizeof element);
    put(w, w->keys, &n, sizeof n);
}

void hd_gguf_element_str(struct hd_gguf_writer *w, const char *v)
{
    put_string(w, w->keys, v);
}

void hd_gguf_element_i32(struct hd_gguf_writer *w, int32_t v)
{
    put(w, w->keys, &v, sizeof v);
}

/* ---- Tensors --------------------------------------------------------------------------------*/

static uint64_t padding(uint64_t at)
{
    return (GGUF_DEFAULT_ALIGNMENT - at % GGUF_DEFAULT_ALIGNMENT) % GGUF_DEFAULT_ALIGNMENT;
}

void hd_gguf_put_tensor(struct hd_gguf_writer *w, const char *name, enum hd_dtype type,
                        const size_t sizes[3])
{
    const uint64_t ne[3] = {sizes[0], sizes[1], sizes[2]};
    uint32_t n_dims = ne[2] > 1 ? 3 : ne[1] ? 2 : 1, ggml_type = type;
    uint64_t rows = (ne[1] ? ne[1] : 1) * (n_dims == 3 ? ne[2] : 1);
    uint64_t bytes = rows * hd_dtype_row_bytes(type, sizes[0]);

    put_string(w, w->infos, name);
    put(w, w->infos, &n_dims, sizeof n_dims);
    put(w, w->infos, ne, n_dims * sizeof *ne);
    put(w, w->infos, &ggml_type, sizeof ggml_type);
    put(w, w->infos, &w->declared, sizeof w->declared);
    w->declared += bytes + padding(bytes);
    w->n_tensors++;
}

static void put_zeros(struct hd_gguf_writer *w, uint64_t n)
{
    static const uint8_t zeros[GGUF_DEFAULT_ALIGNMENT];

    put(w, w->file, zeros, n);
}

void hd_gguf_write_header(struct hd_gguf_writer *w)
{
    const uint32_t head[2] = {GGUF_MAGIC, GGUF_VERSION};
    const uint64_t counts[2] = {w->n_tensors, w->n_keys};

    if (w->error == 0 && (fflush(w->keys) != 0 || fflush(w->infos) != 0))
        w->error = ENOMEM;
    put(w, w->file, head, sizeof head);
    put(w, w->file, counts, sizeof counts);
    put(w, w->file, w->keys_text, w->keys_len);
    put(w, w->file, w->infos_text, w->infos_len);
    put_zeros(w, padding(sizeof head + sizeof counts + w->keys_len + w->infos_len));
}

void hd_gguf_write_data(struct hd_gguf_writer *w, const void *data, size_t len)
{
    put(w, w->file, data, len);
    w->written += len;
}

bool hd_gguf_end_tensor(struct hd_gguf_writer *w)
{
    uint64_t n = padding(w->written);

    put_zeros(w, n);
    w->written += n;
    return w->error == 0;
}

void hd_gguf_write_hole(struct hd_gguf_writer *w, uint64_t len)
{
    if (w->error == 0 &&
        (fflush(w->file) != 0 || ftruncate(fileno(w->file), ftello(w->file) + (off_t)len) < 0 ||
         fseeko(w->file, 0, SEEK_END) < 0))
        w->error = errno;
    w->written += len;
}

void hd_gguf_write_fail(struct hd_gguf_writer *w, int error)
{
    if (w->error == 0)
        w->error = error;
}

/* ---- The end --------------------------------------------------------------------------------*/

int hd_gguf_write_commit(struct hd_gguf_writer *w, struct hd_error *err)
{
    int rc = 0;

    if (w->error == 0 && (fflush(w->file) != 0 || fsync(fileno(w->file)) < 0))
        w->error = errno;
    if (w->error == 0 && rename(w->tmp, w->path) < 0)
        w->error = errno;
    if (w->error) {
        unlink(w->tmp);
        rc = hd_fail(err, w->error == ENOMEM ? HD_E_NOMEM : HD_E_IO, "%s: cannot be written: %s",
                     w->path, strerror(w->error));
    }
    writer_free(w);
    return rc;
}
