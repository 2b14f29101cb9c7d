/* kernel_avx512.h: what the two AVX-512 kernels, of floats and of pairs of
 * bfloat16, share: masks, and how a finished row of a tile is stored. */
#ifndef SV_KERNEL_AVX512_H
#define SV_KERNEL_AVX512_H

#include "../simvae.h"
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define INLINE TARGET __attribute__((always_inline, unused)) static inline

#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)

/* A mask of the first n of 16 lanes. */
static inline __mmask16 first(long n) { return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1); }

INLINE void finish(const sv_tile *t, float *c, long col, __mmask16 mask, __m512 v) {
    if (t->add) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, c + col));
    if (t->bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, t->bias + col));
    _mm512_mask_storeu_ps(c + col, mask, v);
}

#endif
