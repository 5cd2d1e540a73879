/* json_file.c - reads a file whole, up to a limit; what is no plain file is not even opened. */
#include "common/text/json_file.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int hd_text_file(const char *folder, const char *name, char **data, size_t *len,
                 struct hd_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    FILE *f;
    int rc = 0;

    *data = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: the path of %s is too long", name);
    if (stat(path, &st) < 0)
        return errno == ENOENT ? HD_E_NOTFOUND
                               : hd_fail(err, HD_E_IO, "tokenizer: %s: %s", name, strerror(errno));
    if (!S_ISREG(st.st_mode)) /* before opening: a FIFO would wait for a writer */
        return hd_fail(err, HD_E_IO, "tokenizer: %s is not a file", name);
    if ((uint64_t)st.st_size > HD_TEXT_FILE_MAX_BYTES)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %s is larger than %zu MiB", name,
                       HD_TEXT_FILE_MAX_BYTES >> 20);
    f = fopen(path, "rb");
    if (!f)
        return hd_fail(err, HD_E_IO, "tokenizer: %s: %s", name, strerror(errno));
    *data = malloc((size_t)st.st_size + 1);
    if (!*data)
        rc = hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %s", name);
    if (rc == 0) {
        *len = fread(*data, 1, (size_t)st.st_size, f);
        (*data)[*len] = '\0';
        if (ferror(f) || *len != (size_t)st.st_size)
            rc = hd_fail(err, HD_E_IO, "tokenizer: %s could not be read", name);
    }
    fclose(f);
    if (rc < 0) {
        free(*data);
        *data = NULL;
    }
    return rc;
}

int hd_text_json(const char *folder, const char *name, json_t **out, struct hd_error *err)
{
    json_error_t why;
    char *data;
    size_t len;
    int rc = hd_text_file(folder, name, &data, &len, err);

    *out = NULL;
    if (rc < 0)
        return rc;
    *out = json_loadb(data, len, 0, &why);
    free(data);
    if (!*out)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: %s, line %d: %s", name, why.line, why.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return hd_fail(err, HD_E_FORMAT, "tokenizer: %s is not a JSON object", name);
    }
    return 0;
}
