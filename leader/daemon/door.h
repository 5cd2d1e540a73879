/* door.h - how often one address may connect: a bucket of tokens for each. Pure.
 *
 * An IPv6 address counts by its first 64 bits, which is what one machine is given to choose from.
 */
#ifndef HD_DAEMON_DOOR_H
#define HD_DAEMON_DOOR_H

#include "common/net/bounds.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct hd_door {
    struct hd_door_bucket {
        uint8_t address[8];
        bool used;
        double tokens;    /* at seen_us */
        uint64_t seen_us; /* latest connection */
    } buckets[HD_DOOR_ADDRESSES];
};

/* Zeroed is ready. Takes a token of the address; false: there is none. */
bool hd_door_admit(struct hd_door *d, const struct sockaddr *addr, uint64_t now_us);

#endif
