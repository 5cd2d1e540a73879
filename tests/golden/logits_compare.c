/* logits_compare - two files of logits_dump: how far the second's distributions are from the
 * first's.
 *
 *   logits_compare VOCAB FIRST SECOND
 *
 * Prints positions, share of them with the same best token, mean and largest KL(first || second).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double log_sum(const float *x, size_t n)
{
    double largest = (double)x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        largest = (double)x[i] > largest ? (double)x[i] : largest;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - largest);
    return largest + log(sum);
}

static double divergence(const float *p, const float *q, size_t n)
{
    double of_p = log_sum(p, n), of_q = log_sum(q, n), kl = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)p[i] - of_p;
        kl += exp(log_p) * (log_p - ((double)q[i] - of_q));
    }
    return kl;
}

static size_t best(const float *x, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        at = x[i] > x[at] ? i : at;
    return at;
}

static int compare(FILE *first, FILE *second, size_t vocab)
{
    float *p = calloc(vocab, sizeof *p), *q = calloc(vocab, sizeof *q);
    size_t n = 0, same = 0;
    double sum = 0, largest = 0;
    while (p && q && fread(p, sizeof *p, vocab, first) == vocab &&
           fread(q, sizeof *q, vocab, second) == vocab) {
        double kl = divergence(p, q, vocab);
        n++;
        sum += kl;
        largest = kl > largest ? kl : largest;
        same += best(p, vocab) == best(q, vocab);
    }
    free(p);
    free(q);
    if (n == 0)
        return 1;
    printf("%zu positions, best token the same at %.2f %%, KL mean %.3g, largest %.3g\n", n,
           100 * (double)same / (double)n, sum / (double)n, largest);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: logits_compare VOCAB FIRST SECOND\n");
        return 2;
    }
    FILE *first = fopen(argv[2], "rb"), *second = fopen(argv[3], "rb");
    if (!first || !second) {
        perror(first ? argv[3] : argv[2]);
        return 1;
    }
    int rc = compare(first, second, strtoul(argv[1], NULL, 10));
    fclose(first);
    fclose(second);
    return rc;
}
