/* loops.h: integer arithmetic, prefetching, and how a loop is cut for the pool. */
#ifndef SV_LOOPS_H
#define SV_LOOPS_H

#include "kernels.h"

static inline long sv_min(long a, long b) { return a < b ? a : b; }

static inline long sv_max(long a, long b) { return a > b ? a : b; }

static inline long divide_up(long a, long b) { return (a + b - 1) / b; }

static inline long round_up(long a, long b) { return divide_up(a, b) * b; }

/* Prefetches n numbers, to be read or written. */
SV_INLINE void sv_prefetch(const sv_real *from, long n) {
    for (long i = 0; i < n; i += 64 / (long)sizeof *from) __builtin_prefetch(from + i);
}

SV_INLINE void sv_prefetch_to_write(const sv_real *to, long n) {
    for (long i = 0; i < n; i += 64 / (long)sizeof *to) __builtin_prefetch(to + i, 1);
}

/* Elements of one piece of work: large enough to hide the cost of handing it to a thread, small enough for the
 * second-level cache, and never a function of the thread count. */
enum { SV_CHUNK = 16384 };

static inline long sv_chunks(size_t count) { return (long)((count + SV_CHUNK - 1) / SV_CHUNK); }

/* First and one-past-last element of piece i. */
static inline void sv_chunk(size_t count, long i, size_t *from, size_t *to) {
    *from = (size_t)i * SV_CHUNK;
    *to = *from + SV_CHUNK < count ? *from + SV_CHUNK : count;
}

/* Work that revisits the same data (e.g. a parameter) is split into a fixed number of stripes, so that the same thread
 * touches the same stripe each time. */
enum { SV_STRIPES = 8 };

static inline void sv_stripe(size_t count, long i, size_t *from, size_t *to) {
    size_t lines = (count + 15) / 16; /* of the cache */
    *from = lines * (size_t)i / SV_STRIPES * 16;
    *to = i + 1 < SV_STRIPES ? lines * (size_t)(i + 1) / SV_STRIPES * 16 : count;
}

#endif
