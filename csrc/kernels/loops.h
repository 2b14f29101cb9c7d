/* loops.h: how a loop is cut for the pool and compiled for the CPU.
 *
 * SV_CLONES compiles a function for several instruction sets and picks one when
 * the library is loaded, where compiler and system can do that; elsewhere it is
 * empty. Functions marked so hold plain loops that a compiler vectorises. */
#ifndef SV_LOOPS_H
#define SV_LOOPS_H

#include "../simvae.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SV_CLONES \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("fp-contract=fast")))
#else
#define SV_CLONES
#endif

static inline long least(long a, long b) { return a < b ? a : b; }

static inline long divide_up(long a, long b) { return (a + b - 1) / b; }

static inline long round_up(long a, long b) { return divide_up(a, b) * b; }

/* Asks for n numbers to be brought from memory, to be read or written. */
__attribute__((always_inline)) static inline void sv_bring(const sv_real *from, long n) {
    for (long i = 0; i < n; i += 64 / (long)sizeof *from) __builtin_prefetch(from + i);
}

__attribute__((always_inline)) static inline void sv_bring_to_write(const sv_real *to, long n) {
    for (long i = 0; i < n; i += 64 / (long)sizeof *to) __builtin_prefetch(to + i, 1);
}

/* Elements of one piece of work: large enough to hide the hand-over, small
 * enough for the second-level cache, and never a function of the thread count. */
enum { SV_CHUNK = 16384 };

static inline long sv_chunks(size_t count) { return (long)((count + SV_CHUNK - 1) / SV_CHUNK); }

/* First and one-past-last element of piece i. */
static inline void sv_chunk(size_t count, long i, size_t *from, size_t *to) {
    *from = (size_t)i * SV_CHUNK;
    *to = *from + SV_CHUNK < count ? *from + SV_CHUNK : count;
}

/* What is done to the same numbers again and again, such as a parameter's, is cut into so
 * many stripes whatever their count: then a thread meets the same ones each time. */
enum { SV_STRIPES = 8 };

static inline void sv_stripe(size_t count, long i, size_t *from, size_t *to) {
    size_t lines = (count + 15) / 16; /* of the cache */
    *from = lines * (size_t)i / SV_STRIPES * 16;
    *to = i + 1 < SV_STRIPES ? lines * (size_t)(i + 1) / SV_STRIPES * 16 : count;
}

#endif
