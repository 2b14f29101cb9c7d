/* conv_winograd_rows.h: rows of pixels to rows of factors, compiled once for full numbers and once for pairs. Who includes
 * it says what they are stored as:
 *
 *   ROWS         linkage and target of the functions
 *   PLACE(c)     where channel c lies in a row of factors
 *   KEEP(to, v)  stores LANES of them
 */
#include <string.h>

ROWS void spread_rows(const long tall, const long wide, const sv_view *x, long tile, long n, long phase, long phases,
                      long c0, long channels, sv_real *to, long ld, long step) {
    const long windows = n * phases;
    const sv_real *next[POINTS], *at[POINTS];
    find_window(x, tall + 1, wide + 1, tile, phase, c0, next);
    for (long i = 0; i < windows; i++) {
        long after = least(i + 1, windows - 1);
        memcpy(at, next, sizeof at);
        find_window(x, tall + 1, wide + 1, tile + after / phases, phase + after % phases, c0, next);
        sv_real *row = to + i / phases * ld + PLACE(i % phases * channels);
        for (long c = 0; c < channels; c += LANES) {
            vec t[POINTS], r[MOST];
            spread_across(tall, wide, at, next, c, t);
            for (long j = 0; j <= wide; j++) {
                spread(tall, t + j, wide + 1, r, 1);
                for (long q = 0; q <= tall; q++) KEEP(row + (q * (wide + 1) + j) * step + PLACE(c), r[q]);
            }
        }
    }
}

ROWS void around_rows(const long tall, const long wide, const sv_view *x, long tile, long n, long c0, long channels,
                      sv_real *to, long ld, long step) {
    const long products = (tall + 1) * (wide + 1);
    const sv_real *next[WIDEST * WIDEST], *at[WIDEST * WIDEST];
    find_window(x, tall + 2, wide + 2, tile, 3, c0, next);
    for (long t = 0; t < n; t++, to += ld) {
        memcpy(at, next, sizeof at);
        find_window(x, tall + 2, wide + 2, tile + least(t + 1, n - 1), 3, c0, next);
        for (long c = 0; c < channels; c += LANES) {
            vec v[2][WIDEST * MOST], r[MOST];
            spread_around(tall, wide, at, next, c, v[0], v[1]);
            for (long phase = 0; phase < 4; phase++) {
                const vec *from = v[phase % 2] + (1 - phase / 2) * (wide + 1);
                sv_real *phase_to = to + phase * products * step + PLACE(c);
                for (long j = 0; j <= wide; j++) {
                    spread(tall, from + j, wide + 1, r, 1);
                    for (long q = 0; q <= tall; q++) KEEP(phase_to + (q * (wide + 1) + j) * step, r[q]);
                }
            }
        }
    }
}
