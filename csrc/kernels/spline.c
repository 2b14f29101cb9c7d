/* spline.c: the formulas of rational-quadratic splines. */
#include "spline.h"
#include "vmath.h"

#include <string.h>
#include <tgmath.h>

enum { LANES = SV_SPLINE_LANES };

#define EACH_LANE for (int l = 0; l < LANES; l++)

#define MIN ((sv_real)1e-3) /* of a bin's width and height, and of a slope */

/* softplus, moved so that a parameter of 0 has a slope of 1. */
#define SLOPE_SHIFT ((sv_real)0.5397424172369522) /* log(exp(1 - MIN) - 1) */

SV_INLINE sv_real unit(sv_real t) { return t < 0 ? 0 : t > 1 ? 1 : t; }

SV_INLINE sv_real wrapped(sv_real x) { return x - floor(x); }

/* ---- knots ------------------------------------------------------------------------------- */

SV_LOOP(softmax_knots, (int bins, sv_lanes *restrict raw, sv_lanes *restrict share, sv_lanes *restrict knot),
        (bins, raw, share, knot)) {
    const sv_real rest = 1 - MIN * (sv_real)bins;
    sv_lanes top, sum;
    EACH_LANE top[l] = raw[0][l];
    for (int k = 1; k < bins; k++) EACH_LANE top[l] = raw[k][l] > top[l] ? raw[k][l] : top[l];
    memset(sum, 0, sizeof sum);
    for (int k = 0; k < bins; k++) EACH_LANE {
            share[k][l] = sv_exp(raw[k][l] - top[l]);
            sum[l] += share[k][l];
        }
    EACH_LANE sum[l] = 1 / sum[l];
    memset(knot[0], 0, sizeof(sv_lanes));
    for (int k = 0; k < bins; k++) EACH_LANE {
            share[k][l] *= sum[l];
            knot[k + 1][l] = knot[k][l] + (MIN + rest * share[k][l]);
        }
}

void sv_spline_knots(sv_splines *s) {
    softmax_knots(s->bins, s->raw, s->share, s->x);
    softmax_knots(s->bins, s->raw + s->bins, s->share + s->bins, s->y);
}

/* ---- values ------------------------------------------------------------------------------ */

/* The bin of each number: how many of the inner knots are not above it. */
SV_LOOP(find, (int bins, sv_lanes *restrict knot, const sv_real *restrict at, int32_t *restrict bin),
        (bins, knot, at, bin)) {
    memset(bin, 0, LANES * sizeof *bin);
    for (int k = 1; k < bins; k++) EACH_LANE bin[l] += at[l] >= knot[k][l];
}

/* The bins that the numbers lie in: their lower knots, sizes, and the parameters of the slopes at both ends. */
typedef struct {
    sv_lanes x, y, width, height, below, above;
} places;

static void pick(sv_splines *s, const int32_t *bin, places *p) {
    sv_lanes *slope = s->raw + 2 * s->bins;
    const sv_real rest = 1 - MIN * (sv_real)s->bins;
    for (int l = 0; l < LANES; l++) {
        int k = bin[l], next = s->circle && k + 1 == s->bins ? 0 : k + 1;
        p->x[l] = s->x[k][l];
        p->y[l] = s->y[k][l];
        p->width[l] = MIN + rest * s->share[k][l];
        p->height[l] = MIN + rest * s->share[s->bins + k][l];
        p->below[l] = slope[k][l];
        p->above[l] = slope[next][l];
    }
}

/* at: x's place in its bin, from that of y: the root of a quadratic, eq. 8 of the paper in its stable form. */
SV_LOOP(solve, (const places *restrict p, const sv_real *restrict y, sv_real *restrict at), (p, y, at)) {
    EACH_LANE {
        const sv_real h = p->height[l], below = p->below[l], rise = h / p->width[l], up = y[l] - p->y[l];
        const sv_real c = below + p->above[l] - 2 * rise;
        const sv_real a = h * (rise - below) + up * c, b = h * below - up * c, d = b * b + 4 * a * rise * up;
        at[l] = unit(2 * rise * up / (b + sqrt(d > 0 ? d : 0)));
    }
}

SV_LOOP(slopes, (places *restrict p), (p)) {
    EACH_LANE p->below[l] = MIN + sv_softplus(p->below[l] + SLOPE_SHIFT);
    EACH_LANE p->above[l] = MIN + sv_softplus(p->above[l] + SLOPE_SHIFT);
}

SV_LOOP(value, (const places *restrict p, const sv_real *restrict at, sv_real *restrict y, sv_real *restrict log_slope),
        (p, at, y, log_slope)) {
    EACH_LANE {
        const sv_real t = at[l], u = t * (1 - t), below = p->below[l], above = p->above[l];
        const sv_real rise = p->height[l] / p->width[l], bottom = rise + (below + above - 2 * rise) * u;
        const sv_real middle = above * t * t + 2 * rise * u + below * (1 - t) * (1 - t), part = rise / bottom;
        y[l] = p->y[l] + p->height[l] * ((rise * t * t + below * u) / bottom);
        log_slope[l] = sv_log(part * part * middle);
    }
}

SV_LOOP(keep_slopes, (const places *restrict raw, sv_lanes *restrict kept), (raw, kept)) {
    EACH_LANE kept[SV_KEPT_BELOW_SLOPE][l] = sv_sigmoid(raw->below[l] + SLOPE_SHIFT);
    EACH_LANE kept[SV_KEPT_ABOVE_SLOPE][l] = sv_sigmoid(raw->above[l] + SLOPE_SHIFT);
}

static void keep(const sv_splines *s, const sv_real *in, const places *p, const places *raw, const int32_t *bin,
                 const sv_real *at, sv_lanes *kept) {
    memcpy(kept[SV_KEPT_AT], at, sizeof(sv_lanes));
    memcpy(kept[SV_KEPT_WIDTH], p->width, sizeof(sv_lanes));
    memcpy(kept[SV_KEPT_HEIGHT], p->height, sizeof(sv_lanes));
    memcpy(kept[SV_KEPT_BELOW], p->below, sizeof(sv_lanes));
    memcpy(kept[SV_KEPT_ABOVE], p->above, sizeof(sv_lanes));
    keep_slopes(raw, kept);
    EACH_LANE kept[SV_KEPT_BIN][l] = (sv_real)bin[l];
    EACH_LANE kept[SV_KEPT_INSIDE][l] = s->circle || (in[l] >= 0 && in[l] <= 1);
    memcpy(kept + SV_KEPT_ROWS, s->share, 2 * (size_t)s->bins * sizeof(sv_lanes));
}

/* Into [0, 1]: clamped, or by a rotation (NULL: none) on the circle. */
SV_LOOP(enter, (bool circle, const sv_real *restrict in, const sv_real *restrict rotation, sv_real *restrict x),
        (circle, in, rotation, x)) {
    if (circle && rotation)
        EACH_LANE x[l] = wrapped(in[l] + rotation[l]);
    else
        EACH_LANE x[l] = unit(in[l]);
}

SV_LOOP(leave,
        (const places *restrict p, const sv_real *restrict at, const sv_real *restrict rotation, sv_real *restrict x,
         sv_real *restrict log_slope),
        (p, at, rotation, x, log_slope)) {
    EACH_LANE x[l] = unit(p->x[l] + p->width[l] * at[l]);
    if (rotation) EACH_LANE x[l] = wrapped(x[l] - rotation[l]);
    EACH_LANE log_slope[l] = -log_slope[l];
}

SV_LOOP(place_in_bin, (const places *restrict p, const sv_real *restrict x, sv_real *restrict at), (p, x, at)) {
    EACH_LANE at[l] = unit((x[l] - p->x[l]) / p->width[l]);
}

void sv_spline_apply(sv_splines *s, bool inverse, const sv_real *in, sv_real *out, sv_real *log_slope, sv_lanes *kept) {
    const sv_real *rotation = s->circle ? s->raw[3 * s->bins] : NULL;
    sv_lanes given, at;
    int32_t bin[LANES];
    places p, raw;
    enter(s->circle, in, inverse ? NULL : rotation, given);
    find(s->bins, inverse ? s->y : s->x, given, bin);
    pick(s, bin, &raw);
    p = raw;
    slopes(&p);
    if (inverse)
        solve(&p, given, at);
    else
        place_in_bin(&p, given, at);
    value(&p, at, out, log_slope);
    if (inverse)
        leave(&p, at, rotation, out, log_slope);
    else
        for (int l = 0; l < LANES; l++) out[l] = unit(out[l]);
    if (kept) keep(s, in, &p, &raw, bin, at, kept);
}
/* ---- gradients --------------------------------------------------------------------------- */

/* The gradient by what a bin is made of. */
typedef struct {
    sv_lanes x, y, width, height, below, above, rotation;
} by_place;

/* With y = f(x, c) and l = log f': a sum of g_y y + g_l l changes with c by g_y f_c + g_l l_c. Of the inverse, x
 * changes by (dy - f_c dc) / f', and -l by -(l_c dc + l_x dx). */
SV_LOOP(gradient_of_places,
        (bool inverse, sv_lanes *restrict kept, const sv_real *restrict by_out, const sv_real *restrict by_log,
         sv_real *restrict to_in, by_place *restrict by),
        (inverse, kept, by_out, by_log, to_in, by)) {
    const sv_real sign = inverse ? -1 : 1;
    EACH_LANE {
        const sv_real t = kept[SV_KEPT_AT][l], w = kept[SV_KEPT_WIDTH][l], h = kept[SV_KEPT_HEIGHT][l];
        const sv_real below = kept[SV_KEPT_BELOW][l], above = kept[SV_KEPT_ABOVE][l];
        const sv_real u = t * (1 - t), v = 1 - 2 * t, rise = h / w, c = below + above - 2 * rise;
        const sv_real top = rise * t * t + below * u, over = 1 / (rise + c * u), ratio = top * over;
        const sv_real middle = 1 / (above * t * t + 2 * rise * u + below * (1 - t) * (1 - t));
        const sv_real ratio_t = (2 * rise * t + below * v - ratio * c * v) * over;
        const sv_real ratio_rise = (t * t - ratio * (1 - 2 * u)) * over;
        const sv_real log_t = (2 * above * t + 2 * rise * v - 2 * below * (1 - t)) * middle - 2 * c * v * over;
        const sv_real log_rise = 2 / rise + 2 * u * middle - 2 * (1 - 2 * u) * over;
        const sv_real y_x = h * ratio_t / w, l_x = log_t / w;
        const sv_real by_x = inverse ? (by_out[l] - by_log[l] * l_x) / y_x : 0;
        const sv_real g = inverse ? -by_x : by_out[l], gl = sign * by_log[l];
        by->x[l] = -(g * y_x + gl * l_x);
        by->width[l] = -(g * h * (ratio_t * t + ratio_rise * rise) + gl * (log_t * t + log_rise * rise)) / w;
        by->y[l] = g;
        by->height[l] = g * (ratio + h * ratio_rise / w) + gl * log_rise / w;
        by->below[l] = g * h * u * (1 - ratio) * over + gl * ((1 - t) * (1 - t) * middle - 2 * u * over);
        by->above[l] = -g * h * ratio * u * over + gl * (t * t * middle - 2 * u * over);
        by->below[l] *= kept[SV_KEPT_BELOW_SLOPE][l];
        by->above[l] *= kept[SV_KEPT_ABOVE_SLOPE][l];
        to_in[l] = inverse ? by_x : -by->x[l];
        by->rotation[l] = inverse ? -by_out[l] : to_in[l];
        to_in[l] *= kept[SV_KEPT_INSIDE][l];
    }
}

/* From the gradients by the sizes of the bins below a number's, each by_knot, and by that of its own. */
SV_LOOP(through_softmax,
        (int bins, const sv_real *restrict bin, const sv_real *restrict by_knot, const sv_real *restrict by_size,
         sv_lanes *restrict share, sv_lanes *restrict to),
        (bins, bin, by_knot, by_size, share, to)) {
    const sv_real rest = 1 - MIN * (sv_real)bins;
    sv_lanes mean;
    memset(mean, 0, sizeof mean);
    for (int k = 0; k < bins; k++) {
        const sv_real at = (sv_real)k;
        EACH_LANE {
            const sv_real below = at < bin[l] ? by_knot[l] : 0, g = at == bin[l] ? by_size[l] : below;
            to[k][l] = g;
            mean[l] += share[k][l] * g;
        }
    }
    for (int k = 0; k < bins; k++) EACH_LANE to[k][l] = rest * share[k][l] * (to[k][l] - mean[l]);
}

void sv_spline_gradient(int bins, bool circle, bool inverse, sv_lanes *kept, const sv_real *by_out,
                        const sv_real *by_log, sv_real *to_in, sv_lanes *to_raw) {
    sv_lanes *share = kept + SV_KEPT_ROWS;
    sv_lanes *slope = to_raw + 2 * bins;
    by_place by;
    gradient_of_places(inverse, kept, by_out, by_log, to_in, &by);
    through_softmax(bins, kept[SV_KEPT_BIN], by.x, by.width, share, to_raw);
    through_softmax(bins, kept[SV_KEPT_BIN], by.y, by.height, share + bins, to_raw + bins);
    memset(slope, 0, (size_t)(bins + 1) * sizeof *slope);
    for (int l = 0; l < LANES; l++) {
        int k = (int)kept[SV_KEPT_BIN][l];
        slope[k][l] += by.below[l];
        slope[circle && k + 1 == bins ? 0 : k + 1][l] += by.above[l];
    }
    if (circle) memcpy(slope[bins], by.rotation, sizeof(sv_lanes));
}
