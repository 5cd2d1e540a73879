/* best.c - introselect and heap select, swap by swap as GNU's C++ library does them. */
#include "leader/engine/best.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static bool better(struct hd_best a, struct hd_best b)
{
    return (isnan(a.value) && !isnan(b.value)) || a.value > b.value;
}

static void swap(struct hd_best *a, struct hd_best *b)
{
    struct hd_best t = *a;
    *a = *b;
    *b = t;
}

/* ---- A heap whose head is its worst ----*/

static void sift_up(struct hd_best *heap, size_t hole, size_t top, struct hd_best v)
{
    for (size_t parent; hole > top; hole = parent) {
        parent = (hole - 1) / 2;
        if (!better(heap[parent], v))
            break;
        heap[hole] = heap[parent];
    }
    heap[hole] = v;
}

/* Down to a leaf with the hole, then up again with the value. */
static void sift_down(struct hd_best *heap, size_t hole, size_t n, struct hd_best v)
{
    size_t top = hole, child = hole;
    while (child < (n - 1) / 2) {
        child = 2 * child + 2;
        if (better(heap[child], heap[child - 1]))
            child--;
        heap[hole] = heap[child];
        hole = child;
    }
    if (n % 2 == 0 && child == (n - 2) / 2) {
        child = 2 * child + 1;
        heap[hole] = heap[child];
        hole = child;
    }
    sift_up(heap, hole, top, v);
}

/* The k best of n come first, in no order that matters. */
static void select_by_heap(struct hd_best *of, size_t n, size_t k)
{
    for (size_t parent = k / 2; k > 1 && parent-- > 0;)
        sift_down(of, parent, k, of[parent]);
    for (size_t i = k; i < n; i++)
        if (better(of[i], of[0])) {
            struct hd_best v = of[i];
            of[i] = of[0];
            sift_down(of, 0, k, v);
        }
}

/* ---- Introselect ----*/

static void median_to(struct hd_best *to, struct hd_best *a, struct hd_best *b, struct hd_best *c)
{
    if (better(*a, *b))
        swap(to, better(*b, *c) ? b : better(*a, *c) ? c : a);
    else
        swap(to, better(*a, *c) ? a : better(*b, *c) ? c : b);
}

/* Where those begin that are not better than the pivot, of [first, last). */
static size_t partition(struct hd_best *of, size_t first, size_t last)
{
    median_to(&of[first], &of[first + 1], &of[first + (last - first) / 2], &of[last - 1]);
    size_t pivot = first++;
    for (;; first++) {
        while (better(of[first], of[pivot]))
            first++;
        last--;
        while (better(of[pivot], of[last]))
            last--;
        if (first >= last)
            return first;
        swap(&of[first], &of[last]);
    }
}

static void sort_few(struct hd_best *of, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct hd_best v = of[i];
        size_t at = i;
        while (at > 0 && better(v, of[at - 1]))
            at--;
        memmove(of + at + 1, of + at, (i - at) * sizeof *of);
        of[at] = v;
    }
}

static void select_nth(struct hd_best *of, size_t n, size_t nth)
{
    size_t first = 0, last = n;
    unsigned depth = 0;
    for (size_t m = n; m > 1; m /= 2)
        depth += 2;
    for (; last - first > 3; depth--) {
        if (depth == 0) {
            select_by_heap(of + first, last - first, nth + 1 - first);
            swap(&of[first], &of[nth]);
            return;
        }
        size_t cut = partition(of, first, last);
        if (cut <= nth)
            first = cut;
        else
            last = cut;
    }
    sort_few(of + first, last - first);
}

void hd_best_first(struct hd_best *of, size_t n, size_t k)
{
    if (k * 64 <= n)
        select_by_heap(of, n, k);
    else
        select_nth(of, n, k - 1);
    sort_few(of, k);
}
