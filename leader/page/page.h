/* page.h - the page at "/": HTML with its style and script, made by pack.py when hydac is built. */
#ifndef HD_PAGE_PAGE_H
#define HD_PAGE_PAGE_H

#include <stddef.h>

extern const unsigned char hd_page[]; /* UTF-8 */
extern const size_t hd_page_len;
/* Where "none" stands that becomes "need" when requests need a key, so that the page asks for it
 * before it is refused. */
extern const size_t hd_page_key_at;
extern const char hd_page_policy[]; /* Content-Security-Policy, to the end of which
                                     * addresses may be added that the page may ask */

#endif
