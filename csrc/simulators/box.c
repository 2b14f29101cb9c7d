/* box.c: the box of the paper's main experiment (section 4.1).
 *
 * z = (w, h, x, y) in pixels: a black rectangle w wide and h high whose lower
 * left corner is at (x, y), on white, with a blue cross at its centre. Both
 * are drawn by exact area coverage, the cross over the rectangle.
 *
 * The cross is the union of its two strokes, a simple polygon of twelve corners, so
 * that its centre is not blended twice. A negative width or height draws no rectangle,
 * only the cross; numbers that are not finite draw nothing.
 */
#include "../sim/sim.h"

#include <math.h>
#include <string.h>

enum { SIDE = 64, PLANE = SIDE * SIDE, CROSS = 8 };

/* Half the length of a stroke that reaches 3 px in x and y, and half its width,
 * along the cross's axes; sqrt(1/2) rotates them into the image's axes. */
static const double LONG = 4.242640687119285, HALF = 0.5, ROTATION = 0.7071067811865476;

/* The cross reaches (LONG + HALF) * ROTATION px from its centre, less than CROSS / 2. */
static const double REACH = 3.3535533905932737;

/* The covered fraction of pixels 0 … SIDE-1 of an axis by the interval [from, to]. */
static void cover_axis(double from, double to, sv_real *cover) {
    for (int i = 0; i < SIDE; i++) {
        double low = from > i ? from : i;
        double high = to < i + 1 ? to : i + 1;
        cover[i] = high > low ? (sv_real)(high - low) : 0;
    }
}

/* The rectangle in one plane: rows are outside, inside, or partly covered. */
static void draw_rectangle(double w, double h, double x, double y, sv_real *out) {
    sv_real across[SIDE], up[SIDE], white[SIDE], black[SIDE];
    cover_axis(x, x + w, across);
    cover_axis(y, y + h, up);
    for (int c = 0; c < SIDE; c++) {
        white[c] = 1;
        black[c] = 1 - across[c];
    }
    for (int r = 0; r < SIDE; r++, out += SIDE) {
        sv_real share = up[SIDE - 1 - r];
        if (share == 0)
            memcpy(out, white, sizeof white);
        else if (share == 1)
            memcpy(out, black, sizeof black);
        else
            for (int c = 0; c < SIDE; c++) out[c] = 1 - share * across[c];
    }
}

/* The cross, blended as colour (0, 0, 1) into the 8x8 pixels about its centre. */
static void draw_cross(double x, double y, sv_real *out) {
    static const double corner[12][2] = {
        {LONG, -HALF}, {LONG, HALF},   {HALF, HALF},   {HALF, LONG},   {-HALF, LONG}, {-HALF, HALF},
        {-LONG, HALF}, {-LONG, -HALF}, {-HALF, -HALF}, {-HALF, -LONG}, {HALF, -LONG}, {HALF, -HALF},
    };
    if (x < -CROSS || x > SIDE + CROSS || y < -CROSS || y > SIDE + CROSS) return;
    int left = (int)floor(x - REACH), bottom = (int)floor(y - REACH);
    double xy[24];
    for (int i = 0; i < 12; i++) {
        double along = corner[i][0], aside = corner[i][1];
        xy[2 * i] = x - left + (along - aside) * ROTATION;
        xy[2 * i + 1] = y - bottom + (along + aside) * ROTATION;
    }
    sv_raster raster;
    sv_real cover[CROSS * CROSS];
    sv_raster_start(&raster, CROSS, CROSS);
    sv_raster_contour(&raster, xy, 12, 1);
    sv_raster_coverage(&raster, cover);
    for (int i = 0; i < CROSS; i++)
        for (int j = 0; j < CROSS; j++) {
            int r = SIDE - bottom - CROSS + i, c = left + j;
            if (r < 0 || r >= SIDE || c < 0 || c >= SIDE) continue;
            sv_real a = cover[i * CROSS + j];
            sv_real *pixel = out + r * SIDE + c;
            pixel[0] *= 1 - a;
            pixel[PLANE] *= 1 - a;
            pixel[2 * PLANE] = pixel[2 * PLANE] * (1 - a) + a;
        }
}

static void draw_box(const double *z, sv_real *out) {
    double w = z[0], h = z[1], x = z[2], y = z[3];
    bool finite = isfinite(w) && isfinite(h) && isfinite(x) && isfinite(y);
    draw_rectangle(finite ? w : 0, finite ? h : 0, finite ? x : 0, finite ? y : 0, out);
    memcpy(out + PLANE, out, sizeof *out * PLANE);
    memcpy(out + 2 * PLANE, out, sizeof *out * PLANE);
    if (finite) draw_cross(x + w / 2, y + h / 2, out);
}

/* The rectangle lies within the image. */
static void draw_prior(sv_rng *r, double *z) {
    for (int k = 0; k < 2; k++) z[k] = SIDE * sv_rng_uniform(r);
    for (int k = 0; k < 2; k++) z[k + 2] = (SIDE - z[k]) * sv_rng_uniform(r);
}

const sv_sim sv_sim_box = {
    .name = "box",
    .nparams = 4,
    .channels = 3,
    .height = SIDE,
    .width = SIDE,
    .draw = draw_box,
    .prior = draw_prior,
    .doc = "z = (w, h, x, y) in px: a black rectangle with its lower left corner at (x, y) on "
           "white, a blue cross at its centre (diagonal strokes, 3 px each way, 1 px wide).",
};
