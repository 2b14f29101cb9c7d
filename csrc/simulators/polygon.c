/* polygon.c: a filled quadrilateral, black on white.
 *
 * z = (x1, y1, x2, y2, x3, y3, x4, y4) in pixels. The outline may intersect itself;
 * with four corners the even-odd and the non-zero rule then fill the same two
 * triangles, which touch at the intersection only. The raster sums signed areas, and
 * the two triangles have opposite orientations, so each is added with the sign of its
 * own area.
 */
#include "../sim/sim.h"

#include <math.h>

enum { SIDE = 64 };

/* Twice the signed area of the triangle p, q, s. */
static double orientation(const double *p, const double *q, const double *s) {
    return (q[0] - p[0]) * (s[1] - p[1]) - (q[1] - p[1]) * (s[0] - p[0]);
}

/* The intersection of the segments pq and st, if they cross; touching does not count. */
static bool cross(const double *p, const double *q, const double *s, const double *t, double *at) {
    double a = orientation(s, t, p), b = orientation(s, t, q);
    if (!(a * b < 0) || !(orientation(p, q, s) * orientation(p, q, t) < 0)) return false;
    double k = a / (a - b);
    at[0] = p[0] + k * (q[0] - p[0]);
    at[1] = p[1] + k * (q[1] - p[1]);
    return true;
}

static void add_triangle(sv_raster *r, const double *p, const double *q, const double *s) {
    double xy[6] = {p[0], p[1], q[0], q[1], s[0], s[1]};
    sv_raster_contour(r, xy, 3, orientation(p, q, s) < 0 ? -1 : 1);
}

static void draw_polygon(const double *z, sv_real *out) {
    double p[4][2], at[2];
    double low = SIDE, high = 0;
    bool valid = true;
    for (int i = 0; i < 4; i++) {
        p[i][0] = z[2 * i];
        p[i][1] = z[2 * i + 1];
        valid = valid && isfinite(p[i][0]) && isfinite(p[i][1]);
        low = p[i][1] < low ? p[i][1] : low;
        high = p[i][1] > high ? p[i][1] : high;
    }
    valid = valid && low < SIDE && high > 0;
    int bottom = valid && low > 0 ? (int)low : 0;
    int top = !valid ? 0 : high < SIDE ? (int)ceil(high) : SIDE;
    int rows = top > bottom ? top - bottom : 0;

    for (int i = 0; i < (SIDE - top) * SIDE; i++) out[i] = 1;
    for (int i = (SIDE - top + rows) * SIDE; i < SIDE * SIDE; i++) out[i] = 1;
    if (rows == 0) return;

    sv_raster raster;
    sv_raster_start(&raster, SIDE, rows);
    for (int i = 0; i < 4; i++) p[i][1] -= bottom;
    if (cross(p[0], p[1], p[2], p[3], at)) {
        add_triangle(&raster, at, p[1], p[2]);
        add_triangle(&raster, at, p[3], p[0]);
    } else if (cross(p[1], p[2], p[3], p[0], at)) {
        add_triangle(&raster, at, p[2], p[3]);
        add_triangle(&raster, at, p[0], p[1]);
    } else {
        double area = orientation(p[0], p[1], p[2]) + orientation(p[0], p[2], p[3]);
        sv_raster_contour(&raster, p[0], 4, area < 0 ? -1 : 1);
    }
    sv_raster_ink(&raster, out + (SIDE - top) * SIDE);
}

const sv_sim sv_sim_polygon = {
    .name = "polygon",
    .nparams = 8,
    .channels = 1,
    .height = SIDE,
    .width = SIDE,
    .draw = draw_polygon,
    .doc = "z = (x1, y1, x2, y2, x3, y3, x4, y4) in px: the quadrilateral with these corners, "
           "filled black on white; it may cross itself.",
};
