/* keygen.c - hydac keygen: a new cluster key on standard output. */
#include "common/util/secret.h"
#include "leader/ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char about[] =
    "hydac keygen > FILE\n"
    "\n"
    "Prints a new cluster key: 256 random bits. Who has the file may join the cluster and read "
    "what\n"
    "it computes; copy it to every machine over a way that you trust, and give it to leader and\n"
    "workers with --key FILE. When standard output is a file only its owner may read it "
    "afterwards.\n";

/* The daemons refuse a key that others may read, so that the shell's usual mode is corrected. */
static int close_to_others(struct hd_error *err)
{
    struct stat st;
    int fd = fileno(stdout);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || fchmod(fd, 0600) == 0)
        return 0;
    return hd_fail(err, HD_E_IO, "cannot close the file to others: %s", strerror(errno));
}

int hd_cmd_keygen(int argc, char **argv)
{
    static const struct hd_arg args[] = {{NULL}};
    struct hd_error err = {0};
    struct hd_key key;
    char text[HD_KEY_TEXT];
    int rc = hd_cmd_args(argc, argv, args, NULL, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    rc = close_to_others(&err); /* before there is something to read */
    if (rc == 0)
        rc = hd_key_make(&key, &err);
    if (rc < 0)
        return hd_complain(&err);
    hd_key_print(&key, text);
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0)
        rc = hd_fail(&err, HD_E_IO, "cannot write the key: %s", strerror(errno));
    hd_secret_wipe(&key, sizeof key);
    hd_secret_wipe(text, sizeof text);
    return rc < 0 ? hd_complain(&err) : 0;
}
