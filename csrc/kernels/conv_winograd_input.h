/* conv_winograd_input.h: the input transform over rows of tiles, compiled once for floats and once for bfloat16 pairs.
 * The including file defines how factors are stored:
 *
 *   ROWS           linkage and target of the functions
 *   PLACE(c)       where channel c lies in a row of factors
 *   STORE(to, v)   stores LANES of them
 */
#include <string.h>

ROWS void input_rows(const long points_h, const long points_w, const sv_winograd_view *x, long tile, long n, long phase,
                     long phases, long c0, long channels, sv_real *to, long ld, long step) {
    const long windows = n * phases;
    const sv_real *next[POINTS], *at[POINTS];
    locate_pixels(x, points_h, points_w, tile, phase, c0, next);
    for (long i = 0; i < windows; i++) {
        long ahead = sv_min(i + 1, windows - 1);
        memcpy(at, next, (size_t)(points_h * points_w) * sizeof *at);
        locate_pixels(x, points_h, points_w, tile + ahead / phases, phase + ahead % phases, c0, next);
        sv_real *row = to + i / phases * ld + PLACE(i % phases * channels);
        for (long c = 0; c < channels; c += LANES) {
            vec t[POINTS], r[AXIS_POINTS];
            input_across(points_h, points_w, at, next, c, t);
            for (long j = 0; j < points_w; j++) {
                input_transform(points_h, t + j, points_w, r, 1);
                for (long q = 0; q < points_h; q++) STORE(row + (q * points_w + j) * step + PLACE(c), r[q]);
            }
        }
    }
}

ROWS void input_phase_rows(const long points_h, const long points_w, const sv_winograd_view *x, long tile, long n,
                           long c0, long channels, sv_real *to, long ld, long step) {
    const long products = points_h * points_w;
    const sv_real *next[AXIS_PIXELS * AXIS_PIXELS], *at[AXIS_PIXELS * AXIS_PIXELS];
    locate_pixels(x, points_h + 1, points_w + 1, tile, 3, c0, next);
    for (long t = 0; t < n; t++, to += ld) {
        memcpy(at, next, sizeof at);
        locate_pixels(x, points_h + 1, points_w + 1, tile + sv_min(t + 1, n - 1), 3, c0, next);
        for (long c = 0; c < channels; c += LANES) {
            vec v[2][AXIS_PIXELS * AXIS_POINTS], r[AXIS_POINTS];
            input_phases_across(points_h, points_w, at, next, c, v[0], v[1]);
            for (long phase = 0; phase < 4; phase++) {
                const vec *from = v[phase % 2] + (1 - phase / 2) * points_w;
                sv_real *phase_to = to + phase * products * step + PLACE(c);
                for (long j = 0; j < points_w; j++) {
                    input_transform(points_h, from + j, points_w, r, 1);
                    for (long q = 0; q < points_h; q++) STORE(phase_to + (q * points_w + j) * step, r[q]);
                }
            }
        }
    }
}
