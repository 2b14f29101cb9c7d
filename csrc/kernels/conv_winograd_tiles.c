/* conv_winograd_tiles.c: the tiles of conv_winograd.h in full precision, and what becomes of
 * products in any. */
#include "conv_winograd.h"
#include <string.h>

#define ROWS INLINE
#define PLACE(c) (c)
#define KEEP(to, v) (AT(to) = (v))
#include "conv_winograd_rows.h"

INLINE void scatter_rows(const long tall, const long wide, const sv_view *gy, long tile, long n, long c0, long channels,
                         sv_real *to, long ld, long step) {
    const sv_real *next[POINTS], *at[POINTS];
    find_window(gy, tall, wide, tile, 0, c0, next);
    for (long t = 0; t < n; t++, to += ld) {
        memcpy(at, next, sizeof at);
        find_window(gy, tall, wide, tile + least(t + 1, n - 1), 0, c0, next);
        for (long c = 0; c < channels; c += LANES) {
            vec v[POINTS], r[MOST];
            scatter_across(tall, wide, at, next, c, v);
            for (long j = 0; j <= wide; j++) {
                scatter(tall, v + j, wide + 1, r, 1);
                for (long q = 0; q <= tall; q++) AT(to + (q * (wide + 1) + j) * step + c) = r[q];
            }
        }
    }
}

INLINE void expand_row(const long tall, const long wide, const sv_real (*g)[SV_NR], const long *taps, long width,
                       sv_real *to, long step) {
    const long points = (tall + 1) * (wide + 1);
    for (long c = 0; c < width; c += LANES) {
        vec r[POINTS];
        expand_taps(tall, wide, g, taps, c, r);
        for (long q = 0; q < points; q++) {
            AT(to + q * step + c) = r[q];
            sv_bring_to_write(to + q * step + c + width, LANES); /* the next row */
        }
    }
}

INLINE void collect(const long tile, const vec *m, const long from, vec *y, const long to) {
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

INLINE void collect_tile(const long tall, const long wide, const sv_real *m, long step, const sv_after *after, long n,
                         sv_real *const *at) {
    for (long c = 0; c < n; c += LANES) {
        vec d[MOST], t[POINTS], r[MOST];
        const vec b = after->bias ? FROM(after->bias + c) : (vec){0};
        const vec g = after->gain ? FROM(after->gain + c) : (vec){0} + 1;
        const bool active = after->slope != 1;
        for (long i = 0; i <= tall; i++) {
            for (long j = 0; j <= wide; j++) d[j] = FROM(m + (i * (wide + 1) + j) * step + c);
            collect(wide, d, 1, t + i * wide, 1);
        }
        for (long j = 0; j < wide; j++) {
            collect(tall, t + j, wide, r, 1);
            for (long i = 0; i < tall; i++) {
                vec u = r[i] * g + b;
                if (active) rectify(&u, after->slope);
                if (at[i * wide + j]) AT(at[i * wide + j] + c) = u;
            }
        }
    }
}

/* The transpose of expand. */
INLINE void shrink(const long tile, const vec *m, const long from, vec *g, const long to) {
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

INLINE void shrink_taps(const long tall, const long wide, const sv_real *const *at, long step, sv_real *taps) {
    for (long phase = 0; phase < 4; phase++) {
        vec d[MOST], t[2 * MOST], r[2];
        for (long i = 0; i <= tall; i++) {
            for (long j = 0; j <= wide; j++) d[j] = FROM(at[phase] + (i * (wide + 1) + j) * step);
            shrink(wide, d, 1, t + 2 * i, 1);
        }
        for (long j = 0; j < 2; j++) {
            shrink(tall, t + j, 2, r, 1);
            for (long i = 0; i < 2; i++) AT(taps + ((2 * i + phase / 2) * 4 + 2 * j + phase % 2) * LANES) = r[i];
        }
    }
}

#define FORM(tall, wide)                                                                                              \
    SV_CLONES static void spread_##tall##wide(const sv_view *x, long tile, long n, long phase, long phases, long c0,  \
                                              long channels, sv_real *to, long ld, long step) {                       \
        spread_rows(tall, wide, x, tile, n, phase, phases, c0, channels, to, ld, step);                               \
    }                                                                                                                 \
    SV_CLONES static void around_##tall##wide(const sv_view *x, long tile, long n, long c0, long channels,            \
                                              sv_real *to, long ld, long step) {                                      \
        around_rows(tall, wide, x, tile, n, c0, channels, to, ld, step);                                              \
    }                                                                                                                 \
    static void steps_##tall##wide(const sv_view *x, long tile, long n, long c0, long channels, sv_real *to, long ld, \
                                   long step) {                                                                       \
        spread_##tall##wide(x, tile, n, 0, 4, c0, channels, to, ld, step);                                            \
    }                                                                                                                 \
    SV_CLONES static void scatter_##tall##wide(const sv_view *gy, long tile, long n, long c0, long channels,          \
                                               sv_real *to, long ld, long step) {                                     \
        scatter_rows(tall, wide, gy, tile, n, c0, channels, to, ld, step);                                            \
    }                                                                                                                 \
    SV_CLONES static void expand_##tall##wide(const sv_real(*g)[SV_NR], const long *taps, long width, sv_real *to,    \
                                              long step) {                                                            \
        expand_row(tall, wide, g, taps, width, to, step);                                                             \
    }                                                                                                                 \
    SV_CLONES static void collect_##tall##wide(const sv_real *m, long step, const sv_after *after, long n,            \
                                               sv_real *const *at) {                                                  \
        collect_tile(tall, wide, m, step, after, n, at);                                                              \
    }                                                                                                                 \
    SV_CLONES static void shrink_##tall##wide(const sv_real *const *at, long step, sv_real *taps) {                   \
        shrink_taps(tall, wide, at, step, taps);                                                                      \
    }

FORM(2, 2)
FORM(4, 2)
FORM(4, 4)

#define ROW(tall, wide)                                                                                             \
    {                                                                                                               \
        tall, wide, collect_##tall##wide, shrink_##tall##wide, {                                                    \
            spread_##tall##wide, around_##tall##wide, expand_##tall##wide, steps_##tall##wide, scatter_##tall##wide \
        }                                                                                                           \
    }

const sv_form sv_forms[SV_FORMS] = {
    [SV_FORM_22] = ROW(2, 2),
    [SV_FORM_42] = ROW(4, 2),
    [SV_FORM_44] = ROW(4, 4),
};
