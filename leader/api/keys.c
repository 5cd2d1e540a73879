/* keys.c - who may ask, and the certificate that HTTPS shows. */
#include "leader/api/keys.h"

#include "leader/api/framing.h"
#include "leader/api/limits.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Files ---------------------------------------------------------------------------------- */

static bool given(const char *path)
{
    return path && path[0];
}

static int load_key(struct hd_api_key *k, const char *setting, const char *path,
                    struct hd_error *err)
{
    if (!given(path))
        return 0;
    int rc = hd_secret_read(path, k->text, sizeof k->text, &k->len, err);
    if (rc < 0)
        return hd_fail_in(err, "%s", setting);
    rc = hd_api_key_check(k->text, &k->len, err);
    return rc < 0 ? hd_fail_in(err, "%s: %s", setting, path) : 0;
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

static int load_pair(struct hd_api_keys *k, const struct hd_api_key_files *f, struct hd_error *err)
{
    size_t len;
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "http.cert: this libmicrohttpd was built without TLS; put a proxy in front");
    k->cert_key = calloc(1, HD_MAX_PEM + 1);
    if (!k->cert_key)
        return hd_fail(err, HD_E_NOMEM, "HTTP: out of memory");
    if (hd_secret_read(f->cert_key, k->cert_key, HD_MAX_PEM + 1, &len, err) < 0)
        return hd_fail_in(err, "http.cert_key");
    return load_certificate(&k->cert, f->cert, err);
}

int hd_api_keys_load(struct hd_api_keys *k, const struct hd_api_key_files *f, struct hd_error *err)
{
    int rc = load_key(&k->api, "http.api_key_file", f->api_key, err);
    if (rc == 0)
        rc = load_key(&k->admin, "http.admin_key_file", f->admin_key, err);
    if (rc == 0 && given(f->cert))
        rc = load_pair(k, f, err);
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

static bool shows(struct MHD_Connection *conn, const struct hd_api_key *key)
{
    const char *shown = shown_key(conn);
    return key->len > 0 && hd_secret_equal(key->text, key->len, shown, strlen(shown));
}

unsigned hd_api_key_shown(const struct hd_api_keys *k, struct MHD_Connection *conn)
{
    return shows(conn, &k->admin) ? 2 : shows(conn, &k->api);
}

void hd_api_owner(const struct hd_api_keys *k, struct MHD_Connection *conn, uint8_t out[HD_OWNER])
{
    static const char purpose[] = "hydac: the owner of a request";
    unsigned which = hd_api_key_shown(k, conn);
    const struct hd_api_key *key = which == 2 ? &k->admin : &k->api;
    uint8_t all[EVP_MAX_MD_SIZE];
    memset(out, 0, HD_OWNER);
    if (which != 0 && HMAC(EVP_sha256(), key->text, (int)key->len, (const uint8_t *)purpose,
                           sizeof purpose, all, NULL))
        memcpy(out, all, HD_OWNER);
}

bool hd_api_is_guarded(const char *url)
{
    static const char *const folders[] = {"/v1", "/hydac", "/api", "/tokenize", "/detokenize"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (below(url, folders[i]))
            return true;
    return false;
}

/* One sentence for a key that is wrong and for one that is missing. */
static int refuse_key(struct hd_refusal *r, bool admin)
{
    return hd_refuse(r, 401, NULL, admin ? "invalid_admin_key" : "invalid_api_key",
                     "This needs the %s key of the leader; send it as Authorization: Bearer KEY, "
                     "or as X-Api-Key: KEY.",
                     admin ? "admin" : "API");
}

/* What changes the cluster is for who has the admin key, which opens everything else as well. Where
 * there is none it is for programs on this machine, with the API key if there is one of these. */
static int check_asker(const struct hd_api_keys *k, const struct hd_origins *o,
                       const struct hd_ask *ask, struct hd_refusal *r)
{
    if (shows(ask->conn, &k->admin))
        return 0;
    if (ask->admin && k->admin.len > 0)
        return refuse_key(r, true);
    if (k->api.len > 0 && !shows(ask->conn, &k->api))
        return refuse_key(r, false);
    if (k->api.len == 0 && hd_origin_check(o, ask->conn, r) < 0)
        return HD_E_RANGE;
    if (ask->admin && !hd_origin_is_local(ask->conn))
        return hd_refuse(r, 403, NULL, "admin_only",
                         "What changes the cluster is asked on the leader's own machine, by no web "
                         "page and through no proxy; elsewhere it needs the key of "
                         "http.admin_key_file.");
    return 0;
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t n = strcspn(type, "; \t");
    const char *rest = type + n + strspn(type + n, " \t");
    return n == sizeof json - 1 && strncasecmp(type, json, n) == 0 && (!*rest || *rest == ';');
}

/* A web page can send anything but this without a preflight. Programs that leave the type out (some
 * clients of Ollama's) are told from browsers, which say whence they ask; to change the cluster it
 * has to be there all the same. */
static int check_type(const struct hd_ask *ask, struct hd_refusal *r)
{
    const char *type = MHD_lookup_connection_value(ask->conn, MHD_HEADER_KIND, "Content-Type");
    bool program = !ask->admin && !hd_origin_is_told(ask->conn);
    if (type ? is_json(type) : program || !hd_framing_has_body(ask->conn))
        return 0;
    return hd_refuse(r, 415, NULL, "unsupported_media_type",
                     "The body must be JSON; send Content-Type: application/json with it.");
}

/* A body as it is; compressed ones are not opened. */
static int check_coding(const struct hd_ask *ask, struct hd_refusal *r)
{
    const char *coding =
        MHD_lookup_connection_value(ask->conn, MHD_HEADER_KIND, "Content-Encoding");
    if (!coding || strcasecmp(coding, "identity") == 0)
        return 0;
    return hd_refuse(r, 415, NULL, "unsupported_content_encoding",
                     "The body must not be compressed: send it without Content-Encoding.");
}

int hd_api_admit(const struct hd_api_keys *k, const struct hd_origins *o, const struct hd_ask *ask,
                 struct hd_refusal *r)
{
    if (ask->preflight)
        return hd_cors_check(o, ask->conn, r);
    if (!hd_api_is_guarded(ask->url))
        return 0;
    int rc = check_asker(k, o, ask, r);
    if (rc == 0 && strcmp(ask->method, "POST") == 0)
        rc = check_type(ask, r);
    return rc == 0 ? check_coding(ask, r) : rc;
}
