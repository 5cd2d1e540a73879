/* cache_impl.h - shared by cache.c (pieces in memory and in files) and room.c (what is in the
 * folder, and what has to go). */
#ifndef HD_WORKER_WEIGHTS_CACHE_IMPL_H
#define HD_WORKER_WEIGHTS_CACHE_IMPL_H

#include "worker/weights/cache.h"

#include <pthread.h>
#include <time.h>

#define CACHE_HEADER 8  /* a file begins with its piece's digest */
#define CACHE_NAME   64 /* bytes of a file's or a folder's name, with room to spare */

/* A piece that waits to be written. */
struct cache_write {
    size_t index;
    struct hd_piece_bytes *bytes;
    struct cache_write *next;
};

/* The folder of another model. */
struct cache_other {
    char name[CACHE_NAME];
    uint64_t bytes;
    struct timespec changed;
};

struct hd_weights_cache {
    struct hd_weights_cache_options o;
    struct hd_units units;
    size_t n; /* pieces */
    int root; /* STATE/weights */
    int dir;  /* ... and this model's in it */
    char own[CACHE_NAME];
    pthread_t thread; /* writes */
    bool has_thread;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    bool stop;
    struct cache_write *first, **last;
    size_t waiting_bytes;
    uint64_t *size; /* [n]: of the file; 0 = none */
    bool *wanted;   /* [n] */
    uint64_t bytes; /* of all files of this model */
    struct cache_other *others;
    size_t n_others;
    uint64_t others_bytes;
    bool told; /* that writing fails */
};

/* room.c; the lock is held, or nobody else is there yet */

void cache_name(const struct hd_weights_cache *c, size_t index, char name[CACHE_NAME]);
/* Bytes of a piece's file when it is whole. */
uint64_t cache_file_bytes(const struct hd_weights_cache *c, size_t index);
/* Lists what is there, removes what makes no sense and what is over the limit. */
int cache_scan(struct hd_weights_cache *c, struct hd_error *err);
/* Makes room for a piece's file. False: there is none. */
bool cache_make_room(struct hd_weights_cache *c, size_t index);
void cache_remove(struct hd_weights_cache *c, size_t index);

#endif
