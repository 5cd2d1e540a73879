/* error.h - the one error doctrine of hydac.
 *
 * A function that can fail returns int: 0 = done, negative = fatal (one of HD_E_*), positive = an
 * outcome that this function documents and its caller handles. Negative values are forwarded
 * untouched; positive ones never are. Where a person must be told what happened the function also
 * takes a `struct hd_error` and fills it with one sentence: what, where, what to do. */
#ifndef HD_UTIL_ERROR_H
#define HD_UTIL_ERROR_H

#define HD_ERRORS(X)                                                                               \
    X(NOMEM, -1, "out of memory")                                                                  \
    X(IO, -2, "input/output error")                                                                \
    X(FORMAT, -3, "damaged or malformed data")                                                     \
    X(RANGE, -4, "value out of range")                                                             \
    X(UNSUPPORTED, -5, "not supported")                                                            \
    X(CONFIG, -6, "configuration error")                                                           \
    X(PROTO, -7, "protocol violation")                                                             \
    X(STATE, -8, "not possible in this state")                                                     \
    X(LIMIT, -9, "limit exceeded")                                                                 \
    X(NOTFOUND, -10, "not found")                                                                  \
    X(NUMERIC, -11, "not a finite number")                                                         \
    X(DEVICE, -12, "a device has failed")

enum hd_error_code {
#define X(name, value, text) HD_E_##name = value,
    HD_ERRORS(X)
#undef X
};

/* A fatal error with the sentence for the person. Owned by the caller, usually on its stack. */
struct hd_error {
    int code;       /* HD_E_* or 0 */
    char text[512]; /* one sentence, no newline */
};

/* Fill `err` (may be NULL) and return `code`, so that callers write `return hd_fail(...)`. */
int hd_fail(struct hd_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before an error that is already filled (which file, which tensor...). Returns
 * err->code. */
int hd_fail_in(struct hd_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "NOMEM" for HD_E_NOMEM; "?" for what is not one of ours. */
const char *hd_error_name(int code);

#endif
