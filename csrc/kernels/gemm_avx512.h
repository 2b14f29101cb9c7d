/* gemm_avx512.h: shared by the AVX-512 micro-kernels of floats and of bfloat16 pairs: masks, and the store of a
 * finished tile. */
#ifndef SV_GEMM_AVX512_H
#define SV_GEMM_AVX512_H

#include "gemm.h"
#include <immintrin.h>

#define INLINE SV_AVX512 __attribute__((always_inline, unused)) static inline

#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)

/* A mask of the first n of 16 lanes. */
static inline __mmask16 first(long n) { return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1); }

/* The end of tile(): lo and hi of each row to C. Fields of the tile are read before the first store, which might alias
 * them for all that the compiler knows. */
#define TILE_ADD(r)                                                                             \
    if (r < rows) {                                                                             \
        lo##r = _mm512_add_ps(lo##r, _mm512_maskz_loadu_ps(left, c[r] + skip));                 \
        if (wide) hi##r = _mm512_add_ps(hi##r, _mm512_maskz_loadu_ps(right, c[r] + skip + 16)); \
    }
#define TILE_BIAS(r)                         \
    lo##r = _mm512_add_ps(lo##r, left_bias); \
    if (wide) hi##r = _mm512_add_ps(hi##r, right_bias);
#define TILE_STORE_ROW(r)                                                \
    if (r < rows) {                                                      \
        _mm512_mask_storeu_ps(c[r] + skip, left, lo##r);                 \
        if (wide) _mm512_mask_storeu_ps(c[r] + skip + 16, right, hi##r); \
    }
#define STORE_TILE(t, wide)                                                                        \
    const __mmask16 left = first((t)->cols), right = first((t)->cols - 16);                        \
    float *const *c = (t)->c;                                                                      \
    const long rows = (t)->rows, skip = (t)->c_skip;                                               \
    if ((t)->add) {                                                                                \
        EACH_ROW(TILE_ADD)                                                                         \
    }                                                                                              \
    if ((t)->bias) {                                                                               \
        const __m512 left_bias = _mm512_maskz_loadu_ps(left, (t)->bias);                           \
        const __m512 right_bias = wide ? _mm512_maskz_loadu_ps(right, (t)->bias + 16) : left_bias; \
        EACH_ROW(TILE_BIAS)                                                                        \
    }                                                                                              \
    EACH_ROW(TILE_STORE_ROW)

#endif
