/* conv_winograd_transform.c: the transforms of conv_winograd.h in full precision, and those of outputs and of weight
 * gradients, which are the same in any. */
#include "conv_winograd.h"
#include <string.h>

#define ROWS INLINE
#define PLACE(c) (c)
#define STORE(to, v) (AT(to) = (v))
#include "conv_winograd_input.h"

INLINE void gradient_rows(const long tile_h, const long tile_w, const sv_winograd_view *gy, long tile, long n, long c0,
                          long channels, sv_real *to, long ld, long step) {
    const sv_real *next[POINTS], *at[POINTS];
    locate_pixels(gy, tile_h, tile_w, tile, 0, c0, next);
    for (long t = 0; t < n; t++, to += ld) {
        memcpy(at, next, sizeof at);
        locate_pixels(gy, tile_h, tile_w, tile + sv_min(t + 1, n - 1), 0, c0, next);
        for (long c = 0; c < channels; c += LANES) {
            vec v[POINTS], r[AXIS_POINTS];
            gradient_across(tile_h, tile_w, at, next, c, v);
            for (long j = 0; j <= tile_w; j++) {
                gradient_transform(tile_h, v + j, tile_w + 1, r, 1);
                for (long q = 0; q <= tile_h; q++) AT(to + (q * (tile_w + 1) + j) * step + c) = r[q];
            }
        }
    }
}

INLINE void weight_rows(const long tile_h, const long tile_w, const sv_real (*g)[SV_NR], const long *taps, long columns,
                        sv_real *to, long step) {
    const long points = (tile_h + 1) * (tile_w + 1);
    for (long c = 0; c < columns; c += LANES) {
        vec r[POINTS];
        weight_taps(tile_h, tile_w, g, taps, c, r);
        for (long q = 0; q < points; q++) {
            AT(to + q * step + c) = r[q];
            sv_prefetch_to_write(to + q * step + c + columns, LANES); /* the next row */
        }
    }
}

/* A' along one axis. */
INLINE void output_transform(const long tile, const vec *m, const long from, vec *y, const long to) {
    const vec m0 = m[0], m1 = m[from], m2 = m[2 * from];
    if (tile == 2) {
        y[0] = m0 + m1;
        y[to] = m2 + POINT * (m0 - m1);
    } else {
        const vec m3 = m[3 * from], m4 = m[4 * from], a = m0 + m1, b = NEAR * (m0 - m1), e = m2 + m3,
                  f = FAR * (m2 - m3);
        y[0] = a + e;
        y[to] = b + f;
        y[2 * to] = NEAR * NEAR * a + FAR * FAR * e;
        y[3 * to] = m4 + NEAR * NEAR * b + FAR * FAR * f;
    }
}

/* u where positive, else slope * u. */
INLINE void rectify(vec *u, const sv_real slope) {
    const vec low = *u * slope;
    const __typeof__(*u > 0) positive = *u > 0;
    *u = (vec)((positive & (__typeof__(positive))*u) | (~positive & (__typeof__(positive))low));
}

INLINE void output_tile(const long tile_h, const long tile_w, const sv_real *m, long step, const sv_epilogue *epilogue,
                        long n, sv_real *const *at) {
    for (long c = 0; c < n; c += LANES) {
        vec d[AXIS_POINTS], t[POINTS], r[AXIS_POINTS];
        const vec b = epilogue->bias ? FROM(epilogue->bias + c) : (vec){0};
        const vec g = epilogue->gain ? FROM(epilogue->gain + c) : (vec){0} + 1;
        const bool active = epilogue->slope != 1;
        for (long i = 0; i <= tile_h; i++) {
            for (long j = 0; j <= tile_w; j++) d[j] = FROM(m + (i * (tile_w + 1) + j) * step + c);
            output_transform(tile_w, d, 1, t + i * tile_w, 1);
        }
        for (long j = 0; j < tile_w; j++) {
            output_transform(tile_h, t + j, tile_w, r, 1);
            for (long i = 0; i < tile_h; i++) {
                vec u = r[i] * g + b;
                if (active) rectify(&u, epilogue->slope);
                if (at[i * tile_w + j]) AT(at[i * tile_w + j] + c) = u;
            }
        }
    }
}

/* G' along one axis. */
INLINE void weight_gradient_transform(const long tile, const vec *m, const long from, vec *g, const long to) {
    const vec m0 = m[0], m1 = m[from], m2 = m[2 * from];
    if (tile == 2) {
        g[0] = (m0 - m1) * (1 / (2 * POINT));
        g[to] = m2 + (m0 + m1) / 2;
    } else {
        const sv_real n = 1 / (2 * NEAR * (NEAR * NEAR - FAR * FAR)), k = 1 / (2 * FAR * (FAR * FAR - NEAR * NEAR));
        const vec m3 = m[3 * from], m4 = m[4 * from];
        g[0] = n * (m0 - m1) + k * (m2 - m3);
        g[to] = m4 + NEAR * n * (m0 + m1) + FAR * k * (m2 + m3);
    }
}

INLINE void weight_gradient_taps(const long tile_h, const long tile_w, const sv_real *const *at, long step,
                                 sv_real *taps) {
    for (long phase = 0; phase < 4; phase++) {
        vec d[AXIS_POINTS], t[2 * AXIS_POINTS], r[2];
        for (long i = 0; i <= tile_h; i++) {
            for (long j = 0; j <= tile_w; j++) d[j] = FROM(at[phase] + (i * (tile_w + 1) + j) * step);
            weight_gradient_transform(tile_w, d, 1, t + 2 * i, 1);
        }
        for (long j = 0; j < 2; j++) {
            weight_gradient_transform(tile_h, t + j, 2, r, 1);
            for (long i = 0; i < 2; i++) AT(taps + ((2 * i + phase / 2) * 4 + 2 * j + phase % 2) * LANES) = r[i];
        }
    }
}

#define TRANSFORMS(tile_h, tile_w)                                                                                    \
    SV_LOOP(input_##tile_h##tile_w,                                                                                   \
            (const sv_winograd_view *x, long tile, long n, long phase, long phases, long c0, long channels,           \
             sv_real *to, long ld, long step),                                                                        \
            (x, tile, n, phase, phases, c0, channels, to, ld, step)) {                                                \
        input_rows(tile_h, tile_w, x, tile, n, phase, phases, c0, channels, to, ld, step);                            \
    }                                                                                                                 \
    SV_LOOP(input_phases_##tile_h##tile_w,                                                                            \
            (const sv_winograd_view *x, long tile, long n, long c0, long channels, sv_real *to, long ld, long step),  \
            (x, tile, n, c0, channels, to, ld, step)) {                                                               \
        input_phase_rows(tile_h, tile_w, x, tile, n, c0, channels, to, ld, step);                                     \
    }                                                                                                                 \
    static void input_steps_##tile_h##tile_w(const sv_winograd_view *x, long tile, long n, long c0, long channels,    \
                                             sv_real *to, long ld, long step) {                                       \
        input_##tile_h##tile_w(x, tile, n, 0, 4, c0, channels, to, ld, step);                                         \
    }                                                                                                                 \
    SV_LOOP(gradient_##tile_h##tile_w,                                                                                \
            (const sv_winograd_view *gy, long tile, long n, long c0, long channels, sv_real *to, long ld, long step), \
            (gy, tile, n, c0, channels, to, ld, step)) {                                                              \
        gradient_rows(tile_h, tile_w, gy, tile, n, c0, channels, to, ld, step);                                       \
    }                                                                                                                 \
    SV_LOOP(weight_##tile_h##tile_w,                                                                                  \
            (const sv_real(*g)[SV_NR], const long *taps, long columns, sv_real *to, long step),                       \
            (g, taps, columns, to, step)) {                                                                           \
        weight_rows(tile_h, tile_w, g, taps, columns, to, step);                                                      \
    }                                                                                                                 \
    SV_LOOP(output_##tile_h##tile_w,                                                                                  \
            (const sv_real *m, long step, const sv_epilogue *epilogue, long n, sv_real *const *at),                   \
            (m, step, epilogue, n, at)) {                                                                             \
        output_tile(tile_h, tile_w, m, step, epilogue, n, at);                                                        \
    }                                                                                                                 \
    SV_LOOP(weight_gradient_##tile_h##tile_w, (const sv_real *const *at, long step, sv_real *taps),                   \
            (at, step, taps)) {                                                                                       \
        weight_gradient_taps(tile_h, tile_w, at, step, taps);                                                         \
    }

TRANSFORMS(2, 2)
TRANSFORMS(4, 2)
TRANSFORMS(4, 4)

#define ROW(tile_h, tile_w)                                                                 \
    {                                                                                       \
        tile_h, tile_w, output_##tile_h##tile_w, weight_gradient_##tile_h##tile_w, {        \
            input_##tile_h##tile_w, input_phases_##tile_h##tile_w, weight_##tile_h##tile_w, \
                input_steps_##tile_h##tile_w, gradient_##tile_h##tile_w                     \
        }                                                                                   \
    }

const sv_winograd sv_winograd_of[SV_WINOGRAD_SIZES] = {
    [SV_WINOGRAD_2X2] = ROW(2, 2),
    [SV_WINOGRAD_4X2] = ROW(4, 2),
    [SV_WINOGRAD_4X4] = ROW(4, 4),
};
