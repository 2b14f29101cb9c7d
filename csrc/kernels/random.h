/* random.h: Philox4x32-10 and what is made of its words, of one number or of many at once. Both give the same bits, at
 * every CPU level. */
#ifndef SV_RANDOM_H
#define SV_RANDOM_H

#include "kernels.h"

/* A block of four words; number `block` of a stream under a seed. */
void sv_random_block(uint64_t seed, uint64_t stream, uint64_t block, uint32_t words[4]);

/* Number i of a stream: uniform in (0, 1) with 53 bits, a half of block i / 2; standard normal, of block i. */
double sv_random_uniform(uint64_t seed, uint64_t stream, uint64_t i);
double sv_random_normal(uint64_t seed, uint64_t stream, uint64_t i);

/* n of them, from number `first` on, times b and with a added. */
void sv_fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, long n, double a, double b, sv_real *to);
void sv_fill_normal(uint64_t seed, uint64_t stream, uint64_t first, long n, double a, double b, sv_real *to);

/* y = x factor where word first + i of the stream is limit or more, else 0; first is a multiple of 4. */
void sv_drop(uint64_t seed, uint64_t stream, uint64_t first, long n, uint32_t limit, sv_real factor, const sv_real *x,
             sv_real *y);

#endif
