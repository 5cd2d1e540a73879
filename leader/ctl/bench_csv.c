/* bench_csv.c - results.csv: one line for each run. */
#include "leader/ctl/bench.h"

#include "leader/ctl/files.h"

static void print_header(FILE *f)
{
    fputs("workers,context,policy,repeat,lost,threads,tokens,identical,stall_ms", f);
    for (int i = 0; i < HD_BENCH_PARTS; i++)
        fprintf(f, ",%s_ms", hd_bench_part_names[i]);
    fputs(",token_ms_undisturbed,token_ms_before,token_ms_loss,token_ms_after,positions,heads_lost,"
          "heads_rebuilt,heads_reused,rows_rebuilt,rows_kept,rows_replayed,bytes,flops\n",
          f);
}

static void print_counters(FILE *f, const struct hd_bench_run *r)
{
    const uint64_t list[] = {r->positions,     r->heads_lost,   r->heads_rebuilt,
                             r->heads_reused,  r->rows_rebuilt, r->rows_kept,
                             r->rows_replayed, r->bytes,        r->flops};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        fprintf(f, ",%llu", (unsigned long long)list[i]);
    putc('\n', f);
}

static void print_run(FILE *f, const struct hd_bench_run *r)
{
    fprintf(f, "%llu,%llu,%s,%llu,%zu,%llu,%zu,%s,%.3f", (unsigned long long)r->workers,
            (unsigned long long)r->context, r->policy, (unsigned long long)r->repeat,
            json_array_size(r->lost), (unsigned long long)r->threads, r->n_tokens,
            r->identical ? "true" : "false", r->stall_ms);
    for (int i = 0; i < HD_BENCH_PARTS; i++)
        fprintf(f, ",%.3f", r->parts_ms[i]);
    fprintf(f, ",%.3f,%.3f,%.3f,%.3f", r->quiet_ms, r->before_ms, r->gap_ms, r->after_ms);
    print_counters(f, r);
}

static void print_all(FILE *f, const void *what)
{
    const struct hd_bench *b = what;
    print_header(f);
    for (size_t i = 0; i < b->n; i++)
        print_run(f, &b->runs[i]);
}

int hd_bench_write_csv(const struct hd_bench *b, const char *path, struct hd_error *err)
{
    return hd_write_text(path, print_all, b, err);
}
