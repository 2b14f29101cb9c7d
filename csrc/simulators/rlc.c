/* rlc.c: the response of a series RLC circuit in closed form.
 *
 * z = (R, L, C) in ohm, henry, farad; a source of 1 V drives R, L and C in series,
 * the output is across C:
 *     H(w) = 1 / (1 - w^2 L C + j w R C)
 * at 61 frequencies from 100 Hz to 100 kHz, 20 a decade. Written: the 61 gains
 * 20 log10 |H| in dB, then the 61 phases in radians. The imaginary part of 1/H is
 * never negative, so that the phase, from 0 to -pi, needs no unwrapping.
 * (Horowitz and Hill, The Art of Electronics, section 1.7.14.) */
#include "../sim/sim.h"

#include <math.h>

enum { POINTS = 61, PER_DECADE = 20 };

static const double FIRST_HZ = 100, TWO_PI = 6.28318530717958647692;

static void draw_rlc(const double *z, sv_real *out) {
    double step = pow(10, 1.0 / PER_DECADE), w = TWO_PI * FIRST_HZ;
    for (int i = 0; i < POINTS; i++, w *= step) {
        double re = 1 - w * w * z[1] * z[2], im = w * z[0] * z[2];
        out[i] = (sv_real)(-10 * log10(re * re + im * im));
        out[POINTS + i] = (sv_real)-atan2(im, re);
    }
}

const sv_sim sv_sim_rlc = {
    .name = "rlc",
    .nparams = 3,
    .channels = 1,
    .height = 1,
    .width = 2 * POINTS,
    .draw = draw_rlc,
    .doc = "z = (R, L, C): a series RLC circuit driven by 1 V AC, output across C; 61 gains in dB, then 61 phases in "
           "radians, from 100 Hz to 100 kHz.",
};
