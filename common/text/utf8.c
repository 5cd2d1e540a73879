/* utf8.c - the table of well-formed sequences; what is none of them is skipped byte by byte. */
#include "common/text/utf8.h"

/* How many bytes follow a lead byte, and the range of the first of them (the others: 80..BF). */
static int lead(unsigned char c, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80;
    *hi = 0xBF;
    if (c >= 0xC2 && c <= 0xDF)
        return 1;
    if (c >= 0xE0 && c <= 0xEF) {
        if (c == 0xE0)
            *lo = 0xA0; /* overlong below */
        if (c == 0xED)
            *hi = 0x9F; /* surrogates above */
        return 2;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        if (c == 0xF0)
            *lo = 0x90; /* overlong below */
        if (c == 0xF4)
            *hi = 0x8F; /* beyond U+10FFFF above */
        return 3;
    }
    return -1;
}

int hd_utf8_next(const char *p, size_t len)
{
    unsigned char lo, hi;
    int follow;

    if ((unsigned char)p[0] < 0x80)
        return 1;
    follow = lead((unsigned char)p[0], &lo, &hi);
    if (follow < 0)
        return -1;
    for (int i = 1; i <= follow; i++) {
        if ((size_t)i == len)
            return 0;
        if ((unsigned char)p[i] < lo || (unsigned char)p[i] > hi)
            return -i;
        lo = 0x80;
        hi = 0xBF;
    }
    return follow + 1;
}
