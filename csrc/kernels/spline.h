/* spline.h: monotonic rational-quadratic splines on [0, 1], SV_SPLINE_LANES numbers at a time.
 *
 * Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows" (2019), eqs. 4 to 8; on the circle: Rezende et al.,
 * "Normalizing Flows on Tori and Spheres" (2020). Of its 3 K + 1 parameters, K give by a softmax the widths of the
 * bins, K their heights, and K + 1 by softplus the slopes at the knots, all at least SV_SPLINE_MIN. On the circle the
 * slopes at 0 and 1 are one, and the last parameter is a rotation in turns before the spline.
 *
 * Arrays have a row of lanes a quantity, so that every step is a loop over adjacent numbers. */
#ifndef SV_SPLINE_H
#define SV_SPLINE_H

#include "kernels.h"

enum { SV_SPLINE_LANES = 32, SV_SPLINE_BINS = 64 /* at most */ };

typedef sv_real sv_lanes[SV_SPLINE_LANES];

/* The splines of a block, all on the interval or all on the circle. */
typedef struct sv_splines {
    int bins;
    bool circle;
    sv_lanes raw[3 * SV_SPLINE_BINS + 1];
    sv_lanes share[2 * SV_SPLINE_BINS];                    /* softmaxes of widths and of heights */
    sv_lanes x[SV_SPLINE_BINS + 1], y[SV_SPLINE_BINS + 1]; /* knots */
} sv_splines;

/* What backward needs of forward: rows of lanes, then 2 K rows of shares. */
enum sv_spline_kept {
    SV_KEPT_AT,    /* the place in the bin, 0 to 1 */
    SV_KEPT_WIDTH, /* of the bin */
    SV_KEPT_HEIGHT,
    SV_KEPT_BELOW, /* slope at the knot below */
    SV_KEPT_ABOVE,
    SV_KEPT_BELOW_SLOPE, /* of softplus there */
    SV_KEPT_ABOVE_SLOPE,
    SV_KEPT_BIN,
    SV_KEPT_INSIDE, /* 0: the number was clamped */
    SV_KEPT_ROWS
};

/* From raw to shares and knots. */
void sv_spline_knots(sv_splines *s);
/* y and log dy/dx; inverse: of the inverse. kept: SV_KEPT_ROWS + 2 K rows, or NULL. */
void sv_spline_apply(sv_splines *s, bool inverse, const sv_real *in, sv_real *out, sv_real *log_slope, sv_lanes *kept);
/* Gradients: by_out and by_log are those of the results; to_in, and to_raw of 3 K + 1 rows. */
void sv_spline_gradient(int bins, bool circle, bool inverse, sv_lanes *kept, const sv_real *by_out,
                        const sv_real *by_log, sv_real *to_in, sv_lanes *to_raw);

#endif
