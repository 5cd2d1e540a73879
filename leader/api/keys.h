/* keys.h - who may ask, and the certificate that HTTPS shows. */
#ifndef HD_API_KEYS_H
#define HD_API_KEYS_H

#include "common/util/error.h"
#include "common/util/secret.h"
#include "leader/api/origin.h"

struct hd_api_key {
    char text[HD_API_KEY_SIZE + 8]; /* room for what editors add: see hd_api_key_check */
    size_t len;                     /* 0: there is none */
};

struct hd_api_keys {
    struct hd_api_key api;   /* none: whoever asks is answered */
    struct hd_api_key admin; /* none: see hd_api_admit */
    char *cert, *cert_key;   /* PEM, NULL: no HTTPS */
};

/* Files, NULL or "" = none. */
struct hd_api_key_files {
    const char *api_key, *admin_key, *cert, *cert_key;
};
int hd_api_keys_load(struct hd_api_keys *k, const struct hd_api_key_files *files,
                     struct hd_error *err);
void hd_api_keys_wipe(struct hd_api_keys *k);

/* Which of them a request shows: 0, none that is known; 1, the API's; 2, the admin's. */
unsigned hd_api_key_shown(const struct hd_api_keys *k, struct MHD_Connection *conn);

/* A digest of the key that it shows, zeroes: none that is known. Two keys do not share one. */
#define HD_OWNER 16
void hd_api_owner(const struct hd_api_keys *k, struct MHD_Connection *conn, uint8_t out[HD_OWNER]);

/* What an asker is to be known for: everything but health and metrics. */
bool hd_api_is_guarded(const char *url);

/* Who asks for what. */
struct hd_ask {
    struct MHD_Connection *conn;
    const char *url, *method;
    bool admin;     /* it changes the cluster */
    bool preflight; /* of a web page that may ask */
};
/* May it be asked, by whom it is asked, the way it is asked? 0, or HD_E_RANGE with *r. */
int hd_api_admit(const struct hd_api_keys *k, const struct hd_origins *o, const struct hd_ask *ask,
                 struct hd_refusal *r);

#endif
