/* dsprites.c: the sprites of the dSprites data set (Matthey, Higgins, Hassabis and Lerchner, 2017).
 *
 * z = (shape, scale, orientation, posX, posY): shape 1 square, 2 ellipse,
 * 3 heart; scale 0.5 … 1; orientation in radians, counter-clockwise on the
 * screen; positions 0 … 1, from the left and from the top. A pixel is 1 if its
 * centre is inside the sprite, else 0: white on black, as in the data set, and
 * not antialiased. Values between those of the data set are drawn without rounding.
 *
 * The geometry (px at scale 1) was fitted to 160 frames of the data set: the
 * square's half-side lies between 9.5966 and 9.5998.
 *
 * A row of pixels is a 64-bit word. Each crossing of the outline with the row's centre
 * line inverts all pixels to its right (one XOR), which is the even-odd fill rule.
 */
#include "../sim/sim.h"

#include <math.h>
#include <string.h>

enum { SIDE = 64, HEART_POINTS = 154, HEART_HALF = HEART_POINTS / 2 };
enum shape { SQUARE = 1, ELLIPSE = 2, HEART = 3 };

static const double SQUARE_SIDE = 9.598;                 /* half */
static const double ELLIPSE_A = 12.77, ELLIPSE_B = 7.21; /* half-axes */
static const double HEART_WIDTH = 9.6, HEART_SCALE = -0.6622, HEART_DOWN = -1.438;
static const double PI = 3.14159265358979323846;

/* The pixels of a row whose centres are to the right of x. */
static uint64_t right_of(double x) {
    double c = ceil(x - 0.5);
    return c <= 0 ? ~(uint64_t)0 : c >= SIDE ? 0 : ~(uint64_t)0 << (int)c;
}

/* Inverts the pixels to the right of an edge, in the rows whose centre line it crosses;
 * an end on a centre line counts for the edge below it only. */
static void invert_right(uint64_t *row, double x0, double y0, double x1, double y1) {
    double low = y0 < y1 ? y0 : y1, high = y0 < y1 ? y1 : y0;
    if (!(high > 0.5) || !(low < SIDE)) return;
    double first = ceil(low - 0.5), last = ceil(high - 0.5);
    int i = first > 0 ? (int)first : 0, end = last < SIDE ? (int)last : SIDE;
    if (i >= end) return;
    double slope = (x1 - x0) / (y1 - y0);
    for (; i < end; i++) row[i] ^= right_of(x0 + (i + 0.5 - y0) * slope);
}

/* The polygon of n points (u, v), rotated and scaled by (c, s), centred at (x, y). */
static void fill_outline(uint64_t *row, double (*uv)[2], int n, double c, double s, double x, double y) {
    double px = x + c * uv[n - 1][0] + s * uv[n - 1][1];
    double py = y - s * uv[n - 1][0] + c * uv[n - 1][1];
    for (int i = 0; i < n; i++) {
        double nx = x + c * uv[i][0] + s * uv[i][1];
        double ny = y - s * uv[i][0] + c * uv[i][1];
        invert_right(row, px, py, nx, ny);
        px = nx;
        py = ny;
    }
}

/* u = 9.6 sin^3 t, v = -0.6622 (13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) - 1.438,
 * v downward. The outline is mirrored about u = 0. With cos t = c the bracket is
 * 4 + 19 c - 2 c^2 - 8 c^3 - 8 c^4. */
static void make_heart(double (*uv)[2]) {
    double step_cos = cos(2 * PI / HEART_POINTS), step_sin = sin(2 * PI / HEART_POINTS);
    double c = 1, s = 0;
    for (int i = 0; i <= HEART_HALF; i++) {
        double u = HEART_WIDTH * s * s * s;
        double v = 4 + c * (19 + c * (-2 + c * (-8 - 8 * c)));
        int mirror = (HEART_POINTS - i) % HEART_POINTS;
        uv[mirror][0] = -u;
        uv[i][0] = u;
        uv[i][1] = uv[mirror][1] = HEART_SCALE * v + HEART_DOWN;
        double next = c * step_cos - s * step_sin;
        s = s * step_cos + c * step_sin;
        c = next;
    }
}

/* The ellipse of half-axes a and b whose first axis points to (c, -s), y down: in
 * each row, between the roots of the quadratic that x solves there. */
static void fill_ellipse(uint64_t *row, double a, double b, double c, double s, double x, double y) {
    double p = c * c / (a * a) + s * s / (b * b);
    double q = s * s / (a * a) + c * c / (b * b);
    double m = c * s * (1 / (a * a) - 1 / (b * b));
    for (int i = 0; i < SIDE; i++) {
        double d = i + 0.5 - y;
        double half = (m * m - p * q) * d * d + p;
        if (half >= 0) {
            double middle = x + m * d / p, reach = sqrt(half) / p;
            row[i] = right_of(middle - reach) ^ right_of(middle + reach);
        }
    }
}

static void draw_sprite(const double *z, sv_real *out) {
    memset(out, 0, sizeof *out * SIDE * SIDE);
    for (int i = 0; i < 5; i++)
        if (!(fabs(z[i]) < 1e6)) return;
    enum shape shape = z[0] < 1.5 ? SQUARE : z[0] < 2.5 ? ELLIPSE : HEART;
    double scale = z[1], x = 16 + 32 * z[3], y = 16 + 32 * z[4];
    double c = cos(z[2]), s = sin(z[2]);
    if (!(scale > 1e-6)) return;

    uint64_t row[SIDE] = {0};
    if (shape == SQUARE) {
        double corner[4][2] = {{-SQUARE_SIDE, -SQUARE_SIDE},
                               {SQUARE_SIDE, -SQUARE_SIDE},
                               {SQUARE_SIDE, SQUARE_SIDE},
                               {-SQUARE_SIDE, SQUARE_SIDE}};
        fill_outline(row, corner, 4, scale * c, scale * s, x, y);
    } else if (shape == ELLIPSE) {
        fill_ellipse(row, scale * ELLIPSE_A, scale * ELLIPSE_B, c, s, x, y);
    } else {
        double heart[HEART_POINTS][2];
        make_heart(heart);
        fill_outline(row, heart, HEART_POINTS, scale * c, scale * s, x, y);
    }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; row[i] >> j != 0; j++) {
            out[i * SIDE + j] = (sv_real)(row[i] >> j & 1);
            if (j == SIDE - 1) break;
        }
}

const sv_sim sv_sim_dsprites = {
    .name = "dsprites",
    .nparams = 5,
    .channels = 1,
    .height = SIDE,
    .width = SIDE,
    .draw = draw_sprite,
    .doc = "z = (shape, scale, orientation, posX, posY): square, ellipse or heart (1, 2, 3), "
           "white on black, not antialiased; posY from the top.",
};
