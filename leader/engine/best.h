/* best.h - the k best of some numbers, with the same ones of equal numbers as the reference takes.
 *
 * torch.topk on a CPU leaves the choice between equal numbers to the C++ library's
 * std::nth_element, or of few among many (64 k <= n) to std::partial_sort. Models with equal rows
 * in their routers exist, and which expert it is changes the text, so the two algorithms are
 * followed here swap by swap: introselect with the median of three (Musser 1997), and a heap of the
 * k best (Williams 1964), as GNU's library has had them since 2008. */
#ifndef HD_ENGINE_BEST_H
#define HD_ENGINE_BEST_H

#include <stddef.h>
#include <stdint.h>

struct hd_best {
    float value;
    uint32_t index;
};

/* The k best of `of` [n] come first, the best at its head; no number is better than one that is
 * none. 1 <= k <= n. */
void hd_best_first(struct hd_best *of, size_t n, size_t k);

#endif
