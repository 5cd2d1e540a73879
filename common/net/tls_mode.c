/* tls_mode.c - the settings: when plaintext is allowed, and the key from its file. */
#include "common/net/address.h"
#include "common/net/tls.h"

const char *const hd_tls_modes[] = {"auto", "on", "off", NULL};

int hd_tls_check_mode(int mode, const char *key, struct hd_error *err)
{
    if (mode == HD_TLS_ON && key[0] == '\0')
        return hd_fail(err, HD_E_CONFIG,
                       "cluster.tls: on needs the cluster's key; give it with --key FILE (hydac "
                       "keygen makes one)");
    if (mode == HD_TLS_OFF && key[0] != '\0')
        return hd_fail(err, HD_E_CONFIG,
                       "cluster.tls: off leaves cluster.key without a use; remove one of them");
    return 0;
}

int hd_tls_check_plaintext(int mode, const struct sockaddr *addr, const char *what,
                           struct hd_error *err)
{
    if (mode == HD_TLS_OFF || hd_address_is_loopback(addr))
        return 0;
    return hd_fail(
        err, HD_E_CONFIG,
        "%s is not on this machine alone and there is no cluster key; make one (hydac "
        "keygen > cluster.key) and give it to leader and workers with --key FILE, or, on "
        "a network that nobody else can reach, write cluster.tls: off",
        what);
}

int hd_tls_context_load(struct hd_tls_context **out, const char *name, const char *path,
                        struct hd_error *err)
{
    struct hd_key key;
    int rc = hd_key_load(&key, path, err);
    if (rc == 0)
        rc = hd_tls_context_new(out, &key, err);
    hd_secret_wipe(&key, sizeof key);
    return rc < 0 ? hd_fail_in(err, "%s", name) : 0;
}
