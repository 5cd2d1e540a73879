/* secret.c - a file is refused, with the reason, unless its mode and access list keep all others
 * out. */
#include "common/util/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define KEY_HEADER "hydac-cluster-key-1"
#define KEY_DIGITS (2 * HD_KEY_BYTES)

void hd_secret_wipe(void *p, size_t len)
{
    explicit_bzero(p, len);
}

bool hd_secret_equal(const char *secret, size_t secret_len, const char *given, size_t given_len)
{
    volatile unsigned char differ = secret_len != given_len;
    for (size_t i = 0; i < given_len; i++) {
        char c = secret_len ? secret[i % secret_len] : 0;
        differ |= (unsigned char)(c ^ given[i]);
    }
    return differ == 0;
}

/* ---- Files ---------------------------------------------------------------------------------- */

/* An access list as fgetxattr gives it: a version, then entries; little-endian throughout (Linux's
 * include/uapi/linux/posix_acl_xattr.h). */
#define ACL_NAME        "system.posix_acl_access"
#define ACL_VERSION     2
#define ACL_HEADER      4 /* bytes */
#define ACL_ENTRY       8 /* bytes: tag (2), permissions (2), id (4) */
#define ACL_MAX_ENTRIES 16
enum acl_tag {
    ACL_USER_OBJ = 0x01, /* the owner */
    ACL_USER = 0x02,     /* the user `id` */
    ACL_MASK = 0x10,     /* bounds the entries of users and groups */
};

static uint32_t little(const unsigned char *p, size_t n)
{
    uint32_t v = 0;
    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

/* The entry lets nobody in but the owner, root and this process's user. */
static bool entry_is_safe(const unsigned char *entry)
{
    uint32_t tag = little(entry, 2), allows = little(entry + 2, 2), id = little(entry + 4, 4);
    if (tag == ACL_USER_OBJ || tag == ACL_MASK || allows == 0)
        return true;
    return tag == ACL_USER && (id == 0 || id == geteuid());
}

/* The group's bits of a file with an access list are the list's mask, not what the group may do.
 * systemd hands out credentials like that: root's, with an entry for the user of the service. */
static bool only_we_are_listed(int fd)
{
    unsigned char list[ACL_HEADER + ACL_MAX_ENTRIES * ACL_ENTRY];
    ssize_t n = fgetxattr(fd, ACL_NAME, list, sizeof list);
    if (n < ACL_HEADER || (n - ACL_HEADER) % ACL_ENTRY || little(list, 4) != ACL_VERSION)
        return false; /* there is none, or one that is too long to be ours */
    for (ssize_t at = ACL_HEADER; at < n; at += ACL_ENTRY)
        if (!entry_is_safe(list + at))
            return false;
    return true;
}

static bool open_to_others(int fd, mode_t mode)
{
    return mode & S_IRWXO || (mode & S_IRWXG && !only_we_are_listed(fd));
}

static int check_file(const char *path, int fd, struct hd_error *err)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return hd_fail(err, HD_E_IO, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return hd_fail(err, HD_E_CONFIG, "%s is not a file; give the key's file", path);
    if (open_to_others(fd, st.st_mode))
        return hd_fail(err, HD_E_CONFIG,
                       "%s is open to group or others (mode %03o); a key is its owner's alone: "
                       "chmod 600 it, and make a new one if somebody may have read it",
                       path, (unsigned)st.st_mode & 0777);
    return 0;
}

static int read_all(const char *path, int fd, char *buf, size_t size, size_t *len)
{
    ssize_t n = 1;
    for (*len = 0; *len < size && n > 0; *len += (size_t)n) {
        n = read(fd, buf + *len, size - *len);
        if (n < 0)
            return HD_E_IO;
    }
    return 0;
}

int hd_secret_read(const char *path, char *buf, size_t size, size_t *len, struct hd_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not hang us */
    int rc = check_file(path, fd, err);
    if (rc == 0 && read_all(path, fd, buf, size, len) < 0)
        rc = hd_fail(err, HD_E_IO, "cannot read %s: %s", path, strerror(errno));
    if (rc == 0 && *len == size)
        rc = hd_fail(err, HD_E_CONFIG, "%s has more than %zu bytes; it holds no key", path,
                     size - 1);
    if (fd >= 0)
        close(fd);
    if (rc == 0)
        buf[*len] = '\0';
    else
        hd_secret_wipe(buf, size);
    return rc;
}

/* What is left of a text without the byte-order mark that some editors put before it, and without
 * the line ends, of any system, behind it. */
static int strip(const char **text, size_t *len, struct hd_error *err)
{
    const char *t = *text;
    if (*len >= 2 && (memcmp(t, "\xff\xfe", 2) == 0 || memcmp(t, "\xfe\xff", 2) == 0))
        return hd_fail(err, HD_E_FORMAT,
                       "the file is in UTF-16, as some shells write with >; save it as ASCII");
    if (*len >= 3 && memcmp(t, "\xef\xbb\xbf", 3) == 0) {
        *text += 3;
        *len -= 3;
    }
    while (*len > 0 && ((*text)[*len - 1] == '\n' || (*text)[*len - 1] == '\r'))
        --*len;
    return 0;
}

/* ---- API keys ------------------------------------------------------------------------------- */

int hd_api_key_check(char *text, size_t *len, struct hd_error *err)
{
    const char *word = text;
    int rc = strip(&word, len, err);
    if (rc < 0)
        return rc;
    memmove(text, word, *len);
    text[*len] = '\0';
    for (size_t i = 0; i < *len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return hd_fail(err, HD_E_FORMAT,
                           "an API key is one word of printable ASCII; byte %zu is something else",
                           i + 1);
    if (*len >= HD_API_KEY_SIZE)
        return hd_fail(err, HD_E_FORMAT, "the API key has %zu bytes; at most %d are taken", *len,
                       HD_API_KEY_SIZE - 1);
    if (*len < HD_API_KEY_MIN)
        return hd_fail(err, HD_E_FORMAT,
                       "the API key has %zu bytes; one that cannot be guessed has %d at least",
                       *len, HD_API_KEY_MIN);
    return 0;
}

/* ---- The cluster key ------------------------------------------------------------------------ */

int hd_key_make(struct hd_key *key, struct hd_error *err)
{
    ssize_t n;
    do
        n = getrandom(key->bytes, sizeof key->bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof key->bytes)
        return hd_fail(err, HD_E_IO, "the system gives no random bytes: %s", strerror(errno));
    return 0;
}

void hd_key_print(const struct hd_key *key, char text[HD_KEY_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    size_t n = strlen(KEY_HEADER);
    memcpy(text, KEY_HEADER, n);
    text[n++] = '\n';
    for (size_t i = 0; i < sizeof key->bytes; i++) {
        text[n++] = digits[key->bytes[i] >> 4];
        text[n++] = digits[key->bytes[i] & 15];
    }
    memcpy(text + n, "\n", 2);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes of the first line with its end; 0 when it is not the header. */
static size_t first_line(const char *text, size_t len)
{
    size_t n = strlen(KEY_HEADER);
    if (len <= n || memcmp(text, KEY_HEADER, n) != 0)
        return 0;
    if (text[n] == '\r')
        n++;
    return n < len && text[n] == '\n' ? n + 1 : 0;
}

int hd_key_parse(struct hd_key *key, const char *text, size_t len, struct hd_error *err)
{
    int rc = strip(&text, &len, err);
    if (rc < 0)
        return rc;
    size_t head = first_line(text, len);
    if (head == 0)
        return hd_fail(err, HD_E_FORMAT,
                       "the first line is not " KEY_HEADER
                       "; make a key with: hydac keygen > FILE");
    text += head;
    len -= head;
    if (len != KEY_DIGITS)
        return hd_fail(err, HD_E_FORMAT,
                       "the key has %zu digits instead of %d; copy the whole file again", len,
                       KEY_DIGITS);
    for (size_t i = 0; i < sizeof key->bytes; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            hd_secret_wipe(key, sizeof *key);
            return hd_fail(err, HD_E_FORMAT,
                           "the key has something else than the digits 0-9 and a-f in it; copy the "
                           "whole file again");
        }
        key->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int hd_key_load(struct hd_key *key, const char *path, struct hd_error *err)
{
    char text[4 * HD_KEY_TEXT]; /* room for a file that is a little too long to be told so */
    size_t len;
    int rc = hd_secret_read(path, text, sizeof text, &len, err);
    if (rc < 0)
        return rc;
    rc = hd_key_parse(key, text, len, err);
    hd_secret_wipe(text, sizeof text);
    return rc < 0 ? hd_fail_in(err, "%s", path) : 0;
}
