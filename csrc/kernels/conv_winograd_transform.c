/* conv_winograd_transform.c: the transforms of conv_winograd.h in full precision, and those of outputs and of weight
 * gradients, which are the same in any. */
#include "conv_winograd.h"
#include <string.h>

#define ROWS INLINE
#define PLACE(c) (c)
#define STORE(to, v) (AT(to) = (v))
#include "conv_winograd_input.h"

INLINE void gradient_rows(const long tile_h, const long tile_w, const long taps, const sv_winograd_view *gy, long tile,
                          long n, long c0, long channels, sv_real *to, long ld, long step) {
    const long points_h = tile_h + taps - 1, points_w = tile_w + taps - 1;
    const sv_real *next[POINTS], *at[POINTS];
    locate_pixels(gy, tile_h, tile_w, tile, 0, c0, next);
    for (long t = 0; t < n; t++, to += ld) {
        memcpy(at, next, (size_t)(tile_h * tile_w) * sizeof *at);
        locate_pixels(gy, tile_h, tile_w, tile + sv_min(t + 1, n - 1), 0, c0, next);
        for (long c = 0; c < channels; c += LANES) {
            vec v[POINTS], r[AXIS_POINTS];
            gradient_across(tile_h, tile_w, points_w, at, next, c, v);
            for (long j = 0; j < points_w; j++) {
                gradient_transform(points_h, v + j, points_w, r, 1);
                for (long q = 0; q < points_h; q++) AT(to + (q * points_w + j) * step + c) = r[q];
            }
        }
    }
}

INLINE void weight_rows(const long points_h, const long points_w, const long taps, const sv_real (*g)[SV_NR],
                        const long *numbers, long columns, sv_real *to, long step) {
    for (long c = 0; c < columns; c += LANES) {
        vec r[POINTS];
        weight_taps(points_h, points_w, taps, g, numbers, c, r);
        for (long q = 0; q < points_h * points_w; q++) {
            AT(to + q * step + c) = r[q];
            sv_prefetch_to_write(to + q * step + c + columns, LANES); /* the next row */
        }
    }
}

/* A' along one axis. */
INLINE void output_transform(const long points, const vec *m, const long from, vec *y, const long to) {
    const vec m0 = m[0], m1 = m[from], m2 = m[2 * from];
    if (points == 3) {
        y[0] = m0 + m1;
        y[to] = m2 + POINT * (m0 - m1);
    } else if (points == 4) {
        y[0] = m0 + m1 + m2;
        y[to] = m1 - m2 + m[3 * from];
    } else if (points == 5) {
        const vec m3 = m[3 * from], m4 = m[4 * from], a = m0 + m1, b = NEAR * (m0 - m1), e = m2 + m3,
                  f = FAR * (m2 - m3);
        y[0] = a + e;
        y[to] = b + f;
        y[2 * to] = NEAR * NEAR * a + FAR * FAR * e;
        y[3 * to] = m4 + NEAR * NEAR * b + FAR * FAR * f;
    } else {
        const vec m3 = m[3 * from], m4 = m[4 * from], a = m1 + m2, b = NEAR_3 * (m1 - m2), e = m3 + m4,
                  f = FAR_3 * (m3 - m4);
        y[0] = m0 + a + e;
        y[to] = b + f;
        y[2 * to] = NEAR_3 * NEAR_3 * a + FAR_3 * FAR_3 * e;
        y[3 * to] = m[5 * from] + NEAR_3 * NEAR_3 * b + FAR_3 * FAR_3 * f;
    }
}

/* u where positive, else slope * u. */
INLINE void rectify(vec *u, const sv_real slope) {
    const vec low = *u * slope;
    const __typeof__(*u > 0) positive = *u > 0;
    *u = (vec)((positive & (__typeof__(positive))*u) | (~positive & (__typeof__(positive))low));
}

INLINE void output_tile(const long tile_h, const long tile_w, const long taps, const sv_real *m, long step,
                        const sv_epilogue *epilogue, long n, sv_real *const *at) {
    const long points_h = tile_h + taps - 1, points_w = tile_w + taps - 1;
    for (long c = 0; c < n; c += LANES) {
        vec d[AXIS_POINTS], t[POINTS], r[AXIS_POINTS];
        const vec b = epilogue->bias ? FROM(epilogue->bias + c) : (vec){0};
        const vec g = epilogue->gain ? FROM(epilogue->gain + c) : (vec){0} + 1;
        const bool active = epilogue->slope != 1;
        for (long i = 0; i < points_h; i++) {
            for (long j = 0; j < points_w; j++) d[j] = FROM(m + (i * points_w + j) * step + c);
            output_transform(points_w, d, 1, t + i * tile_w, 1);
        }
        for (long j = 0; j < tile_w; j++) {
            output_transform(points_h, t + j, tile_w, r, 1);
            for (long i = 0; i < tile_h; i++) {
                vec u = r[i] * g + b;
                if (active) rectify(&u, epilogue->slope);
                if (at[i * tile_w + j]) AT(at[i * tile_w + j] + c) = u;
            }
        }
    }
}

/* G' along one axis. */
INLINE void weight_gradient_transform(const long points, const vec *m, const long from, vec *g, const long to) {
    const vec m0 = m[0], m1 = m[from], m2 = m[2 * from];
    if (points == 3) {
        g[0] = (m0 - m1) * (1 / (2 * POINT));
        g[to] = m2 + (m0 + m1) / 2;
    } else if (points == 4) {
        const vec half = (m1 + m2) / 2;
        g[0] = m0 + half;
        g[to] = (m1 - m2) / 2;
        g[2 * to] = m[3 * from] + half;
    } else if (points == 5) {
        const vec m3 = m[3 * from], m4 = m[4 * from];
        g[0] = NEAR_SCALE * (m0 - m1) + FAR_SCALE * (m2 - m3);
        g[to] = m4 + NEAR * NEAR_SCALE * (m0 + m1) + FAR * FAR_SCALE * (m2 + m3);
    } else {
        const vec m3 = m[3 * from], m4 = m[4 * from], a = NEAR_3_SCALE * (m1 + m2), e = FAR_3_SCALE * (m3 + m4);
        g[0] = ZERO_3_SCALE * m0 + a + e;
        g[to] = NEAR_3 * NEAR_3_SCALE * (m1 - m2) + FAR_3 * FAR_3_SCALE * (m3 - m4);
        g[2 * to] = m[5 * from] + NEAR_3 * NEAR_3 * a + FAR_3 * FAR_3 * e;
    }
}

/* taps 2: of four phases, whose taps interleave in a kernel of 4x4; 3: of the one phase. */
INLINE void weight_gradient_taps(const long points_h, const long points_w, const long taps, const sv_real *const *at,
                                 long step, sv_real *to) {
    const long across = taps == 2 ? 2 : 1; /* phases along an axis */
    for (long phase = 0; phase < across * across; phase++) {
        vec d[AXIS_POINTS], t[POINTS], r[AXIS_POINTS];
        for (long i = 0; i < points_h; i++) {
            for (long j = 0; j < points_w; j++) d[j] = FROM(at[phase] + (i * points_w + j) * step);
            weight_gradient_transform(points_w, d, 1, t + taps * i, 1);
        }
        for (long j = 0; j < taps; j++) {
            weight_gradient_transform(points_h, t + j, taps, r, 1);
            for (long i = 0; i < taps; i++)
                AT(to + ((across * i + phase / across) * across * taps + across * j + phase % across) * LANES) = r[i];
        }
    }
}

/* Of four phases, and of the taps that make them: 2. */
#define PHASES(tile_h, tile_w)                                                                                       \
    SV_LOOP(input_phases_##tile_h##tile_w,                                                                           \
            (const sv_winograd_view *x, long tile, long n, long c0, long channels, sv_real *to, long ld, long step), \
            (x, tile, n, c0, channels, to, ld, step)) {                                                              \
        input_phase_rows(tile_h + 1, tile_w + 1, x, tile, n, c0, channels, to, ld, step);                            \
    }

/* name: tile_h, tile_w and taps. */
#define TRANSFORMS(name, tile_h, tile_w, taps)                                                                        \
    SV_LOOP(input_##name,                                                                                             \
            (const sv_winograd_view *x, long tile, long n, long phase, long phases, long c0, long channels,           \
             sv_real *to, long ld, long step),                                                                        \
            (x, tile, n, phase, phases, c0, channels, to, ld, step)) {                                                \
        input_rows(tile_h + taps - 1, tile_w + taps - 1, x, tile, n, phase, phases, c0, channels, to, ld, step);      \
    }                                                                                                                 \
    static void input_steps_##name(const sv_winograd_view *x, long tile, long n, long c0, long channels, sv_real *to, \
                                   long ld, long step) {                                                              \
        input_##name(x, tile, n, 0, taps == 2 ? 4 : 1, c0, channels, to, ld, step);                                   \
    }                                                                                                                 \
    SV_LOOP(gradient_##name,                                                                                          \
            (const sv_winograd_view *gy, long tile, long n, long c0, long channels, sv_real *to, long ld, long step), \
            (gy, tile, n, c0, channels, to, ld, step)) {                                                              \
        gradient_rows(tile_h, tile_w, taps, gy, tile, n, c0, channels, to, ld, step);                                 \
    }                                                                                                                 \
    SV_LOOP(weight_##name, (const sv_real(*g)[SV_NR], const long *numbers, long columns, sv_real *to, long step),     \
            (g, numbers, columns, to, step)) {                                                                        \
        weight_rows(tile_h + taps - 1, tile_w + taps - 1, taps, g, numbers, columns, to, step);                       \
    }                                                                                                                 \
    SV_LOOP(output_##name, (const sv_real *m, long step, const sv_epilogue *epilogue, long n, sv_real *const *at),    \
            (m, step, epilogue, n, at)) {                                                                             \
        output_tile(tile_h, tile_w, taps, m, step, epilogue, n, at);                                                  \
    }                                                                                                                 \
    SV_LOOP(weight_gradient_##name, (const sv_real *const *at, long step, sv_real *to), (at, step, to)) {             \
        weight_gradient_taps(tile_h + taps - 1, tile_w + taps - 1, taps, at, step, to);                               \
    }

PHASES(2, 2)
PHASES(4, 2)
PHASES(4, 4)
TRANSFORMS(222, 2, 2, 2)
TRANSFORMS(422, 4, 2, 2)
TRANSFORMS(442, 4, 4, 2)
TRANSFORMS(223, 2, 2, 3)
TRANSFORMS(443, 4, 4, 3)

#define ROW(name, tile_h, tile_w, taps, input_phases)                                                             \
    {                                                                                                             \
        tile_h, tile_w, taps, (tile_h + taps - 1) * (tile_w + taps - 1), output_##name, weight_gradient_##name, { \
            input_##name, input_phases, weight_##name, input_steps_##name, gradient_##name                        \
        }                                                                                                         \
    }

const sv_winograd sv_winograd_of[SV_WINOGRAD_SIZES] = {
    [SV_WINOGRAD_2X2] = ROW(222, 2, 2, 2, input_phases_22), [SV_WINOGRAD_4X2] = ROW(422, 4, 2, 2, input_phases_42),
    [SV_WINOGRAD_4X4] = ROW(442, 4, 4, 2, input_phases_44), [SV_WINOGRAD_2X2_3TAPS] = ROW(223, 2, 2, 3, NULL),
    [SV_WINOGRAD_4X4_3TAPS] = ROW(443, 4, 4, 3, NULL),
};
