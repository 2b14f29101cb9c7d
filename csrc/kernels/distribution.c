/* distribution.c: distribution functions, densities and quantiles; see distribution.h.
 *
 *   normal   erfc of libm; quantiles by Wichura 1988, algorithm AS 241 (PPND16), Applied Statistics 37, 477
 *   gamma    the series and the continued fraction of the incomplete gamma function (Abramowitz and Stegun 6.5.29 and
 *            6.5.31; Lentz's evaluation as in Press et al., Numerical Recipes, 6.2)
 *   beta     the continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8, Numerical Recipes,
 *            6.4)
 *
 * The factors before the series are saddle-point expansions (Loader 2000, "Fast and accurate computation of binomial
 * probabilities"), which keep their relative precision for large parameters. Quantiles of gamma and beta are found by
 * Newton's method on the logarithm of the smaller tail, which is concave in t, so that it converges from any start. */
#include "distribution.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#define LOG_ROOT_2PI 0.91893853320467274178
enum { TERMS = 100000, NEWTON_STEPS = 200 };
static const double LARGE = 10; /* from here on Stirling's series has the precision of doubles */
static const double TINY = 1e-300;

/* ---- normal -------------------------------------------------------------------------------- */

double sv_normal_below(double t) { return 0.5 * erfc(-t * 0.70710678118654752440); }

sv_tails sv_normal_tails(double t) { return (sv_tails){sv_normal_below(t), sv_normal_below(-t)}; }

static double ratio(const double p[2][8], double r) {
    double above = p[0][7], below = p[1][7];
    for (int i = 6; i >= 0; i--) above = above * r + p[0][i], below = below * r + p[1][i];
    return above / below;
}

double sv_normal_quantile(sv_tails u) {
    static const double centre[2][8] = {
        {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
         4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3},
        {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3, 2.1213794301586595867e+4,
         3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3}};
    static const double middle[2][8] = {
        {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
         1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4},
        {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
         1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9}};
    static const double far[2][8] = {
        {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
         2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7},
        {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
         7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15}};
    if (isnan(u.below) || isnan(u.above)) return NAN;
    double q = u.below < u.above ? u.below - 0.5 : 0.5 - u.above, p = fmin(u.below, u.above);
    if (p < 0) return NAN;
    if (fabs(q) <= 0.425) return q * ratio(centre, 0.180625 - q * q);
    if (p == 0) return q < 0 ? -INFINITY : INFINITY;
    double r = sqrt(-log(p)), t = r <= 5 ? ratio(middle, r - 1.6) : ratio(far, r - 5);
    return q < 0 ? -t : t;
}

static sv_tails normal_cdf(const double *p, double t) {
    (void)p;
    return sv_normal_tails(t);
}

static double normal_log_density(const double *p, double t) {
    (void)p;
    return -0.5 * t * t - LOG_ROOT_2PI;
}

static double normal_quantile(const double *p, sv_tails u) {
    (void)p;
    return sv_normal_quantile(u);
}

/* ---- factors of the gamma function ------------------------------------------------------------ */

/* log Gamma(a + 1) - (a + 1/2) log a + a - log(2 pi) / 2: the rest of Stirling's formula. */
static double stirling_error(double a) {
    static const double by[] = {1 / 12.0,   -1 / 360.0,      1 / 1260.0, -1 / 1680.0,
                                1 / 1188.0, -691 / 360360.0, 1 / 156.0,  -3617 / 122400.0};
    if (a < LARGE) return lgamma(a + 1) - (a + 0.5) * log(a) + a - LOG_ROOT_2PI;
    double sum = 0, square = a * a;
    for (int i = 7; i >= 0; i--) sum = sum / square + by[i];
    return sum / a;
}

/* x log(x / m) + m - x, without cancellation where x is near m (Loader 2000). */
static double deviance(double x, double m) {
    if (fabs(x - m) >= 0.1 * (x + m)) return x * log(x / m) + m - x;
    double v = (x - m) / (x + m), sum = (x - m) * v, term = 2 * x * v;
    for (int j = 3; j < 1000; j += 2) {
        term *= v * v;
        double next = sum + term / j;
        if (next == sum) break;
        sum = next;
    }
    return sum;
}

/* ---- gamma ------------------------------------------------------------------------------------- */

/* log of x^a e^-x / Gamma(a), x = e^t: the density of t. */
static double gamma_log_density(const double *p, double t) {
    double a = *p, x = exp(t);
    if (a < LARGE) return a * t - x - lgamma(a);
    return 0.5 * log(a) - LOG_ROOT_2PI - stirling_error(a) - deviance(a, x);
}

static sv_tails gamma_cdf(const double *p, double t) {
    double a = *p, x = exp(t), factor = exp(gamma_log_density(p, t));
    if (x < a + 1) {
        double term = 1, sum = 1;
        for (int n = 1; n < TERMS && term > sum * DBL_EPSILON / 4; n++) sum += term *= x / (a + n);
        double below = factor / a * sum;
        return (sv_tails){below, 1 - below};
    }
    double b = x + 1 - a, c = 1 / TINY, d = 1 / b, h = d;
    for (int i = 1; i < TERMS && isfinite(x); i++) {
        double an = -i * (i - a);
        b += 2;
        d = an * d + b, c = b + an / c;
        d = 1 / (fabs(d) < TINY ? TINY : d), c = fabs(c) < TINY ? TINY : c;
        h *= d * c;
        if (fabs(d * c - 1) < DBL_EPSILON) break;
    }
    double above = isfinite(x) ? factor * h : 0;
    return (sv_tails){1 - above, above};
}

/* ---- beta -------------------------------------------------------------------------------------- */

/* log of x^a (1 - x)^b / B(a, b), x = 1 / (1 + e^-t): the density of t. */
static double beta_log_density(const double *p, double t) {
    double a = p[0], b = p[1], n = a + b;
    if (a < LARGE || b < LARGE) {
        double log_x = t < 0 ? t - log1p(exp(t)) : -log1p(exp(-t));
        double small = fmin(a, b), big = fmax(a, b), log_beta = lgamma(a) + lgamma(b) - lgamma(n);
        if (big >= LARGE) /* by Stirling's formula: the large terms of lgamma would cancel */
            log_beta = lgamma(small) + stirling_error(big) - stirling_error(n) - (big - 0.5) * log1p(small / big) -
                       small * (log(n) - 1);
        return a * log_x + b * (log_x - t) - log_beta;
    }
    double x = 1 / (1 + exp(-t)), y = 1 / (1 + exp(t));
    return 0.5 * log(a * b / n) - LOG_ROOT_2PI + stirling_error(n) - stirling_error(a) - stirling_error(b) -
           deviance(a, n * x) - deviance(b, n * y);
}

/* The continued fraction of I_x(a, b), without the factor before it. */
static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < TINY ? TINY : d);
    double h = d;
    for (int m = 1; m < TERMS; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)), change = 1;
        for (int i = 0; i < 2; i++) {
            double by = i ? odd : even;
            d = 1 + by * d, c = 1 + by / c;
            d = 1 / (fabs(d) < TINY ? TINY : d), c = fabs(c) < TINY ? TINY : c;
            h *= change = d * c;
        }
        if (fabs(change - 1) < DBL_EPSILON) break;
    }
    return h;
}

static sv_tails beta_cdf(const double *p, double t) {
    double a = p[0], b = p[1], x = 1 / (1 + exp(-t)), y = 1 / (1 + exp(t)), factor = exp(beta_log_density(p, t));
    if (x < (a + 1) / (a + b + 2)) {
        double below = factor / a * beta_fraction(a, b, x);
        return (sv_tails){below, 1 - below};
    }
    double above = factor / b * beta_fraction(b, a, y);
    return (sv_tails){1 - above, above};
}

/* ---- quantiles ----------------------------------------------------------------------------------- */

/* Newton's method from t on the logarithm of the smaller tail of u. */
static double invert(const sv_distribution *of, const double *p, sv_tails u, double t) {
    if (isnan(u.below) || isnan(u.above) || u.below < 0 || u.above < 0) return NAN;
    if (u.below == 0 || u.above == 0) return u.below == 0 ? -INFINITY : INFINITY;
    bool lower = u.below <= u.above;
    double goal = log(lower ? u.below : u.above), before = t;
    for (int i = 0; i < NEWTON_STEPS; i++) {
        sv_tails at = of->cdf(p, t);
        double log_tail = log(lower ? at.below : at.above);
        if (!isfinite(log_tail)) { /* the step went to where the tail underflows */
            t = before + (t - before) / 4;
            continue;
        }
        double step = (goal - log_tail) * exp(log_tail - of->log_density(p, t));
        before = t;
        t += lower ? step : -step;
        if (fabs(step) <= 4 * DBL_EPSILON * fmax(1, fabs(t))) break;
    }
    return t;
}

static double gamma_quantile(const double *p, sv_tails u);
static double beta_quantile(const double *p, sv_tails u);

const sv_distribution sv_distributions[] = {
    {"normal", 0, normal_cdf, normal_log_density, normal_quantile},
    {"gamma", 1, gamma_cdf, gamma_log_density, gamma_quantile},
    {"beta", 2, beta_cdf, beta_log_density, beta_quantile},
    {NULL, 0, NULL, NULL, NULL},
};

/* From the mode of t. */
static double gamma_quantile(const double *p, sv_tails u) { return invert(&sv_distributions[1], p, u, log(*p)); }

static double beta_quantile(const double *p, sv_tails u) {
    return invert(&sv_distributions[2], p, u, log(p[0] / p[1]));
}
