/* chat_line.h - a line from whom we talk with: edited where libedit is there and this is a
 * terminal. */
#ifndef HD_CTL_CHAT_LINE_H
#define HD_CTL_CHAT_LINE_H

#include <stdbool.h>

/* What was said, malloc'ed: one line, or several where a line ends with a backslash or three quotes
 * (""") open a block, which three more close. NULL: there is no more, or *interrupted. */
char *hd_chat_read(const char *prompt, bool *interrupted);
/* The same line is offered again. */
void hd_chat_remember(const char *text);
void hd_chat_line_begin(void); /* Ctrl-C drops the line that is being written */

#endif
