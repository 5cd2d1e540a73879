/* Keys: their files, their text, their comparison. */
#include "common/util/secret.h"
#include "temp_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char good[] = "hydac-cluster-key-1\n"
                           "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff\n";

static int load(const char *text, mode_t mode, struct hd_key *key, struct hd_error *err)
{
    struct temp_file f;
    temp_file_init(&f, text, strlen(text));
    cr_assert_eq(chmod(f.path, mode), 0);
    int rc = hd_key_load(key, f.path, err);
    temp_file_deinit(&f);
    return rc;
}

Test(secret, key_from_a_file)
{
    struct hd_key key = {0};
    struct hd_error err = {0};
    cr_assert_eq(load(good, 0600, &key, &err), 0, "%s", err.text);
    for (int i = 0; i < 31; i++)
        cr_assert_eq(key.bytes[i], i);
    cr_assert_eq(key.bytes[31], 0xff);
    cr_assert_eq(load(good, 0400, &key, &err), 0, "%s", err.text);
}

Test(secret, keys_differ_and_survive_their_text)
{
    struct hd_key a, b, c;
    struct hd_error err = {0};
    char text[HD_KEY_TEXT];
    cr_assert_eq(hd_key_make(&a, &err), 0, "%s", err.text);
    cr_assert_eq(hd_key_make(&b, &err), 0, "%s", err.text);
    cr_assert(memcmp(&a, &b, sizeof a) != 0);
    hd_key_print(&a, text);
    cr_assert_eq(strlen(text), strlen(good));
    cr_assert_eq(hd_key_parse(&c, text, strlen(text), &err), 0, "%s", err.text);
    cr_assert(memcmp(&a, &c, sizeof a) == 0);
    cr_assert_eq(hd_key_parse(&c, text, strlen(text) - 1, &err), 0, "the last newline is optional");
}

Test(secret, a_mode_that_lets_others_in)
{
    struct hd_key key;
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct hd_error err = {0};
        cr_expect_eq(load(good, modes[i], &key, &err), HD_E_CONFIG, "%o", modes[i]);
        cr_expect_not_null(strstr(err.text, "chmod 600"), "%s", err.text);
    }
}

/* ---- Access lists, as bytes: tag, permissions, id; posix_acl_xattr.h of Linux ---------------- */

struct acl_entry {
    uint16_t tag, allows;
    uint32_t id;
};
enum { OWNER = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHERS = 0x20 };
#define NOBODY   0xffffffffu
#define STRANGER 65533u

/* The result of loading a file of mode 0600 with this list. The test is skipped where files cannot
 * have lists. */
static int load_listed(const struct acl_entry *entries, size_t n, struct hd_error *err)
{
    struct hd_key key;
    struct temp_file f;
    unsigned char list[200] = {2, 0, 0, 0};
    cr_assert_leq(4 + n * sizeof *entries, sizeof list);
    memcpy(list + 4, entries, n * sizeof *entries);
    temp_file_init(&f, good, strlen(good));
    cr_assert_eq(chmod(f.path, 0600), 0);
    int set = setxattr(f.path, "system.posix_acl_access", list, 4 + n * sizeof *entries, 0);
    int rc = set == 0 ? hd_key_load(&key, f.path, err) : 0;
    temp_file_deinit(&f);
    if (set < 0)
        cr_skip_test("this file system has no access lists");
    return rc;
}

/* What systemd makes for a service that does not run as root. */
Test(secret, an_access_list_for_us_alone)
{
    struct hd_error err = {0};
    const struct acl_entry list[] = {{OWNER, 4, NOBODY},
                                     {USER, 4, geteuid()},
                                     {GROUP_OBJ, 0, NOBODY},
                                     {MASK, 4, NOBODY},
                                     {OTHERS, 0, NOBODY}};
    cr_assert_eq(load_listed(list, 5, &err), 0, "%s", err.text);
}

Test(secret, an_access_list_that_lets_others_in)
{
    const struct acl_entry more[] = {{USER, 4, STRANGER}, {GROUP, 4, STRANGER}, {GROUP, 2, 0}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        struct hd_error err = {0};
        struct acl_entry user = {USER, 4, geteuid()}, group = {GROUP_OBJ, 0, NOBODY};
        bool is_user = more[i].tag == USER;
        const struct acl_entry list[] = {{OWNER, 6, NOBODY},        user,
                                         is_user ? more[i] : group, is_user ? group : more[i],
                                         {MASK, 6, NOBODY},         {OTHERS, 0, NOBODY}};
        cr_expect_eq(load_listed(list, 6, &err), HD_E_CONFIG, "list %zu", i);
        cr_expect_not_null(strstr(err.text, "is open to group or others"), "%s", err.text);
    }
}

Test(secret, an_access_list_that_lets_the_group_in)
{
    struct hd_error err = {0};
    const struct acl_entry list[] = {{OWNER, 6, NOBODY},
                                     {USER, 4, geteuid()},
                                     {GROUP_OBJ, 4, NOBODY},
                                     {MASK, 4, NOBODY},
                                     {OTHERS, 0, NOBODY}};
    cr_assert_eq(load_listed(list, 5, &err), HD_E_CONFIG);
}

/* ---- Line ends and marks of other systems ---------------------------------------------------- */

/* `good` with these line ends, after this. */
static const char *framed(char *out, size_t size, const char *before, const char *end)
{
    size_t first = strcspn(good, "\n"), second = strlen(good) - first - 2;
    snprintf(out, size, "%s%.*s%s%.*s%s", before, (int)first, good, end, (int)second,
             good + first + 1, end);
    return out;
}

static const char bom[] = "\xef\xbb\xbf";

Test(secret, key_from_another_system)
{
    char text[200];
    static const char *const marks[] = {"", bom};
    for (size_t i = 0; i < 2; i++) {
        struct hd_key key = {0};
        struct hd_error err = {0};
        framed(text, sizeof text, marks[i], "\r\n");
        cr_assert_eq(load(text, 0600, &key, &err), 0, "%s", err.text);
        cr_assert(key.bytes[0] == 0 && key.bytes[31] == 0xff);
        strcat(text, "\r\n\n");
        cr_assert_eq(load(text, 0600, &key, &err), 0, "%s", err.text);
        framed(text, sizeof text, marks[i], "\n");
        cr_assert_eq(load(text, 0600, &key, &err), 0, "%s", err.text);
    }
}

Test(secret, api_key_from_another_system)
{
    static const char word[] = "0123456789abcdef";
    static const char *const ends[] = {"", "\n", "\r\n", "\n\n", "\r\n\r\n"};
    for (size_t i = 0; i < 2 * sizeof ends / sizeof *ends; i++) {
        char text[64];
        struct hd_error err = {0};
        snprintf(text, sizeof text, "%s%s%s", i % 2 ? bom : "", word, ends[i / 2]);
        size_t len = strlen(text);
        cr_assert_eq(hd_api_key_check(text, &len, &err), 0, "%s", err.text);
        cr_assert_str_eq(text, word);
        cr_assert_eq(len, strlen(word));
    }
}

Test(secret, utf_16_is_said_to_be_utf_16)
{
    static const char *const texts[] = {"\xff\xfeh\0y\0", "\xfe\xff\0h\0y"};
    for (size_t i = 0; i < 2; i++) {
        struct hd_key key;
        struct hd_error err = {0};
        char text[8] = "";
        size_t len = 6;
        cr_assert_eq(hd_key_parse(&key, texts[i], len, &err), HD_E_FORMAT);
        cr_assert_not_null(strstr(err.text, "UTF-16"), "%s", err.text);
        memcpy(text, texts[i], len);
        cr_assert_eq(hd_api_key_check(text, &len, &err), HD_E_FORMAT);
        cr_assert_not_null(strstr(err.text, "UTF-16"), "%s", err.text);
    }
}

static void expect_damaged(const char *text, const char *what)
{
    struct hd_key key;
    struct hd_error err = {0};
    cr_expect_eq(load(text, 0600, &key, &err), HD_E_FORMAT, "%s", text);
    cr_expect_not_null(strstr(err.text, what), "\"%s\" is not in \"%s\"", what, err.text);
    cr_expect_null(strstr(err.text, "0001020304"), "an error shows the key: %s", err.text);
}

Test(secret, files_that_hold_no_key)
{
    char text[200];
    expect_damaged("", "the first line is not hydac-cluster-key-1");
    expect_damaged("hydac-cluster-key-1", "the first line");
    expect_damaged("hydac-cluster-key-2\n", "the first line");
    expect_damaged(strchr(good, '\n') + 1, "the first line");
    expect_damaged("hydac-cluster-key-1\n", "the first line");
    expect_damaged("hydac-cluster-key-1\n0", "has 1 digits instead of 64");
    strcpy(text, good);
    strcpy(text + strlen(text) - 2, "\n");
    expect_damaged(text, "has 63 digits");
    strcpy(text, good);
    strcpy(text + strlen(text) - 1, "0\n");
    expect_damaged(text, "has 65 digits");
    strcpy(text, good);
    strcpy(text + strlen(text) - 1, " \n");
    expect_damaged(text, "has 65 digits");
    for (const char *bad = "gF -/:"; *bad; bad++) {
        strcpy(text, good);
        text[30] = *bad;
        expect_damaged(text, "something else than the digits");
    }
}

Test(secret, files_that_cannot_be_read)
{
    struct hd_key key;
    struct hd_error err = {0};
    cr_assert_eq(hd_key_load(&key, "/nowhere/cluster.key", &err), HD_E_IO);
    cr_assert_not_null(strstr(err.text, "cannot read /nowhere/cluster.key"), "%s", err.text);
    cr_assert_eq(hd_key_load(&key, "/tmp", &err), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "/tmp is not a file"), "%s", err.text);
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    cr_assert_eq(load(big, 0600, &key, &err), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "it holds no key"), "%s", err.text);
}

/* To the byte: what fits, and one more. */
Test(secret, size_of_a_file)
{
    struct temp_file f;
    struct hd_error err = {0};
    char buf[5];
    size_t len;
    temp_file_init(&f, "1234", 4);
    chmod(f.path, 0600);
    cr_assert_eq(hd_secret_read(f.path, buf, 5, &len, &err), 0, "%s", err.text);
    cr_assert_eq(len, 4);
    cr_assert_str_eq(buf, "1234");
    cr_assert_eq(hd_secret_read(f.path, buf, 4, &len, &err), HD_E_CONFIG);
    cr_assert_eq(buf[0], '\0');
    temp_file_deinit(&f);
}

Test(secret, equality)
{
    cr_assert(hd_secret_equal("abc", 3, "abc", 3));
    cr_assert_not(hd_secret_equal("abc", 3, "abd", 3));
    cr_assert_not(hd_secret_equal("abc", 3, "xbc", 3));
    cr_assert_not(hd_secret_equal("abc", 3, "ab", 2));
    cr_assert_not(hd_secret_equal("abc", 3, "abcabc", 6));
    cr_assert_not(hd_secret_equal("abc", 3, "", 0));
    cr_assert_not(hd_secret_equal("", 0, "a", 1));
}
