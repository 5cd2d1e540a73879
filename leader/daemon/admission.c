/* admission.c - a table of fixed size; who was seen least recently gives way. */
#include "leader/daemon/admission.h"

#include <netinet/in.h>
#include <string.h>

/* What is counted of an address: four bytes of IPv4 (mapped into IPv6 or not), or a /64. */
static void address_of(const struct sockaddr *addr, uint8_t out[8])
{
    static const uint8_t v4[4] = {0xff, 0xff, 0xff, 0xff}; /* no /64 in use begins like this */
    const struct in6_addr *a = &((const struct sockaddr_in6 *)addr)->sin6_addr;
    memset(out, 0, 8);
    if (addr->sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(a)) {
        memcpy(out, a->s6_addr, 8);
    } else if (addr->sa_family == AF_INET6) {
        memcpy(out, v4, 4);
        memcpy(out + 4, a->s6_addr + 12, 4);
    } else if (addr->sa_family == AF_INET) {
        memcpy(out, v4, 4);
        memcpy(out + 4, &((const struct sockaddr_in *)addr)->sin_addr, 4);
    }
}

/* The address's bucket; a new one is full and takes the place of the one seen least recently. */
static struct hd_admission_bucket *find(struct hd_admission *d, const uint8_t address[8],
                                        uint64_t now_us)
{
    struct hd_admission_bucket *oldest = &d->buckets[0];
    for (size_t i = 0; i < HD_ADMISSION_ADDRESSES; i++) {
        struct hd_admission_bucket *b = &d->buckets[i];
        if (b->used && memcmp(b->address, address, sizeof b->address) == 0)
            return b;
        if (oldest->used && (!b->used || b->seen_us < oldest->seen_us))
            oldest = b;
    }
    *oldest =
        (struct hd_admission_bucket){.used = true, .tokens = HD_ADMISSION_BURST, .seen_us = now_us};
    memcpy(oldest->address, address, sizeof oldest->address);
    return oldest;
}

bool hd_admit(struct hd_admission *d, const struct sockaddr *addr, uint64_t now_us)
{
    uint8_t address[8];
    address_of(addr, address);
    struct hd_admission_bucket *b = find(d, address, now_us);
    b->tokens += (double)(now_us - b->seen_us) / 1e6 * HD_ADMISSION_PER_SECOND;
    if (b->tokens > HD_ADMISSION_BURST)
        b->tokens = HD_ADMISSION_BURST;
    b->seen_us = now_us;
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}
