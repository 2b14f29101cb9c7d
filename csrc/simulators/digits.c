/* digits.c: handwritten digits, white on black.
 *
 * z = (digit, x, y, size, width, slant, thickness, edge, style, form, bend, balance, taper):
 * the digits 1 to 9, and 10 for 0; their centre and height in px; the width as a share
 * of the height; the slant (x per y) of the shear; thickness and edge of the pen in px;
 * and five shapes in -1 … 1, 0 the plain one.
 *
 * A digit is one or two strokes, polylines of lines and elliptic arcs in a frame of
 * width 1 and height 1 about its centre, y up. A pixel at the distance d of the nearest
 * stroke has the value of a bar of that thickness convolved with a box `edge` wide:
 *
 *     ink(d) = ramp(thickness / 2 - d) - ramp(-thickness / 2 - d),
 *     ramp(t) = t / edge + 1/2, clamped to 0 … 1
 *
 * so that a straight stroke carries its thickness times its length. Edges are at least
 * 1 px wide: an image is a continuous function of its parameters.
 */
#include "../sim/sim.h"

#include <math.h>
#include <string.h>

enum { SIDE = 32, POINTS = 128, STROKES = 3, STEPS_A_TURN = 32, PIECES_A_LINE = 6 };

static const double PI = 3.14159265358979323846;
static const double LIMIT = 1e4;     /* of a parameter; values beyond draw nothing */
static const double LEAST_EDGE = 1;  /* px */
static const double MOST_FORM = 1.5; /* of the five shapes, beyond which they are clamped */

enum parameter { DIGIT, X, Y, SIZE, WIDTH, SLANT, THICKNESS, EDGE, STYLE, FORM, BEND, BALANCE, TAPER, PARAMETERS };

struct skeleton {
    int count, strokes;
    int start[STROKES + 1]; /* the first point of each stroke */
    double xy[POINTS][2];
};

static double between(double a, double b, double t) { return a + (b - a) * t; }

static double within(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

static void begin(struct skeleton *s) { s->start[s->strokes++] = s->count; }

static void point(struct skeleton *s, double x, double y) {
    if (s->count == POINTS) return;
    s->xy[s->count][0] = x;
    s->xy[s->count++][1] = y;
}

/* A line from the last point, in pieces that bend can curve. */
static void line(struct skeleton *s, double x, double y) {
    double px = s->xy[s->count - 1][0], py = s->xy[s->count - 1][1];
    int steps = (int)ceil(hypot(x - px, y - py) * PIECES_A_LINE);
    for (int i = 1; i < steps; i++) point(s, between(px, x, (double)i / steps), between(py, y, (double)i / steps));
    point(s, x, y);
}

/* An arc of an ellipse about (x, y), from and to in degrees, counter-clockwise from the
 * right if from < to; its radii shrink to `shrink` of themselves on the way. */
static void arc(struct skeleton *s, double x, double y, double a, double b, double from, double to, double shrink) {
    int steps = (int)ceil(fabs(to - from) / 360 * STEPS_A_TURN);
    for (int i = 0; i <= steps; i++) {
        double t = (double)i / steps, angle = between(from, to, t) * (PI / 180), r = between(1, shrink, t);
        point(s, x + r * a * cos(angle), y + r * b * sin(angle));
    }
}

/* ---- the ten digits: t is the style from 0 to 1, f the form from -1 to 1, both 0.5 and 0 plain ---- */

static void draw_0(struct skeleton *s, double t, double f) {
    begin(s);
    arc(s, 0, 0, 0.5, 0.5, 60 + 40 * f, 420 + 40 * f, between(1.05, 0.8, t));
}

/* A flag that grows with the style, and a foot with the form. */
static void draw_1(struct skeleton *s, double t, double f) {
    begin(s);
    point(s, -0.8 * t, 0.5 - 0.45 * t);
    line(s, 0, 0.5);
    line(s, 0, -0.5);
    if (f <= 0) return;
    begin(s);
    point(s, -0.5 * f, -0.5);
    line(s, 0.7 * f, -0.5);
}

/* With a loop at the lower left where the form is positive. */
static void draw_2(struct skeleton *s, double t, double f) {
    begin(s);
    arc(s, 0, 0.2, 0.46, 0.3, between(200, 130, t), -35, 1);
    double r = 0.16 * (f > 0 ? f : 0);
    double cx = -0.36 + r, cy = -0.5 + r, side = sqrt(0.5) * r;
    line(s, r > 0 ? cx + 1.4 * side : -0.5, r > 0 ? cy - side : -0.5);
    if (r > 0) arc(s, cx, cy, 1.4 * r, r, -45, -300, 1);
    line(s, 0.5, between(-0.42, -0.58, t));
}

/* Its upper half goes from round to a bar and a diagonal as the form falls to -1. */
static void draw_3(struct skeleton *s, double t, double f) {
    double middle = between(-0.25, 0.15, t), top = 0.25 + 0.03 * f, flat = f < 0 ? -f : 0;
    begin(s);
    for (int i = 0; i <= STEPS_A_TURN / 2; i++) {
        double u = 2.0 * i / STEPS_A_TURN, angle = between(150, -60, u) * (PI / 180);
        double x = u < 0.5 ? between(-0.44, 0.42, 2 * u) : between(0.42, middle, 2 * u - 1);
        double y = u < 0.5 ? 0.5 : between(0.5, 0.5 - 2 * top, 2 * u - 1);
        point(s, between(0.44 * cos(angle), x, flat), between(0.5 - top + top * sin(angle), y, flat));
    }
    line(s, middle, 0.5 - 2 * top);
    arc(s, 0, -top, 0.5, 0.5 - top, 60, -150 - 20 * f, 1);
}

/* Open at the top at style 0, closed at 1. */
static void draw_4(struct skeleton *s, double t, double f) {
    double bar = -0.14 + 0.1 * f, stem = between(0.4, 0.2, t);
    begin(s);
    point(s, between(-0.4, stem, t), 0.5);
    line(s, -0.5, bar);
    line(s, 0.5, bar + between(0.12, 0, t));
    begin(s);
    point(s, stem, between(0.3, 0.5, t));
    line(s, between(-0.05, 0.1, t), -0.5);
}

static void draw_5(struct skeleton *s, double t, double f) {
    begin(s);
    point(s, between(0.2, 0.55, t), 0.5);
    line(s, -0.34, 0.5);
    line(s, -0.4, 0.06);
    arc(s, -0.02, -0.18 + 0.04 * f, 0.5, 0.32 + 0.04 * f, 130, -150 - 20 * f, 1);
}

static void draw_6(struct skeleton *s, double t, double f) {
    double bowl = 0.28 + 0.06 * f;
    begin(s);
    arc(s, between(0, 0.5, t), bowl - 0.5, between(0.5, 1, t), 1 - bowl, 95, 180, 1);
    arc(s, 0, bowl - 0.5, 0.5, bowl, 180, 540, between(1, 0.75, t));
}

/* A serif at the left that grows with the style, a bar through the stem with the form from -0.4 on. */
static void draw_7(struct skeleton *s, double t, double f) {
    double stem = between(0.15, 0.2, t);
    begin(s);
    point(s, -0.5, 0.5 - 0.25 * t);
    line(s, -0.45, 0.5);
    line(s, 0.5, 0.5);
    line(s, stem, 0);
    line(s, between(-0.25, 0, t), -0.5);
    double bar = (f + 0.4) / 1.4;
    if (bar <= 0) return;
    begin(s);
    point(s, stem - 0.45 * bar, -0.03);
    line(s, stem + 0.45 * bar, 0.03);
}

/* One stroke that crosses itself in the middle. */
static void draw_8(struct skeleton *s, double t, double f) {
    double upper = between(0.3, 0.46, t), lean = 0.15 * f;
    begin(s);
    for (int i = 0; i <= 2 * STEPS_A_TURN; i++) {
        double angle = PI * i / STEPS_A_TURN, high = cos(angle);
        double x = sin(2 * angle) * (high > 0 ? upper : 0.46);
        double round = high > 0 ? sqrt(high) : -sqrt(-high);
        point(s, x + lean * high, 0.5 * between(high, round, 0.3));
    }
}

/* A tail from straight at style 0 to hooked at 1. */
static void draw_9(struct skeleton *s, double t, double f) {
    double bowl = 0.25 + 0.07 * f;
    begin(s);
    arc(s, 0, 0.5 - bowl, 0.48, bowl, 20, 360, 1);
    for (int i = 1; i <= STEPS_A_TURN / 2; i++) {
        double u = 2.0 * i / STEPS_A_TURN, angle = -160 * u * (PI / 180);
        double straight_x = between(0.48, 0.3, u), straight_y = between(0.5 - bowl, -0.5, u);
        double hook_x = 0.48 * cos(angle), hook_y = 0.5 - bowl + (1 - bowl) * sin(angle);
        double corner = sqrt(fabs(sin(angle))); /* of a tail whose end is flatter than an ellipse */
        hook_y = between(hook_y, 0.5 - bowl - (1 - bowl) * corner, 0.5);
        point(s, between(straight_x, hook_x, t), between(straight_y, hook_y, t));
    }
}

static void make_skeleton(struct skeleton *s, const double *z) {
    static void (*const draw[10])(struct skeleton *, double, double) = {draw_0, draw_1, draw_2, draw_3, draw_4,
                                                                        draw_5, draw_6, draw_7, draw_8, draw_9};
    s->count = s->strokes = 0;
    int digit = (int)(within(z[DIGIT], 1, 10) + 0.5) % 10;
    draw[digit](s, (1 + within(z[STYLE], -MOST_FORM, MOST_FORM)) / 2, within(z[FORM], -MOST_FORM, MOST_FORM));
    s->start[s->strokes] = s->count;
    double bend = 0.4 * within(z[BEND], -MOST_FORM, MOST_FORM);
    double taper = 0.7 * within(z[TAPER], -MOST_FORM, MOST_FORM);
    double balance = 0.5 * within(z[BALANCE], -MOST_FORM, MOST_FORM);
    for (int i = 0; i < s->count; i++) {
        double u = s->xy[i][0], v = s->xy[i][1];
        double bow = 0.25 - v * v; /* 0 at the lower and the upper end */
        u = u * (1 + taper * v) + bend * bow;
        v += balance * bow;
        s->xy[i][0] = z[X] + z[SIZE] * (z[WIDTH] * u + z[SLANT] * v);
        s->xy[i][1] = z[Y] + z[SIZE] * v;
    }
}

/* Squared distances of the pixels' centres to the segment from p to q, where they are below those in `square`;
 * only pixels within `reach` of its bounding box. */
static void add_segment(sv_real *square, const double *p, const double *q, double reach) {
    double left = (p[0] < q[0] ? p[0] : q[0]) - reach, right = (p[0] < q[0] ? q[0] : p[0]) + reach;
    double low = (p[1] < q[1] ? p[1] : q[1]) - reach, high = (p[1] < q[1] ? q[1] : p[1]) + reach;
    int first = (int)within(floor(left), 0, SIDE), last = (int)within(ceil(right), 0, SIDE);
    int top = (int)within(floor(SIDE - high), 0, SIDE), bottom = (int)within(ceil(SIDE - low), 0, SIDE);
    double length = (q[0] - p[0]) * (q[0] - p[0]) + (q[1] - p[1]) * (q[1] - p[1]);
    sv_real dx = (sv_real)(q[0] - p[0]), dy = (sv_real)(q[1] - p[1]);
    sv_real inverse = length > 0 ? (sv_real)(1 / length) : 0;
    for (int r = top; r < bottom; r++) {
        sv_real y = (sv_real)(SIDE - r - 0.5 - p[1]), x0 = (sv_real)(0.5 - p[0]);
        sv_real *row = square + r * SIDE;
        for (int c = first; c < last; c++) {
            sv_real x = x0 + (sv_real)c;
            sv_real along = (x * dx + y * dy) * inverse;
            along = along > 0 ? along : 0;
            along = along < 1 ? along : 1;
            sv_real u = x - along * dx, v = y - along * dy, d = u * u + v * v;
            row[c] = d < row[c] ? d : row[c];
        }
    }
}

static sv_real ramp(sv_real t) {
    t += (sv_real)0.5;
    t = t > 0 ? t : 0;
    return t < 1 ? t : 1;
}

static void draw_digit(const double *z, sv_real *out) {
    memset(out, 0, sizeof *out * SIDE * SIDE);
    for (int i = 0; i < PARAMETERS; i++)
        if (!(fabs(z[i]) < LIMIT)) return;
    if (!(z[THICKNESS] > 0)) return;
    struct skeleton s;
    make_skeleton(&s, z);
    double edge = z[EDGE] > LEAST_EDGE ? z[EDGE] : LEAST_EDGE, half = z[THICKNESS] / 2, reach = half + edge / 2;
    sv_real square[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) square[i] = (sv_real)(reach * reach);
    for (int k = 0; k < s.strokes; k++)
        for (int i = s.start[k]; i + 1 < s.start[k + 1]; i++) add_segment(square, s.xy[i], s.xy[i + 1], reach);
    sv_real gain = (sv_real)(1 / edge), inner = (sv_real)(half / edge);
    for (int i = 0; i < SIDE * SIDE; i++) {
        sv_real d = (sv_real)sqrt(square[i]) * gain;
        out[i] = ramp(inner - d) - ramp(-inner - d);
    }
}

const sv_sim sv_sim_digits = {
    .name = "digits",
    .nparams = PARAMETERS,
    .channels = 1,
    .height = SIDE,
    .width = SIDE,
    .draw = draw_digit,
    .doc = "z = (digit, x, y, size, width, slant, thickness, edge, style, form, bend, balance, taper): a handwritten "
           "digit, "
           "1 to 9 and 10 for 0, white on black; place, size and pen in px.",
};
