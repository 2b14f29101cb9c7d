/* fourier.c: the graph of a Fourier series, stroked black on white.
 *
 * z = (c0, a1 … a5, b1 … b5): f(t) = c0 + sum a_k cos(2 pi k t) + b_k sin(2 pi k t),
 * t in [0, 1] across the image, f in [-6, 6] up its height, 1.5 px wide.
 *
 * The stroke of a round pen of radius R along the graph of f is the region between
 *     upper(x) = max over |u| <= R of f(x + u) + sqrt(R^2 - u^2)
 *     lower(x) = min over |u| <= R of f(x + u) - sqrt(R^2 - u^2),
 * the grey-scale dilation and erosion of f by a disc (Sternberg, 1986), as f is
 * continuous. The region has no gaps and no pixel is counted twice, however sharp the
 * corners of the curve. The graph of f is a polyline of POINTS pieces, whose dilation
 * is computed exactly and sampled at the same points.
 *
 * f has period 1 and is continued beyond both sides of the image, so that no end of
 * the stroke is visible.
 */
#include "../sim/sim.h"

#include <math.h>

enum {
    SIDE = 64,
    PER_PIXEL = 4,
    POINTS = SIDE * PER_PIXEL,
    HALF = POINTS / 2,
    MARGIN = 4, /* points beyond either side that the pen reaches: more than R * PER_PIXEL */
    PIECES = POINTS + 2 * MARGIN,
    TERMS = 5
};

static const double RADIUS = 0.75; /* px */
static const double LIMIT = 1e4;   /* of a coefficient; values beyond are far outside the image */
static const double PI = 3.14159265358979323846;

/* Heights in px at the POINTS + 1 points, and MARGIN more on either side. The
 * cosine half of the series is even about t = 1/2 and the sine half odd: one
 * pass over half of the points gives both, each a polynomial of cos(2 pi t)
 * summed by Clenshaw's rule. */
static void sample(const double *z, double *height) {
    const double *a = z, *b = z + TERMS; /* a[k], b[k] for k = 1 … TERMS */
    const double scale = SIDE / 12.0;
    double step_cos = cos(2 * PI / POINTS), step_sin = sin(2 * PI / POINTS);
    double c = 1, s = 0;
    double *f = height + MARGIN;
    for (int i = 0; i <= HALF; i++) {
        double p = 0, p1 = 0, q = 0, q1 = 0;
        for (int k = TERMS; k >= 1; k--) {
            double t = a[k] + 2 * c * p - p1;
            p1 = p, p = t;
            t = b[k] + 2 * c * q - q1;
            q1 = q, q = t;
        }
        double even = z[0] + c * p - p1, odd = s * q;
        f[i] = SIDE / 2.0 + scale * (even + odd);
        f[POINTS - i] = SIDE / 2.0 + scale * (even - odd);
        double next = c * step_cos - s * step_sin;
        s = s * step_cos + c * step_sin;
        c = next;
    }
    for (int i = 1; i <= MARGIN; i++) {
        f[-i] = f[POINTS - i];
        f[POINTS + i] = f[i];
    }
}

static int ceiling(double v) {
    int i = (int)v;
    return i + (i < v);
}

/* A piece of the polyline, from point i to the next, and where the pen touches it. */
struct piece {
    double rise;  /* px to the next point */
    double lift;  /* px from the piece up to the pen's edge where it touches */
    double shift; /* of that point along x, in spacings of points */
};

static void measure(const double *f, struct piece *piece) {
    for (int i = 0; i < PIECES; i++) {
        double rise = f[i + 1] - f[i], slope = rise * PER_PIXEL;
        double lift = RADIUS / sqrt(1 + slope * slope);
        piece[i] = (struct piece){rise, lift, -PER_PIXEL * slope * lift};
    }
}

/* The dilation of the polyline by the pen, sampled at points 0 … POINTS. Its upper
 * boundary is a chain: each piece of the polyline shifted by R along its normal, and an
 * arc about each corner that bends downward. Where the polyline bends upward the chain
 * overlaps itself, and the maximum counts. In units of the spacing, a piece shifted by d
 * covers one sample, i + ceil(d), and an arc those between the ends of its neighbours.
 * `side` is -1 for the lower boundary, the negated upper boundary of -f. */
static void dilate(const double *f, const struct piece *piece, double side, double *edge) {
    double top[PIECES + 2 * MARGIN]; /* all samples that a shift can reach */
    double *at = top + MARGIN;
    for (int i = 0; i < PIECES + 2 * MARGIN; i++) top[i] = -INFINITY;
    int before = MARGIN;
    for (int i = 0; i < PIECES; i++) {
        double y = side * f[i], shift = side * piece[i].shift;
        int k = ceiling(shift);
        for (int g = before; g < k; g++) {
            double u = g * (1.0 / PER_PIXEL);
            double square = RADIUS * RADIUS - u * u;
            double v = y + (square > 0 ? sqrt(square) : 0);
            at[i + g] = at[i + g] > v ? at[i + g] : v;
        }
        double v = y + side * piece[i].rise * (k - shift) + piece[i].lift;
        at[i + k] = at[i + k] > v ? at[i + k] : v;
        before = k;
    }
    for (int i = 0; i <= POINTS; i++) edge[i] = side * at[MARGIN + i];
}

static void draw_fourier(const double *z, sv_real *out) {
    double safe[2 * TERMS + 1];
    for (int i = 0; i < 2 * TERMS + 1; i++) {
        if (isnan(z[i])) {
            for (int j = 0; j < SIDE * SIDE; j++) out[j] = 1;
            return;
        }
        safe[i] = z[i] < -LIMIT ? -LIMIT : z[i] > LIMIT ? LIMIT : z[i];
    }
    double height[PIECES + 1], upper[POINTS + 1], lower[POINTS + 1];
    struct piece piece[PIECES];
    sample(safe, height);
    measure(height, piece);
    dilate(height, piece, 1, upper);
    dilate(height, piece, -1, lower);

    sv_raster raster;
    sv_raster_start(&raster, SIDE, SIDE);
    for (int i = 0; i < POINTS; i++) {
        double x = i * (1.0 / PER_PIXEL), next = (i + 1) * (1.0 / PER_PIXEL);
        sv_raster_strip(&raster, i / PER_PIXEL, x, upper[i], next, upper[i + 1], -1);
        sv_raster_strip(&raster, i / PER_PIXEL, x, lower[i], next, lower[i + 1], 1);
    }
    sv_raster_ink(&raster, out);
}

const sv_sim sv_sim_fourier = {
    .name = "fourier",
    .nparams = 2 * TERMS + 1,
    .channels = 1,
    .height = SIDE,
    .width = SIDE,
    .draw = draw_fourier,
    .doc = "z = (c0, a1 … a5, b1 … b5): f(t) = c0 + sum a_k cos(2 pi k t) + b_k sin(2 pi k t), "
           "t in [0, 1] across the width, f in [-6, 6] up the height, stroked 1.5 px wide.",
};
