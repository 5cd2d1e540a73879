/* admission.h - how often one address may connect: a bucket of tokens for each. Pure.
 *
 * An IPv6 address counts by its first 64 bits, which is what one machine is given to choose from.
 */
#ifndef HD_DAEMON_ADMISSION_H
#define HD_DAEMON_ADMISSION_H

#include "common/net/bounds.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct hd_admission {
    struct hd_admission_bucket {
        uint8_t address[8];
        bool used;
        double tokens;    /* at seen_us */
        uint64_t seen_us; /* latest connection */
    } buckets[HD_ADMISSION_ADDRESSES];
};

/* Zeroed is ready. Takes a token of the address; false: there is none. */
bool hd_admit(struct hd_admission *d, const struct sockaddr *addr, uint64_t now_us);

#endif
