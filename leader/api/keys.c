/* keys.c - who may ask, and the certificate that HTTPS shows. */
#include "leader/api/api_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Files ---------------------------------------------------------------------------------- */

static int load_api_key(struct hd_api_keys *k, const char *path, struct hd_error *err)
{
    int rc = hd_secret_read(path, k->key, sizeof k->key, &k->len, err);
    if (rc < 0)
        return hd_fail_in(err, "http.api_key_file");
    rc = hd_api_key_check(k->key, &k->len, err);
    return rc < 0 ? hd_fail_in(err, "http.api_key_file: %s", path) : 0;
}

/* All of a file that everybody may read; malloc'ed, NUL-terminated. */
static int load_certificate(char **text, const char *path, struct hd_error *err)
{
    FILE *f = fopen(path, "re");
    char *buf = f ? calloc(1, HD_MAX_PEM + 1) : NULL;
    size_t n = buf ? fread(buf, 1, HD_MAX_PEM + 1, f) : 0;
    int rc = 0;
    if (!buf || ferror(f))
        rc = hd_fail(err, HD_E_IO, "http.cert: cannot read %s: %s", path, strerror(errno));
    else if (n > HD_MAX_PEM)
        rc = hd_fail(err, HD_E_CONFIG, "http.cert: %s has more than %u bytes; it is no certificate",
                     path, HD_MAX_PEM);
    if (f)
        fclose(f);
    if (rc == 0)
        *text = buf;
    else
        free(buf);
    return rc;
}

static int load_pair(struct hd_api_keys *k, const struct hd_api_options *o, struct hd_error *err)
{
    size_t len;
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "http.cert: this libmicrohttpd was built without TLS; put a proxy in front");
    k->cert_key = calloc(1, HD_MAX_PEM + 1);
    if (!k->cert_key)
        return hd_fail(err, HD_E_NOMEM, "HTTP: out of memory");
    if (hd_secret_read(o->cert_key_file, k->cert_key, HD_MAX_PEM + 1, &len, err) < 0)
        return hd_fail_in(err, "http.cert_key");
    return load_certificate(&k->cert, o->cert_file, err);
}

static bool given(const char *path)
{
    return path && path[0];
}

int hd_api_keys_load(struct hd_api_keys *k, const struct hd_api_options *o, struct hd_error *err)
{
    int rc = given(o->api_key_file) ? load_api_key(k, o->api_key_file, err) : 0;
    if (rc == 0 && given(o->cert_file))
        rc = load_pair(k, o, err);
    return rc;
}

void hd_api_keys_wipe(struct hd_api_keys *k)
{
    if (k->cert_key)
        hd_secret_wipe(k->cert_key, HD_MAX_PEM + 1);
    free(k->cert_key);
    free(k->cert);
    hd_secret_wipe(k, sizeof *k);
}

/* ---- Requests ------------------------------------------------------------------------------- */

static bool below(const char *url, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(url, folder, n) == 0 && (url[n] == '\0' || url[n] == '/');
}

/* What the client says its key is, or "". */
static const char *shown_key(struct MHD_Connection *conn)
{
    static const char scheme[] = "Bearer ";
    const char *auth = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Authorization");
    if (auth && strncasecmp(auth, scheme, strlen(scheme)) == 0) {
        auth += strlen(scheme);
        return auth + strspn(auth, " ");
    }
    const char *key = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "X-Api-Key");
    return key ? key : "";
}

bool hd_api_needs_key(const struct hd_api *a, const char *url)
{
    return a->keys.len > 0 && (below(url, "/v1") || below(url, "/hydac"));
}

bool hd_api_allows(const struct hd_api *a, struct MHD_Connection *conn, const char *url)
{
    if (!hd_api_needs_key(a, url))
        return true;
    const char *key = shown_key(conn);
    return hd_secret_equal(a->keys.key, a->keys.len, key, strlen(key));
}
