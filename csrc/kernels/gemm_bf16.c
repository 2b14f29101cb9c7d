/* gemm_bf16.c: products whose factors are rounded to bfloat16 and whose sums are in single precision, with AVX-512's
 * instruction for pairs.
 *
 *   vdpbf16ps:  c[j] += a[2i] b[2i][j] + a[2i+1] b[2i+1][j]
 *
 * Two numbers of k share 32 bits, so a matrix of pairs has the layout of one of floats with half as many k, and struct
 * sv_tile is used as it is. Rows of B, and of A stored by columns, are packed anyway and rounded in place; rows of A
 * that are otherwise read in place are copied, rounded, to scratch. Rounding is to the nearest, ties to even; subnormal
 * numbers become 0.
 */
#include "gemm.h"

#if !defined(SV_DOUBLE) && defined(__x86_64__)
#include "gemm_avx512.h"

#define INLINE_BF16 SV_AVX512_BF16 __attribute__((always_inline)) static inline

static bool usable(void) { return sv_cpu_has_avx512() && __builtin_cpu_supports("avx512bf16"); }

INLINE_BF16 void tile(const sv_tile *t, const bool wide, const long step) {
#define ZERO(r) __m512 lo##r = _mm512_setzero_ps(), hi##r = _mm512_setzero_ps();
    EACH_ROW(ZERO)
#undef ZERO
    const float *b = t->b;
    const long ldb = t->ldb, end = t->last * step;
#define ROW(r) const float *a##r = t->a[r] + t->a_skip;
    EACH_ROW(ROW)
#undef ROW
    for (long i = 0; i < end; i += step) {
        __m512bh b0 = (__m512bh)_mm512_loadu_ps(b);
        __m512bh b1 = (__m512bh)(wide ? _mm512_loadu_ps(b + 16) : _mm512_setzero_ps());
        b += ldb;
/* Broadcast from memory by name: clang 16 crashes on _mm512_set1_ps here. */
#define STEP(r)                                                              \
    {                                                                        \
        __m512bh v = (__m512bh)_mm512_broadcastss_ps(_mm_load_ss(&a##r[i])); \
        lo##r = _mm512_dpbf16_ps(lo##r, v, b0);                              \
        if (wide) hi##r = _mm512_dpbf16_ps(hi##r, v, b1);                    \
    }
        EACH_ROW(STEP)
#undef STEP
    }
    STORE_TILE(t, wide)
}

SV_AVX512_BF16 static void bf16_tile(const sv_tile *t) {
    bool wide = t->cols > 16;
    if (wide && t->step == 1)
        tile(t, true, 1);
    else if (wide)
        tile(t, true, t->step);
    else if (t->step == 1)
        tile(t, false, 1);
    else
        tile(t, false, t->step);
}

/* The permutation that interleaves two rounded vectors, so that equal lanes form pairs. */
INLINE_BF16 __m512i interleave(void) {
    short at[32];
    for (int i = 0; i < 32; i++) at[i] = (short)(i % 2 * 16 + i / 2);
    return _mm512_loadu_si512(at);
}

SV_AVX512_BF16 static void round_rows(long depth, long width, float *x) {
    const __m512i order = interleave();
    const __mmask16 lanes = first(width);
    float *to = x;
    for (long k = 0; k < depth; k += 2, x += 2 * width, to += width)
        for (long j = 0; j < width; j += 16) {
            __m512 even = _mm512_maskz_loadu_ps(lanes, x + j);
            __m512 odd = k + 1 < depth ? _mm512_maskz_loadu_ps(lanes, x + width + j) : _mm512_setzero_ps();
            __m512i both = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
            __m512i interleaved = _mm512_permutexvar_epi16(order, both);
            _mm512_mask_storeu_ps(to + j, lanes, _mm512_castsi512_ps(interleaved));
        }
}

SV_AVX512_BF16 static void round_runs(long segs, long run, long last, const float *const *at, float *to, long ld) {
    for (long r = 0; r < SV_MR; r++) {
        uint16_t *dest = (uint16_t *)(void *)(to + r * ld);
        for (long s = 0; s < segs; s++) {
            const float *x = at[s * SV_MR + r];
            long n = s + 1 < segs ? run : last, i = 0;
            for (; i + 32 <= n; i += 32) {
                __m512 low = _mm512_loadu_ps(x + i), high = _mm512_loadu_ps(x + i + 16);
                _mm512_storeu_si512(dest + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
            }
            for (; i < n; i += 16) {
                __mmask16 m = first(n - i);
                __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(m, x + i));
                _mm256_mask_storeu_epi16(dest + i, m, rounded);
            }
            dest += n;
        }
        _mm_mask_storeu_epi16(dest, 1, _mm_setzero_si128()); /* the second of an incomplete pair */
    }
}

const sv_bf16_kernel sv_bf16_avx512 = {usable, bf16_tile, round_rows, round_runs};
#endif
