/* utf8.h - stepping through bytes that may or may not be UTF-8 (Unicode 15, table 3-7). */
#ifndef HD_TEXT_UTF8_H
#define HD_TEXT_UTF8_H

#include <stddef.h>

/* The character at p (len >= 1 bytes are there). Returns its length, 1 to 4; 0 when the bytes are
 * the beginning of a character that goes on after p + len; -k when the first k bytes (1 to 3) can
 * belong to no character: the "maximal subpart" that one U+FFFD stands for. Overlong forms,
 * surrogates and values above U+10FFFF are not characters. */
int hd_utf8_next(const char *p, size_t len);

#endif
