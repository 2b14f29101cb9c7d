/* canvas.c: shapes for simulators that draw, on an image of any size.
 *
 * Every shape becomes closed contours, whose exact coverage is computed by the
 * sweep of raster.c and blended once: out = out*(1-a) + colour*a. A stroke is
 * the union of its segments (rectangles), joins and caps, under the non-zero
 * rule: self-intersections and sharp corners of a line are
 * neither darker nor lighter. Arcs are polygons: within
 * ROUNDNESS of the circle, or of 512 sides, and of the circle's area if closed.
 * No function allocates: the outline is on the stack.
 */
#include "../simvae.h"

#include <math.h>

enum { ARC_POINTS = 512, CURVE_POINTS = 1024, SPAN_POINTS = 16 };

static const double ROUNDNESS = 0.002; /* px */
static const double PI = 3.14159265358979323846;

static bool all_finite(const double *v, int n) {
    for (int i = 0; i < n; i++)
        if (!isfinite(v[i])) return false;
    return true;
}

static void blend_tile(const sv_canvas *c, const sv_pen *pen, const sv_raster *r, int left, int top) {
    sv_real cover[SV_RASTER_SIDE * SV_RASTER_SIDE];
    sv_raster_coverage(r, cover);
    double opacity = pen->opacity > 0 ? pen->opacity < 1 ? pen->opacity : 1 : 0;
    for (int k = 0; k < c->channels; k++) {
        sv_real colour = (sv_real)pen->colour[k < SV_CANVAS_CHANNELS ? k : SV_CANVAS_CHANNELS - 1];
        for (int i = 0; i < r->height; i++) {
            size_t row = (size_t)k * (size_t)c->height + (size_t)(top + i);
            sv_real *out = c->pixels + row * (size_t)c->width + left;
            for (int j = 0; j < r->width; j++) {
                sv_real a = (sv_real)opacity * cover[i * r->width + j];
                out[j] = out[j] * (1 - a) + colour * a;
            }
        }
    }
}

static int clamp(double v, int low, int high) { return v > low ? v < high ? (int)v : high : low; }

/* Draws the outline in tiles, within its bounding box. */
static bool paint(const sv_canvas *c, const sv_pen *pen, sv_outline *o, enum sv_fill_rule rule) {
    if (o->full) return false;
    double west = INFINITY, east = -INFINITY, south = INFINITY, north = -INFINITY;
    for (int i = 0; i < o->count; i++) {
        const sv_edge *e = &o->edge[i];
        west = fmin(west, e->x0);
        east = fmax(east, e->x1);
        south = fmin(south, fmin(e->y0, e->y1));
        north = fmax(north, fmax(e->y0, e->y1));
    }
    if (o->count == 0) return true;
    int left = clamp(floor(west), 0, c->width), right = clamp(ceil(east), 0, c->width);
    int bottom = clamp(floor(south), 0, c->height), top = clamp(ceil(north), 0, c->height);
    sv_raster r;
    for (int y = bottom; y < top; y += SV_RASTER_SIDE)
        for (int x = left; x < right; x += SV_RASTER_SIDE) {
            int width = right - x, height = top - y;
            sv_raster_start(&r, width < SV_RASTER_SIDE ? width : SV_RASTER_SIDE,
                            height < SV_RASTER_SIDE ? height : SV_RASTER_SIDE);
            sv_raster_fill(&r, o, rule, x, y);
            blend_tile(c, pen, &r, x, c->height - y - r.height);
        }
    return true;
}

/* The number of points of a regular polygon within ROUNDNESS of the circle. */
static int arc_points(double radius) {
    double step = radius > ROUNDNESS ? acos(1 - ROUNDNESS / radius) : PI;
    return clamp(ceil(PI / step), 12, ARC_POINTS);
}

/* Points of an ellipse, counter-clockwise, at equal steps of its parameter; the
 * polygon has the area of the ellipse. */
static int make_ellipse(double *xy, double x, double y, double a, double b, double angle) {
    int n = arc_points(fmax(a, b));
    double turn = 2 * PI / n, grow = sqrt(turn / sin(turn));
    double c = cos(angle), s = sin(angle);
    for (int i = 0; i < n; i++) {
        double u = grow * a * cos(i * turn), v = grow * b * sin(i * turn);
        xy[2 * i] = x + c * u - s * v;
        xy[2 * i + 1] = y + s * u + c * v;
    }
    return n;
}

/* An arc about (x, y) between two points of its circle, counter-clockwise by
 * `angle`; their chord alone if not round. */
static void add_arc(sv_outline *o, const sv_pen *pen, double x, double y, const double *from, const double *to,
                    double angle, bool round) {
    int steps = 1;
    if (round) steps = clamp(ceil(arc_points(pen->width / 2) * angle / (2 * PI)), 1, ARC_POINTS);
    double px = from[0], py = from[1], u = px - x, v = py - y;
    for (int i = 1; i < steps; i++) {
        double c = cos(angle * i / steps), s = sin(angle * i / steps);
        double nx = x + c * u - s * v, ny = y + s * u + c * v;
        sv_outline_edge(o, px, py, nx, ny);
        px = nx;
        py = ny;
    }
    sv_outline_edge(o, px, py, to[0], to[1]);
}

/* A segment of a stroke, with the ends of its two sides: start, then end. */
struct step {
    double x, y, dx, dy, length; /* start, unit direction, length */
    double left[2][2], right[2][2];
};

static struct step make_step(double x, double y, double nx, double ny, double half) {
    double length = hypot(nx - x, ny - y);
    double dx = length > 0 ? (nx - x) / length : 1, dy = length > 0 ? (ny - y) / length : 0;
    double u = -half * dy, v = half * dx;
    return (struct step){x, y, dx, dy, length, {{x + u, y + v}, {nx + u, ny + v}}, {{x - u, y - v}, {nx - u, ny - v}}};
}

static void add_sides(sv_outline *o, const struct step *s) {
    sv_outline_edge(o, s->right[0][0], s->right[0][1], s->right[1][0], s->right[1][1]);
    sv_outline_edge(o, s->left[1][0], s->left[1][1], s->left[0][0], s->left[0][1]);
}

/* The join of step a with the step b after it. The outer side gets an arc or a
 * chord. The inner sides end at their intersection, if that is within the nearer
 * half of both, so that the overlap is counted once. Otherwise they pass through
 * the corner, which gives the sum of two rectangles. */
static void add_join(sv_outline *o, const sv_pen *pen, struct step *a, struct step *b) {
    double half = pen->width / 2, x = b->x, y = b->y;
    double sine = a->dx * b->dy - a->dy * b->dx, cosine = a->dx * b->dx + a->dy * b->dy;
    double turn = atan2(sine, cosine);
    double *inner_a = turn >= 0 ? a->left[1] : a->right[1];
    double *inner_b = turn >= 0 ? b->left[0] : b->right[0];
    if (turn >= 0)
        add_arc(o, pen, x, y, a->right[1], b->right[0], turn, !pen->bevel_joins);
    else
        add_arc(o, pen, x, y, b->left[0], a->left[1], -turn, !pen->bevel_joins);
    double cut = half * fabs(sine) / (1 + cosine);
    if (cosine > -0.9 && 2 * cut <= fmin(a->length, b->length)) {
        inner_a[0] = inner_b[0] = inner_b[0] + cut * b->dx;
        inner_a[1] = inner_b[1] = inner_b[1] + cut * b->dy;
    } else if (turn >= 0) {
        sv_outline_edge(o, inner_b[0], inner_b[1], x, y);
        sv_outline_edge(o, x, y, inner_a[0], inner_a[1]);
    } else {
        sv_outline_edge(o, inner_a[0], inner_a[1], x, y);
        sv_outline_edge(o, x, y, inner_b[0], inner_b[1]);
    }
}

/* The stroke of a polyline, as one contour: the right side of each step onward,
 * the left side back, joins and caps between. Its winding number is the sum of
 * those of the pieces, all counter-clockwise. Repeated points count once; all
 * points the same make a dot if caps are round. */
static bool stroke(const sv_canvas *c, const sv_pen *pen, const double *xy, int n, bool closed) {
    if (!isfinite(pen->width) || !(pen->width > 0)) return true;
    sv_outline o;
    o.count = 0;
    o.full = false;
    double half = pen->width / 2, x = xy[0], y = xy[1];
    struct step first = make_step(x, y, x, y, half), last = first;
    int steps = 0;
    for (int i = 1; i < n + closed && !o.full; i++) {
        double nx = xy[2 * (i % n)], ny = xy[2 * (i % n) + 1];
        struct step step = make_step(x, y, nx, ny, half);
        if (!(step.length > 0)) continue;
        if (steps > 0) add_join(&o, pen, steps > 1 ? &last : &first, &step);
        if (steps > 1) add_sides(&o, &last);
        if (steps == 0) first = step;
        last = step;
        steps++;
        x = nx;
        y = ny;
    }
    struct step *end = steps > 1 ? &last : &first;
    if (closed && steps > 1) {
        add_join(&o, pen, end, &first);
    } else if (steps > 0 || pen->round_caps) {
        add_arc(&o, pen, x, y, end->right[1], end->left[1], PI, pen->round_caps);
        add_arc(&o, pen, first.x, first.y, first.left[0], first.right[0], PI, pen->round_caps);
    }
    add_sides(&o, &first);
    if (steps > 1) add_sides(&o, &last);
    return paint(c, pen, &o, SV_NON_ZERO);
}

bool sv_draw_polygon(const sv_canvas *c, const sv_pen *pen, const double *xy, int n) {
    if (n < 1 || !all_finite(xy, 2 * n)) return true;
    if (pen->width != 0) return stroke(c, pen, xy, n, true);
    sv_outline o;
    o.count = 0;
    o.full = false;
    sv_outline_contour(&o, xy, n);
    return paint(c, pen, &o, pen->rule);
}

bool sv_draw_rect(const sv_canvas *c, const sv_pen *pen, double x, double y, double w, double h) {
    double xy[8] = {x, y, x + w, y, x + w, y + h, x, y + h};
    return sv_draw_polygon(c, pen, xy, 4);
}

bool sv_draw_polyline(const sv_canvas *c, const sv_pen *pen, const double *xy, int n) {
    if (n < 1 || !all_finite(xy, 2 * n)) return true;
    return stroke(c, pen, xy, n, false);
}

bool sv_draw_line(const sv_canvas *c, const sv_pen *pen, double x0, double y0, double x1, double y1) {
    double xy[4] = {x0, y0, x1, y1};
    return sv_draw_polyline(c, pen, xy, 2);
}

bool sv_draw_ellipse(const sv_canvas *c, const sv_pen *pen, double x, double y, double a, double b, double angle) {
    double given[5] = {x, y, a, b, angle}, xy[2 * ARC_POINTS];
    if (!all_finite(given, 5) || !(a > 0 && b > 0)) return true;
    int n = make_ellipse(xy, x, y, a, b, angle);
    return sv_draw_polygon(c, pen, xy, n);
}

/* A stroked circle is a ring of two contours. */
bool sv_draw_circle(const sv_canvas *c, const sv_pen *pen, double x, double y, double r) {
    double half = pen->width / 2;
    if (pen->width == 0) return sv_draw_ellipse(c, pen, x, y, r, r, 0);
    double given[4] = {x, y, r, half}, xy[2 * ARC_POINTS];
    if (!all_finite(given, 4) || !(r >= 0 && half > 0)) return true;
    sv_outline o;
    o.count = 0;
    o.full = false;
    sv_outline_contour(&o, xy, make_ellipse(xy, x, y, r + half, r + half, 0));
    if (r > half) sv_outline_contour(&o, xy, make_ellipse(xy, x, y, r - half, r - half, 0));
    return paint(c, pen, &o, SV_EVEN_ODD);
}

/* One coordinate of a centripetal Catmull-Rom span from p[1] to p[2] at s in
 * [0, 1]: a cubic whose slopes at the ends follow from the knot intervals k. */
static double span_at(const double *p, const double *k, double s) {
    double slope = (p[2] - p[1]) / k[1];
    double m1 = k[1] * ((p[1] - p[0]) / k[0] - (p[2] - p[0]) / (k[0] + k[1]) + slope);
    double m2 = k[1] * (slope - (p[3] - p[1]) / (k[1] + k[2]) + (p[3] - p[2]) / k[2]);
    double d = p[2] - p[1];
    return p[1] + s * (m1 + s * (3 * d - 2 * m1 - m2 + s * (m1 + m2 - 2 * d)));
}

/* Centripetal Catmull-Rom spline (Yuksel, Schaefer and Keyser, 2011): interpolates
 * every point without loops or cusps within a span. A filled curve is closed by a
 * straight line. */
bool sv_draw_curve(const sv_canvas *c, const sv_pen *pen, const double *xy, int n) {
    double point[2 * CURVE_POINTS], curve[2 * CURVE_POINTS];
    if (n < 1 || !all_finite(xy, 2 * n)) return true;
    if (n > CURVE_POINTS) return false;
    int count = 0;
    for (int i = 0; i < n; i++) {
        double x = xy[2 * i], y = xy[2 * i + 1];
        if (count > 0 && point[2 * count - 2] == x && point[2 * count - 1] == y) continue;
        point[2 * count] = x;
        point[2 * count + 1] = y;
        count++;
    }
    int steps = clamp((double)(CURVE_POINTS - 1) / count, 1, SPAN_POINTS), made = 0;
    for (int i = 0; i + 1 < count; i++) {
        double p[2][4], k[3];
        for (int d = 0; d < 2; d++) {
            double here = point[2 * i + d], next = point[2 * i + 2 + d];
            p[d][0] = i > 0 ? point[2 * i - 2 + d] : 2 * here - next;
            p[d][1] = here;
            p[d][2] = next;
            p[d][3] = i + 2 < count ? point[2 * i + 4 + d] : 2 * next - here;
        }
        for (int j = 0; j < 3; j++) {
            double length = hypot(p[0][j + 1] - p[0][j], p[1][j + 1] - p[1][j]);
            k[j] = sqrt(fmax(length, 1e-9));
        }
        for (int j = 0; j < steps; j++, made++) {
            curve[2 * made] = span_at(p[0], k, (double)j / steps);
            curve[2 * made + 1] = span_at(p[1], k, (double)j / steps);
        }
    }
    curve[2 * made] = point[2 * count - 2];
    curve[2 * made + 1] = point[2 * count - 1];
    made++;
    if (pen->width == 0) return sv_draw_polygon(c, pen, curve, made);
    return sv_draw_polyline(c, pen, curve, made);
}
