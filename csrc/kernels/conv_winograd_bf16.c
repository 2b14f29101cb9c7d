/* conv_winograd_bf16.c: the factors of conv_winograd.h rounded to pairs of bfloat16, after they were
 * made in single precision (kernels/gemm_bf16.c). Pairs lie along what is summed: channels in
 * a forward or data gradient product, tiles in that of a weight gradient. */
#include "conv_winograd.h"

#if !defined(SV_DOUBLE) && defined(__x86_64__)
#include <immintrin.h>

#define TARGET_PAIRS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")))
#define INLINE_PAIRS TARGET_PAIRS __attribute__((always_inline)) static inline

/* Equal lanes of two vectors together. */
INLINE_PAIRS void store_pairs(float *to, const vec *first, const vec *second) {
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)*first));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)*second));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

/* Neighbours of one vector. */
INLINE_PAIRS void store_half(float *to, const vec v) {
    _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}

#define ROWS INLINE_PAIRS
#define PLACE(c) ((c) / 2)
#define KEEP(to, v) store_half(to, v)
#include "conv_winograd_rows.h"

INLINE_PAIRS void expand_rows(const long tall, const long wide, const float (*g)[SV_NR], const long *taps, long width,
                              float *to, long step) {
    const long points = (tall + 1) * (wide + 1);
    for (long c = 0; c < width; c += LANES) {
        vec r[POINTS], s[POINTS];
        expand_taps(tall, wide, g, taps, c, r);
        expand_taps(tall, wide, g + 16, taps, c, s);
        for (long q = 0; q < points; q++) store_pairs(to + q * step + c, r + q, s + q);
    }
}

/* Windows of two tiles that are summed together; the second is the first again where tiles end. */
typedef struct two {
    const float *at[2][POINTS];
} two;

INLINE_PAIRS void find_two(const sv_view *v, const long rows, const long cols, long tile, long last, long phase,
                           long c0, two *w) {
    find_window(v, rows, cols, least(tile, last), phase, c0, w->at[0]);
    find_window(v, rows, cols, least(tile + 1, last), phase, c0, w->at[1]);
}

INLINE_PAIRS void step_rows(const long tall, const long wide, const sv_view *x, long tile, long n, long c0,
                            long channels, float *to, long ld, long step) {
    const long last = tile + n - 1;
    two now, next;
    find_two(x, tall + 1, wide + 1, tile, last, 0, c0, &next);
    for (long i = 0; i < (n + 1) / 2 * 4; i++) {
        long after = i + 1;
        now = next;
        find_two(x, tall + 1, wide + 1, tile + after / 4 * 2, last, after % 4, c0, &next);
        float *row = to + i / 4 * ld + i % 4 * channels;
        for (long c = 0; c < channels; c += LANES) {
            vec v[POINTS], w[POINTS] = {{0}}, r[MOST], s[MOST];
            spread_across(tall, wide, now.at[0], next.at[0], c, v);
            if (i / 4 * 2 + 1 < n) spread_across(tall, wide, now.at[1], next.at[1], c, w);
            for (long j = 0; j <= wide; j++) {
                spread(tall, v + j, wide + 1, r, 1);
                spread(tall, w + j, wide + 1, s, 1);
                for (long q = 0; q <= tall; q++) store_pairs(row + (q * (wide + 1) + j) * step + c, r + q, s + q);
            }
        }
    }
}

INLINE_PAIRS void scatter_rows(const long tall, const long wide, const sv_view *gy, long tile, long n, long c0,
                               long channels, float *to, long ld, long step) {
    const long last = tile + n - 1;
    two now, next;
    find_two(gy, tall, wide, tile, last, 0, c0, &next);
    for (long t = 0; t < n; t += 2, to += ld) {
        now = next;
        find_two(gy, tall, wide, tile + t + 2, last, 0, c0, &next);
        for (long c = 0; c < channels; c += LANES) {
            vec v[POINTS], w[POINTS] = {{0}}, r[MOST], s[MOST];
            scatter_across(tall, wide, now.at[0], next.at[0], c, v);
            if (t + 1 < n) scatter_across(tall, wide, now.at[1], next.at[1], c, w);
            for (long j = 0; j <= wide; j++) {
                scatter(tall, v + j, wide + 1, r, 1);
                scatter(tall, w + j, wide + 1, s, 1);
                for (long q = 0; q <= tall; q++) store_pairs(to + (q * (wide + 1) + j) * step + c, r + q, s + q);
            }
        }
    }
}

#define FORM(tall, wide)                                                                                          \
    TARGET_PAIRS static void spread_##tall##wide(const sv_view *x, long tile, long n, long phase, long phases,    \
                                                 long c0, long channels, float *to, long ld, long step) {         \
        spread_rows(tall, wide, x, tile, n, phase, phases, c0, channels, to, ld, step);                           \
    }                                                                                                             \
    TARGET_PAIRS static void around_##tall##wide(const sv_view *x, long tile, long n, long c0, long channels,     \
                                                 float *to, long ld, long step) {                                 \
        around_rows(tall, wide, x, tile, n, c0, channels, to, ld, step);                                          \
    }                                                                                                             \
    TARGET_PAIRS static void steps_##tall##wide(const sv_view *x, long tile, long n, long c0, long channels,      \
                                                float *to, long ld, long step) {                                  \
        step_rows(tall, wide, x, tile, n, c0, channels, to, ld, step);                                            \
    }                                                                                                             \
    TARGET_PAIRS static void scatter_##tall##wide(const sv_view *gy, long tile, long n, long c0, long channels,   \
                                                  float *to, long ld, long step) {                                \
        scatter_rows(tall, wide, gy, tile, n, c0, channels, to, ld, step);                                        \
    }                                                                                                             \
    TARGET_PAIRS static void expand_##tall##wide(const float(*g)[SV_NR], const long *taps, long width, float *to, \
                                                 long step) {                                                     \
        expand_rows(tall, wide, g, taps, width, to, step);                                                        \
    }

FORM(2, 2)
FORM(4, 2)
FORM(4, 4)

#define ROW(tall, wide) \
    { spread_##tall##wide, around_##tall##wide, expand_##tall##wide, steps_##tall##wide, scatter_##tall##wide }

const sv_factors sv_forms_bf16[SV_FORMS] = {
    [SV_FORM_22] = ROW(2, 2),
    [SV_FORM_42] = ROW(4, 2),
    [SV_FORM_44] = ROW(4, 4),
};
#else
const sv_factors sv_forms_bf16[SV_FORMS];
#endif
