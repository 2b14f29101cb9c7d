/* conv_winograd_bf16.c: the transforms of conv_winograd.h, computed in single precision and rounded to bfloat16 pairs
 * (gemm_bf16.c), of phases of 2x2 taps. Pairs are adjacent along the summed axis: channels in a forward or data
 * gradient product, tiles in that of a weight gradient. */
#include "conv_winograd.h"

#if !defined(SV_DOUBLE) && defined(__x86_64__)
#include <immintrin.h>

#define INLINE_BF16 SV_AVX512_BF16 __attribute__((always_inline)) static inline

/* Equal lanes of two vectors as pairs. */
INLINE_BF16 void store_pairs(float *to, const vec *first, const vec *second) {
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)*first));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)*second));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

/* Neighbours of one vector as pairs. */
INLINE_BF16 void store_rounded(float *to, const vec v) {
    _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}

#define ROWS INLINE_BF16
#define PLACE(c) ((c) / 2)
#define STORE(to, v) store_rounded(to, v)
#include "conv_winograd_input.h"

INLINE_BF16 void weight_rows(const long tile_h, const long tile_w, const float (*g)[SV_NR], const long *taps,
                             long columns, float *to, long step) {
    const long points_h = tile_h + 1, points_w = tile_w + 1;
    for (long c = 0; c < columns; c += LANES) {
        vec r[POINTS], s[POINTS];
        weight_taps(points_h, points_w, 2, g, taps, c, r);
        weight_taps(points_h, points_w, 2, g + 16, taps, c, s);
        for (long q = 0; q < points_h * points_w; q++) store_pairs(to + q * step + c, r + q, s + q);
    }
}

/* Pixels of two tiles whose products are summed as pairs; the second repeats the first where tiles end. */
typedef struct two {
    const float *at[2][POINTS];
} two;

INLINE_BF16 void locate_two(const sv_winograd_view *v, const long rows, const long cols, long tile, long last,
                            long phase, long c0, two *w) {
    locate_pixels(v, rows, cols, sv_min(tile, last), phase, c0, w->at[0]);
    locate_pixels(v, rows, cols, sv_min(tile + 1, last), phase, c0, w->at[1]);
}

INLINE_BF16 void input_step_rows(const long tile_h, const long tile_w, const sv_winograd_view *x, long tile, long n,
                                 long c0, long channels, float *to, long ld, long step) {
    const long last = tile + n - 1, points_h = tile_h + 1, points_w = tile_w + 1;
    two now, next;
    locate_two(x, points_h, points_w, tile, last, 0, c0, &next);
    for (long i = 0; i < (n + 1) / 2 * 4; i++) {
        long ahead = i + 1;
        now = next;
        locate_two(x, points_h, points_w, tile + ahead / 4 * 2, last, ahead % 4, c0, &next);
        float *row = to + i / 4 * ld + i % 4 * channels;
        for (long c = 0; c < channels; c += LANES) {
            vec v[POINTS], w[POINTS] = {{0}}, r[AXIS_POINTS], s[AXIS_POINTS];
            input_across(points_h, points_w, now.at[0], next.at[0], c, v);
            if (i / 4 * 2 + 1 < n) input_across(points_h, points_w, now.at[1], next.at[1], c, w);
            for (long j = 0; j < points_w; j++) {
                input_transform(points_h, v + j, points_w, r, 1);
                input_transform(points_h, w + j, points_w, s, 1);
                for (long q = 0; q < points_h; q++) store_pairs(row + (q * points_w + j) * step + c, r + q, s + q);
            }
        }
    }
}

INLINE_BF16 void gradient_rows(const long tile_h, const long tile_w, const sv_winograd_view *gy, long tile, long n,
                               long c0, long channels, float *to, long ld, long step) {
    const long last = tile + n - 1, points_h = tile_h + 1, points_w = tile_w + 1;
    two now, next;
    locate_two(gy, tile_h, tile_w, tile, last, 0, c0, &next);
    for (long t = 0; t < n; t += 2, to += ld) {
        now = next;
        locate_two(gy, tile_h, tile_w, tile + t + 2, last, 0, c0, &next);
        for (long c = 0; c < channels; c += LANES) {
            vec v[POINTS], w[POINTS] = {{0}}, r[AXIS_POINTS], s[AXIS_POINTS];
            gradient_across(tile_h, tile_w, points_w, now.at[0], next.at[0], c, v);
            if (t + 1 < n) gradient_across(tile_h, tile_w, points_w, now.at[1], next.at[1], c, w);
            for (long j = 0; j < points_w; j++) {
                gradient_transform(points_h, v + j, points_w, r, 1);
                gradient_transform(points_h, w + j, points_w, s, 1);
                for (long q = 0; q < points_h; q++) store_pairs(to + (q * points_w + j) * step + c, r + q, s + q);
            }
        }
    }
}

#define TRANSFORMS(tile_h, tile_w)                                                                                  \
    SV_AVX512_BF16 static void input_##tile_h##tile_w(const sv_winograd_view *x, long tile, long n, long phase,     \
                                                      long phases, long c0, long channels, float *to, long ld,      \
                                                      long step) {                                                  \
        input_rows(tile_h + 1, tile_w + 1, x, tile, n, phase, phases, c0, channels, to, ld, step);                  \
    }                                                                                                               \
    SV_AVX512_BF16 static void input_phases_##tile_h##tile_w(const sv_winograd_view *x, long tile, long n, long c0, \
                                                             long channels, float *to, long ld, long step) {        \
        input_phase_rows(tile_h + 1, tile_w + 1, x, tile, n, c0, channels, to, ld, step);                           \
    }                                                                                                               \
    SV_AVX512_BF16 static void input_steps_##tile_h##tile_w(const sv_winograd_view *x, long tile, long n, long c0,  \
                                                            long channels, float *to, long ld, long step) {         \
        input_step_rows(tile_h, tile_w, x, tile, n, c0, channels, to, ld, step);                                    \
    }                                                                                                               \
    SV_AVX512_BF16 static void gradient_##tile_h##tile_w(const sv_winograd_view *gy, long tile, long n, long c0,    \
                                                         long channels, float *to, long ld, long step) {            \
        gradient_rows(tile_h, tile_w, gy, tile, n, c0, channels, to, ld, step);                                     \
    }                                                                                                               \
    SV_AVX512_BF16 static void weight_##tile_h##tile_w(const float(*g)[SV_NR], const long *taps, long columns,      \
                                                       float *to, long step) {                                      \
        weight_rows(tile_h, tile_w, g, taps, columns, to, step);                                                    \
    }

TRANSFORMS(2, 2)
TRANSFORMS(4, 2)
TRANSFORMS(4, 4)

#define ROW(tile_h, tile_w)                                                                                           \
    {                                                                                                                 \
        input_##tile_h##tile_w, input_phases_##tile_h##tile_w, weight_##tile_h##tile_w, input_steps_##tile_h##tile_w, \
            gradient_##tile_h##tile_w                                                                                 \
    }

const sv_winograd_transforms sv_winograd_bf16[SV_WINOGRAD_SIZES] = {
    [SV_WINOGRAD_2X2] = ROW(2, 2),
    [SV_WINOGRAD_4X2] = ROW(4, 2),
    [SV_WINOGRAD_4X4] = ROW(4, 4),
};
#else
const sv_winograd_transforms sv_winograd_bf16[SV_WINOGRAD_SIZES];
#endif
