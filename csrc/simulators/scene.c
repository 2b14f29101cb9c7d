/* scene.c: a sphere, a box or a cylinder on the ground, shaded, with a soft shadow.
 *
 * z = (shape, x, y, size, height, turn, tilt, hue, saturation, azimuth, elevation): shape
 * 1 sphere, 2 box, 3 cylinder; its place on the ground and its half-width in px; the
 * height of box and cylinder as a share of the width; the pose, a turn about the vertical
 * after a tilt, in radians; the colour; the direction towards the light, in radians.
 *
 * The camera is orthographic, CAMERA above the horizon, so that a pixel is an affine function
 * of the ground: x to the right, y away from the viewer, z up. A body touches the ground.
 * Every body is convex, and its projection along a direction d (that of the view, or of
 * the light) is known in closed form, as a distance f to its outline, negative inside:
 *
 *     sphere     |q| - r
 *     box        the largest of |q . n_k| - sum of h_i |a_i . n_k|, n_k = d x a_k: a zonogon
 *     cylinder   a segment along its axis plus the ellipse of its caps
 *
 * with q the point, less the centre, projected along d. The coverage of a pixel is a ramp of f,
 * 1 px wide; the shadow one of the width of the penumbra, which grows with the distance from the
 * body to the ground. Shading is Lambert's with an ambient part; of normals that are known in
 * closed form as well: no ray is traced.
 */
#include "../sim/sim.h"

#include <tgmath.h>

enum { SIDE = 64, PLANE = SIDE * SIDE };
enum shape { SPHERE = 1, BOX, CYLINDER };
enum parameter { SHAPE, X, Y, SIZE, HEIGHT, TURN, TILT, HUE, SATURATION, AZIMUTH, ELEVATION, PARAMETERS };

static const double CAMERA = 0.6108652381980153; /* 35 degrees, in radians */
static const double LIMIT = 1e4;                 /* of a parameter; values beyond draw the ground alone */
static const double LIGHT = 0.15;                /* of the light's disc: its radius, in radians */
static const double AMBIENT = 0.35, GROUND = 0.8, VALUE = 0.95;
static const double LEAST_PENUMBRA = 1; /* px */
static const double FLATTEST = 0.02;    /* of an ellipse: the ratio of its axes */

typedef struct {
    double x, y, z;
} vec;

static double dot(vec a, vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static vec times(vec a, double k) { return (vec){a.x * k, a.y * k, a.z * k}; }
static vec minus(vec a, vec b) { return (vec){a.x - b.x, a.y - b.y, a.z - b.z}; }
static vec cross(vec a, vec b) { return (vec){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }
static vec unit(vec a, vec otherwise) {
    double length = sqrt(dot(a, a));
    return length > 1e-9 ? times(a, 1 / length) : otherwise;
}

struct body {
    enum shape shape;
    vec centre, axis[3];
    double half[3]; /* along the axes; of a cylinder the radius twice, then half its height */
};

/* A function of the pixel: at + across * column + down * row. */
struct affine {
    sv_real at, across, down;
};

/* The screen's axes: right, up, and the direction of view. */
static const vec RIGHT = {1, 0, 0};
static vec up_of_screen(void) { return (vec){0, sin(CAMERA), cos(CAMERA)}; }
static vec view(void) { return (vec){0, cos(CAMERA), -sin(CAMERA)}; }

/* The component along n of the pixel's point on the screen through the body's centre, less that centre. */
static struct affine on_screen(const struct body *b, vec n) {
    vec up = up_of_screen();
    vec first = minus((vec){0.5 - SIDE / 2.0, 0, 0}, b->centre);
    vec corner = {first.x + up.x * (SIDE / 2.0 - 0.5), first.y + up.y * (SIDE / 2.0 - 0.5),
                  first.z + up.z * (SIDE / 2.0 - 0.5)};
    return (struct affine){(sv_real)dot(corner, n), (sv_real)dot(RIGHT, n), (sv_real)-dot(up, n)};
}

/* That of the pixel's point on the ground. */
static struct affine on_ground(const struct body *b, vec n) {
    double stretch = 1 / sin(CAMERA);
    vec corner = minus((vec){0.5 - SIDE / 2.0, (SIDE / 2.0 - 0.5) * stretch, 0}, b->centre);
    return (struct affine){(sv_real)dot(corner, n), (sv_real)dot(RIGHT, n), (sv_real)(-stretch * n.y)};
}

static inline sv_real clamp(sv_real v, sv_real low, sv_real high) {
    v = v > low ? v : low;
    return v < high ? v : high;
}

static inline sv_real at(struct affine f, sv_real row_part, int column) {
    return row_part + f.across * (sv_real)column;
}
static inline sv_real absolute(sv_real v) { return v < 0 ? -v : v; }
static inline sv_real root(sv_real v) { return sqrt(v > 0 ? v : 0); }

/* ---- outlines -------------------------------------------------------------------------------- */

/* The outline of a body's projection along a direction: lines in units of length for box (three, with limits) and
 * cylinder (u along the axis, v across), two orthogonal ones for the sphere. */
struct outline {
    enum shape shape;
    struct affine line[3];
    sv_real limit[3];
};

typedef struct affine (*placing)(const struct body *b, vec n);

static struct outline outline_of(const struct body *b, vec d, placing place) {
    struct outline o = {.shape = b->shape};
    if (b->shape == BOX) {
        for (int k = 0; k < 3; k++) {
            vec n = unit(cross(d, b->axis[k]), (vec){0, 0, 0});
            double reach = 0;
            for (int i = 0; i < 3; i++) reach += b->half[i] * fabs(dot(b->axis[i], n));
            o.line[k] = place(b, n);
            o.limit[k] = (sv_real)reach;
        }
        return o;
    }
    vec a = b->shape == CYLINDER ? b->axis[2] : (vec){0, 0, 1};
    vec v = unit(cross(d, a), unit(cross(d, (vec){0, 1, 0}), (vec){1, 0, 0})), u = cross(v, d);
    o.line[0] = place(b, u);
    o.line[1] = place(b, v);
    double r = b->half[0];
    o.limit[0] = (sv_real)(b->shape == CYLINDER ? b->half[2] * fabs(dot(a, u)) : 0);        /* segment */
    o.limit[1] = (sv_real)(b->shape == CYLINDER ? r * fmax(FLATTEST, fabs(dot(a, d))) : r); /* along u */
    o.limit[2] = (sv_real)r;                                                                /* along v */
    return o;
}

/* The distance to an ellipse of half-axes p along u and q along v, whose centre moves along a segment of half-length h
 * in u: to first order, and at least that to its bounding box, which is more where a flat ellipse is far away. */
static inline sv_real ellipse(sv_real u, sv_real v, sv_real h, sv_real p, sv_real q) {
    sv_real beyond = absolute(u) - h, across = absolute(v) - q;
    sv_real s = (beyond > 0 ? beyond : 0) / p, t = v / q, size = root(s * s + t * t);
    sv_real slope = root(s * s / (p * p) + t * t / (q * q));
    sv_real f = size > (sv_real)1e-6 ? (size - 1) * size / slope : -q;
    beyond -= p;
    f = f > beyond ? f : beyond;
    return f > across ? f : across;
}

/* Distances of one row of pixels to an outline. */
static void distances(const struct outline *o, int row, sv_real *f) {
    sv_real part[3];
    for (int k = 0; k < 3; k++) part[k] = o->line[k].at + o->line[k].down * (sv_real)row;
    if (o->shape == BOX) {
        for (int c = 0; c < SIDE; c++) {
            sv_real a = absolute(at(o->line[0], part[0], c)) - o->limit[0];
            sv_real b = absolute(at(o->line[1], part[1], c)) - o->limit[1];
            sv_real d = absolute(at(o->line[2], part[2], c)) - o->limit[2];
            a = a > b ? a : b;
            f[c] = a > d ? a : d;
        }
    } else if (o->shape == SPHERE) {
        for (int c = 0; c < SIDE; c++) {
            sv_real u = at(o->line[0], part[0], c), v = at(o->line[1], part[1], c);
            f[c] = root(u * u + v * v) - o->limit[2];
        }
    } else {
        for (int c = 0; c < SIDE; c++) {
            sv_real u = at(o->line[0], part[0], c), v = at(o->line[1], part[1], c);
            f[c] = ellipse(u, v, o->limit[0], o->limit[1], o->limit[2]);
        }
    }
}

/* ---- shading ----------------------------------------------------------------------------------- */

static double lambert(double cosine) { return AMBIENT + (1 - AMBIENT) * (cosine > 0 ? cosine : 0); }

/* The faces of a box towards the viewer: where the view's ray enters each slab, and the light on it. */
struct faces {
    struct affine depth[3];
    sv_real light[3], sharpness[3]; /* of the edges between 0 and 1, 0 and 2, 1 and 2: 1 / px */
};

static sv_real sharpness(struct affine p, struct affine q) {
    double across = (double)(p.across - q.across), down = (double)(p.down - q.down);
    double slope = sqrt(across * across + down * down);
    return (sv_real)(1 / fmax(slope, 1e-6));
}

static struct faces faces_of(const struct body *b, vec d, vec l) {
    struct faces f;
    for (int k = 0; k < 3; k++) {
        double along = dot(d, b->axis[k]), side = along < 0 ? 1 : -1; /* the face is at side * half */
        along = fabs(along) > 1e-6 ? along : -side * 1e-6;
        struct affine q = on_screen(b, b->axis[k]);
        sv_real inverse = (sv_real)(1 / along);
        f.depth[k] =
            (struct affine){((sv_real)(side * b->half[k]) - q.at) * inverse, -q.across * inverse, -q.down * inverse};
        f.light[k] = (sv_real)lambert(side * dot(b->axis[k], l));
    }
    f.sharpness[0] = sharpness(f.depth[0], f.depth[1]);
    f.sharpness[1] = sharpness(f.depth[0], f.depth[2]);
    f.sharpness[2] = sharpness(f.depth[1], f.depth[2]);
    return f;
}

/* A ray enters a box where it enters the last slab; edges between faces are ramps of 1 px. */
static void shade_box(const struct faces *f, int row, sv_real *light) {
    sv_real part[3];
    for (int k = 0; k < 3; k++) part[k] = f->depth[k].at + f->depth[k].down * (sv_real)row;
    for (int c = 0; c < SIDE; c++) {
        sv_real t0 = at(f->depth[0], part[0], c), t1 = at(f->depth[1], part[1], c), t2 = at(f->depth[2], part[2], c);
        sv_real w1 = clamp((sv_real)0.5 + (t1 - t0) * f->sharpness[0], 0, 1);
        sv_real e0 = (t2 - t0) * f->sharpness[1], e1 = (t2 - t1) * f->sharpness[2];
        sv_real w2 = clamp((sv_real)0.5 + (e0 < e1 ? e0 : e1), 0, 1);
        sv_real both = f->light[0] + w1 * (f->light[1] - f->light[0]);
        light[c] = both + w2 * (f->light[2] - both);
    }
}

/* Lines of the sphere's outline, whose normal is (u, v) / r and what is left towards the viewer. */
static void shade_sphere(const struct outline *o, const sv_real *towards, int row, sv_real *light) {
    sv_real part[2], inverse = 1 / o->limit[2];
    for (int k = 0; k < 2; k++) part[k] = o->line[k].at + o->line[k].down * (sv_real)row;
    for (int c = 0; c < SIDE; c++) {
        sv_real u = at(o->line[0], part[0], c) * inverse, v = at(o->line[1], part[1], c) * inverse;
        sv_real outside = root(u * u + v * v), k = outside > 1 ? 1 / outside : 1;
        u *= k, v *= k;
        sv_real cosine = u * towards[0] + v * towards[1] + root(1 - u * u - v * v) * towards[2];
        light[c] = (sv_real)AMBIENT + (sv_real)(1 - AMBIENT) * (cosine > 0 ? cosine : 0);
    }
}

/* The side's normal depends on the distance v from the axis alone; the visible cap is an ellipse. */
struct round {
    struct affine v, cap_u; /* across the axis, and along it from the cap's centre */
    sv_real radius, flat, across, front, cap;
};

static struct round round_of(const struct body *b, vec d, vec l) {
    vec a = b->axis[2], v = unit(cross(d, a), unit(cross(d, (vec){0, 1, 0}), (vec){1, 0, 0})), u = cross(v, d);
    double along = dot(a, d), side = along < 0 ? 1 : -1;
    vec front = unit(minus(times(a, along), d), times(u, 1)); /* across the axis, to the viewer */
    struct round r = {.v = on_screen(b, v), .cap_u = on_screen(b, u), .radius = (sv_real)b->half[0]};
    r.cap_u.at -= (sv_real)(side * b->half[2] * dot(a, u));
    r.flat = (sv_real)(b->half[0] * fmax(FLATTEST, fabs(along)));
    r.across = (sv_real)dot(v, l);
    r.front = (sv_real)dot(front, l);
    r.cap = (sv_real)lambert(side * dot(a, l));
    return r;
}

static void shade_cylinder(const struct round *r, int row, sv_real *light) {
    sv_real v0 = r->v.at + r->v.down * (sv_real)row, u0 = r->cap_u.at + r->cap_u.down * (sv_real)row;
    for (int c = 0; c < SIDE; c++) {
        sv_real v = at(r->v, v0, c), s = clamp(v / r->radius, -1, 1);
        sv_real cosine = s * r->across + root(1 - s * s) * r->front;
        sv_real side = (sv_real)AMBIENT + (sv_real)(1 - AMBIENT) * (cosine > 0 ? cosine : 0);
        sv_real w = clamp((sv_real)0.5 - ellipse(at(r->cap_u, u0, c), v, 0, r->flat, r->radius), 0, 1);
        light[c] = side + w * (r->cap - side);
    }
}

/* ---- the scene --------------------------------------------------------------------------------- */

static void colour_of(double hue, double saturation, double *rgb) {
    for (int k = 0; k < 3; k++) {
        double h = hue + k / -3.0, t = fabs((h - floor(h)) * 6 - 3) - 1; /* red at hue 0 */
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        rgb[k] = VALUE * (1 - saturation * (1 - t));
    }
}

static struct body body_of(const double *z) {
    struct body b = {.shape = z[SHAPE] < 1.5 ? SPHERE : z[SHAPE] < 2.5 ? BOX : CYLINDER};
    double ct = cos(z[TURN]), st = sin(z[TURN]), ca = cos(z[TILT]), sa = sin(z[TILT]);
    b.axis[0] = (vec){ca * ct, ca * st, -sa};
    b.axis[1] = (vec){-st, ct, 0};
    b.axis[2] = (vec){sa * ct, sa * st, ca};
    b.half[0] = b.half[1] = z[SIZE];
    b.half[2] = z[SIZE] * (b.shape == SPHERE ? 1 : z[HEIGHT]);
    double high = z[SIZE]; /* of the centre above the ground */
    if (b.shape == BOX) {
        high = 0;
        for (int i = 0; i < 3; i++) high += b.half[i] * fabs(b.axis[i].z);
    } else if (b.shape == CYLINDER) {
        high = b.half[2] * fabs(ca) + b.half[0] * fabs(sa);
    }
    b.centre = (vec){z[X], z[Y], high};
    return b;
}

static void draw_scene(const double *z, sv_real *out) {
    bool empty = false;
    for (int i = 0; i < PARAMETERS; i++) empty = empty || !(fabs(z[i]) < LIMIT);
    double elevation = empty ? 1 : z[ELEVATION];
    vec l = {0, 0, sin(elevation)};
    if (!empty) l = (vec){cos(elevation) * cos(z[AZIMUTH]), cos(elevation) * sin(z[AZIMUTH]), sin(elevation)};
    empty = empty || !(z[SIZE] > 0.1) || !(z[HEIGHT] > 0.01) || !(l.z > 0.01);
    sv_real lit = (sv_real)(GROUND * lambert(l.z)), dark = (sv_real)(GROUND * AMBIENT);
    if (empty) {
        for (int i = 0; i < 3 * PLANE; i++) out[i] = lit;
        return;
    }
    struct body b = body_of(z);
    vec d = view();
    struct outline seen = outline_of(&b, d, on_screen), shadow = outline_of(&b, l, on_ground);
    struct affine far = on_ground(&b, l);
    struct faces faces = faces_of(&b, d, l);
    struct round round = round_of(&b, d, l);
    vec v = unit(cross(d, (vec){0, 0, 1}), RIGHT), u = cross(v, d);
    sv_real towards[3] = {(sv_real)dot(u, l), (sv_real)dot(v, l), (sv_real)-dot(d, l)};
    double rgb[3];
    colour_of(z[HUE], z[SATURATION] < 0 ? 0 : z[SATURATION] > 1 ? 1 : z[SATURATION], rgb);
    for (int row = 0; row < SIDE; row++, out += SIDE) {
        sv_real cover[SIDE], penumbra[SIDE], light[SIDE];
        distances(&seen, row, cover);
        distances(&shadow, row, penumbra);
        if (b.shape == BOX)
            shade_box(&faces, row, light);
        else if (b.shape == SPHERE)
            shade_sphere(&seen, towards, row, light);
        else
            shade_cylinder(&round, row, light);
        sv_real far_row = far.at + far.down * (sv_real)row;
        for (int c = 0; c < SIDE; c++) {
            sv_real distance = -at(far, far_row, c) * (sv_real)(2 * LIGHT); /* the penumbra's width */
            sv_real width = distance > (sv_real)LEAST_PENUMBRA ? distance : (sv_real)LEAST_PENUMBRA;
            sv_real dimmed = clamp((sv_real)0.5 - penumbra[c] / width, 0, 1);
            sv_real ground = lit + dimmed * (dark - lit);
            sv_real w = clamp((sv_real)0.5 - cover[c], 0, 1);
            for (int k = 0; k < 3; k++) out[k * PLANE + c] = ground + w * ((sv_real)rgb[k] * light[c] - ground);
        }
    }
}

const sv_sim sv_sim_scene = {
    .name = "scene",
    .nparams = PARAMETERS,
    .channels = 3,
    .height = SIDE,
    .width = SIDE,
    .draw = draw_scene,
    .doc = "z = (shape, x, y, size, height, turn, tilt, hue, saturation, azimuth, elevation): a sphere, a box or a "
           "cylinder (1, 2, 3) on the ground, shaded, with a soft shadow; seen from 35 degrees above.",
};
