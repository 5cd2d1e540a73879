/* config_load.c - the file as text. */
#include "common/util/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All of the file; *text is malloc'ed. */
static int read_file(const char *path, char **text, size_t *len, struct hd_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us */
    if (fd < 0 || fstat(fd, &st) < 0) {
        hd_fail(err, HD_E_IO, "cannot read %s: %s", path, strerror(errno));
        goto err_after_open;
    }
    if (!S_ISREG(st.st_mode)) {
        hd_fail(err, HD_E_IO, "%s is not a file; give a YAML file", path);
        goto err_after_open;
    }
    *text = malloc(HD_CONFIG_MAX_FILE + 1);
    if (!*text) {
        hd_fail(err, HD_E_NOMEM, "%s: out of memory", path);
        goto err_after_open;
    }
    ssize_t n = 0;
    for (*len = 0; *len <= HD_CONFIG_MAX_FILE; *len += (size_t)n) {
        n = read(fd, *text + *len, HD_CONFIG_MAX_FILE + 1 - *len);
        if (n <= 0)
            break;
    }
    if (n < 0) {
        hd_fail(err, HD_E_IO, "cannot read %s: %s", path, strerror(errno));
        goto err_after_text;
    }
    if (*len > HD_CONFIG_MAX_FILE) {
        hd_fail(err, HD_E_CONFIG, "%s has more than %u bytes; is it a configuration?", path,
                HD_CONFIG_MAX_FILE);
        goto err_after_text;
    }
    close(fd);
    return 0;

err_after_text:
    free(*text);
err_after_open:
    if (fd >= 0)
        close(fd);
    return err->code;
}

int hd_config_load(const char *path, const struct hd_config_key *keys, void *config,
                   struct hd_error *err)
{
    struct hd_error own;
    char *text = NULL;
    size_t len = 0;
    int rc = read_file(path, &text, &len, err ? err : &own);
    if (rc < 0)
        return rc;
    rc = hd_config_parse(path, text, len, keys, config, err);
    free(text);
    return rc;
}
