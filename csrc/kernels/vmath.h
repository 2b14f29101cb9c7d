/* vmath.h: exp, log and functions made of them, as branch-free code that gcc and clang vectorise inside an SV_LOOP.
 *
 * Ranges are reduced as in Cody and Waite, Software Manual for the Elementary Functions (1980); the minimax polynomials
 * are those of S. Moshier's Cephes library (single precision: expf, logf, tanhf, sinf, cosf, atanf). Errors in units in
 * the last place (spec/vmath_spec.lua): exp and log 1, tanh 1.3, softplus 2, sin and cos 2.4, sigmoid 2.3, atan2 2.6;
 * infinities and NaN come out as libm's do. The double build uses libm: it exists to check gradients. Functions of
 * doubles, in both builds, take Taylor series: errors of 1 too. */
#ifndef SV_VMATH_H
#define SV_VMATH_H

#include "kernels.h"

#include <math.h>
#include <string.h>

#ifdef SV_DOUBLE

SV_INLINE double sv_exp(double x) { return exp(x); }
SV_INLINE double sv_normal_density(double x) { return 0.39894228040143267794 * exp(-0.5 * x * x); }
SV_INLINE double sv_log(double x) { return log(x); }
SV_INLINE double sv_log1p_unit(double u) { return log1p(u); }
SV_INLINE double sv_tanh(double x) { return tanh(x); }
SV_INLINE double sv_atan2(double y, double x) { return atan2(y, x); }
SV_INLINE double sv_sine_by_libm(double x, uint32_t quarter) {
    return (quarter & 1u ? cos : sin)(x) * (quarter & 2u ? -1 : 1);
}
SV_INLINE double sv_sine(double x, uint32_t quarter) { return sv_sine_by_libm(x, quarter); }
SV_INLINE bool sv_beyond_sine(double x) {
    (void)x;
    return false;
}
SV_INLINE double sv_normal_cdf(double x, double density) {
    (void)density;
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

#else

SV_INLINE uint32_t sv_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

SV_INLINE float sv_from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* exp(r), |r| <= ln 2 / 2. */
SV_INLINE float sv_exp_near(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return r * r * p + r + 1.0f;
}

/* x = k ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to a whole number,
 * which then stands in the low bits. 2^k is applied in two halves, so that results
 * below the smallest normal number are right too. */
SV_INLINE float sv_exp(float x) {
    const float shift = 12582912.0f;
    float c = x < -104.0f ? -104.0f : x; /* below: 0, above 89: infinity */
    c = c > 89.0f ? 89.0f : c;
    float t = c * 1.44269504088896341f + shift, k = t - shift;
    float r = c - k * 0.693359375f;
    r = r + k * 2.12194440e-4f;
    float y = sv_exp_near(r);
    uint32_t n = sv_bits(t) - sv_bits(shift) + 512u, half = n >> 1; /* k + 512 */
    return y * sv_from_bits((half - 256u + 127u) << 23) * sv_from_bits((n - half - 256u + 127u) << 23);
}

/* log(2^e (1 + f)), sqrt(1/2) <= 1 + f < sqrt(2). */
SV_INLINE float sv_log_parts(float e, float f) {
    float z = f * f;
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    float y = f * z * p - e * 2.12194440e-4f - 0.5f * z;
    return f + y + e * 0.693359375f;
}

SV_INLINE float sv_log(float x) {
    const float tiny = 1.17549435e-38f;
    float scaled = x < tiny ? x * 8388608.0f : x, below = x < tiny ? 23.0f : 0.0f;
    uint32_t u = sv_bits(scaled) - 0x3f3504f3u + (127u << 23); /* the bits of sqrt(1/2) */
    float e = (float)(int32_t)(u >> 23) - 127.0f - below;
    float y = sv_log_parts(e, sv_from_bits((u & 0x7fffffu) + 0x3f3504f3u) - 1.0f);
    y = x > 0.0f ? y : x == 0.0f ? -INFINITY : NAN;
    return x < INFINITY ? y : x; /* infinity and NaN as they are */
}

/* log(1 + u) for 0 <= u <= 1; f is exact, so small u lose nothing. */
SV_INLINE float sv_log1p_unit(float u) {
    float large = u > 0.41421356f ? 1.0f : 0.0f;
    return sv_log_parts(large, u > 0.41421356f ? 0.5f * u - 0.5f : u);
}

SV_INLINE float sv_tanh(float x) {
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float near = x + x * z * p;
    float size = fabsf(x), far = 1.0f - 2.0f / (sv_exp(2.0f * size) + 1.0f);
    far = x < 0.0f ? -far : far;
    return size < 0.625f ? near : far;
}

/* The normal distribution's density, within 1e-7: 2^(k + r), |r| <= 1/2, the power of r by a minimax polynomial that
 * has the factor 1 / sqrt(2 pi) in it, that of k added to the exponent. 2e-38 far out. */
SV_INLINE float sv_normal_density(float x) {
    const float shift = 12582912.0f;
    float z = x * x * -0.72134752f; /* log2(exp(-x * x / 2)) */
    z = z < -124.0f ? -124.0f : z;
    float t = z + shift, r = z - (t - shift);
    float p = 5.2965471e-4f;
    p = p * r + 3.8599825e-3f;
    p = p * r + 2.2144142e-2f;
    p = p * r + 9.5834392e-2f;
    p = p * r + 2.7652563e-1f;
    p = p * r + 3.9894231e-1f;
    return sv_from_bits(sv_bits(p) + ((sv_bits(t) - sv_bits(shift)) << 23));
}

/* The normal distribution's, within 3e-7, of x and its density there: Hastings' formula, 26.2.17 in Abramowitz and
 * Stegun, Handbook of Mathematical Functions (1964). */
SV_INLINE float sv_normal_cdf(float x, float density) {
    float t = 1.0f / (1.0f + 0.2316419f * fabsf(x));
    float p = 1.330274429f;
    p = p * t - 1.821255978f;
    p = p * t + 1.781477937f;
    p = p * t - 0.356563782f;
    p = p * t + 0.319381530f;
    float tail = density * (t * p);
    return x > 0.0f ? 1.0f - tail : tail;
}

#define SV_SINE_LIMIT 12800.0f

/* sin(x + quarter pi / 2) for |x| <= SV_SINE_LIMIT. x = q pi / 2 + r, |r| <= pi / 4; pi / 2 in four terms, of which the
 * first three have so few bits that their products with q are exact. */
SV_INLINE float sv_sine(float x, uint32_t quarter) {
    const float shift = 12582912.0f;
    float t = x * 0.63661977236758134f + shift, q = t - shift;
    float r = x - q * 1.5703125f;
    r = r - q * 4.8375129699707031e-4f;
    r = r - q * 7.5495336204767227e-8f;
    r = r - q * 2.5633440682570896e-12f;
    float z = r * r;
    float s = -1.9515295891e-4f;
    s = s * z + 8.3321608736e-3f;
    s = s * z - 1.6666654611e-1f;
    s = s * z * r + r;
    float c = 2.443315711809948e-5f;
    c = c * z - 1.388731625493765e-3f;
    c = c * z + 4.166664568298827e-2f;
    c = c * z * z - 0.5f * z + 1.0f;
    uint32_t n = sv_bits(t) - sv_bits(shift) + quarter;
    float y = n & 1u ? c : s;
    return sv_from_bits(sv_bits(y) ^ (n & 2u) << 30);
}

SV_INLINE bool sv_beyond_sine(float x) { return !(fabsf(x) <= SV_SINE_LIMIT); }
SV_INLINE float sv_sine_by_libm(float x, uint32_t quarter) {
    return (quarter & 1u ? cosf : sinf)(x) * (quarter & 2u ? -1.0f : 1.0f);
}

/* The angle of the point (x, y). The ratio of the smaller coordinate to the larger one is brought to |v| <= tan(pi /
 * 8), as in atanf. */
SV_INLINE float sv_atan2(float y, float x) {
    float ax = fabsf(x), ay = fabsf(y);
    float most = ax > ay ? ax : ay, least = ax > ay ? ay : ax;
    float u = least / most;
    u = most > 0.0f ? u : 0.0f;
    u = least < INFINITY ? u : 1.0f;
    float far = u > 0.41421356f ? 1.0f : 0.0f;
    float v = (u - far) / (far * u + 1.0f);
    float z = v * v;
    float p = 8.05374449538e-2f;
    p = p * z - 1.38776856032e-1f;
    p = p * z + 1.99777106478e-1f;
    p = p * z - 3.33329491539e-1f;
    float a = p * z * v + v - far * 2.1855695e-8f + far * 0.785398185f;
    float steep = ay > ax ? 1.0f : 0.0f, back = (float)(sv_bits(x) >> 31);
    float straight = back * (1.0f - steep), sign = (1.0f - 2.0f * steep) * (1.0f - 2.0f * back);
    float from = steep * 1.57079637f + straight * 3.14159274f;
    a = from + (sign * a - (steep * 4.37113900e-8f + straight * 8.74227800e-8f));
    a = x == x ? a : NAN;
    a = y == y ? a : NAN;
    return sv_from_bits(sv_bits(a) | (sv_bits(y) & 0x80000000u));
}

#endif

/* ---- doubles -------------------------------------------------------------------------------- */

SV_INLINE uint64_t sv_bits64(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

SV_INLINE double sv_from_bits64(uint64_t u) {
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

#define SV_ROUNDER 6755399441055744.0 /* 1.5 * 2^52: adding it rounds to a whole number, in the low bits */

/* exp(r) - 1, |r| <= ln 2 / 2: the next term of the series is below 1e-17 of it. */
SV_INLINE double sv_expm1_near(double r) {
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    return r * r * p + r;
}

/* x - k ln 2; the first part of ln 2 has few bits, so that its product with k is exact. */
SV_INLINE double sv_less_ln2(double x, double k) { return x - k * 0.693145751953125 - k * 1.42860682030941723212e-6; }

/* As sv_exp. */
SV_INLINE double sv_exp_double(double x) {
    double c = x < -746.0 ? -746.0 : x; /* below: 0, above 710: infinity */
    c = c > 710.0 ? 710.0 : c;
    const double t = c * 1.44269504088896340736 + SV_ROUNDER;
    const double y = sv_expm1_near(sv_less_ln2(c, t - SV_ROUNDER)) + 1.0;
    const uint64_t n = sv_bits64(t) - sv_bits64(SV_ROUNDER) + 2048u, half = n >> 1; /* k + 2048 */
    return y * sv_from_bits64((half - 1024u + 1023u) << 52) * sv_from_bits64((n - half - 1024u + 1023u) << 52);
}

/* exp(x) - 1 for x <= 0, with the relative precision of small x. */
SV_INLINE double sv_expm1_below_0(double x) {
    const double c = x < -40.0 ? -40.0 : x; /* below: -1 */
    const double t = c * 1.44269504088896340736 + SV_ROUNDER;
    const double y = sv_expm1_near(sv_less_ln2(c, t - SV_ROUNDER));
    const double power = sv_from_bits64((sv_bits64(t) - sv_bits64(SV_ROUNDER) + 1023u) << 52); /* 2^k */
    return power * y + (power - 1.0);
}

/* log(2^e (1 + f)), sqrt(1/2) <= 1 + f < sqrt(2): with s = f / (2 + f) the series 2 s + 2 s^3 / 3 + 2 s^5 / 5 + …, of
 * which 2 s = f - f^2 / 2 + s f^2 / 2. */
SV_INLINE double sv_log_parts_double(double e, double f) {
    const double s = f / (2.0 + f), z = s * s, square = 0.5 * f * f;
    double p = 2.0 / 21;
    p = p * z + 2.0 / 19;
    p = p * z + 2.0 / 17;
    p = p * z + 2.0 / 15;
    p = p * z + 2.0 / 13;
    p = p * z + 2.0 / 11;
    p = p * z + 2.0 / 9;
    p = p * z + 2.0 / 7;
    p = p * z + 2.0 / 5;
    p = p * z + 2.0 / 3;
    return e * 0.693145751953125 - (square - (s * (square + z * p) + e * 1.42860682030941723212e-6) - f);
}

/* As sv_log. */
SV_INLINE double sv_log_double(double x) {
    const double tiny = 2.2250738585072014e-308, whole = 4503599627370496.0; /* 2^52 */
    const double scaled = x < tiny ? x * 18014398509481984.0 : x, below = x < tiny ? 54.0 : 0.0;
    const uint64_t root = 0x3fe6a09e667f3bcdu; /* the bits of sqrt(1/2) */
    const uint64_t u = sv_bits64(scaled) - root + (1023ull << 52);
    const double e = sv_from_bits64((u >> 52) | sv_bits64(whole)) - whole - 1023.0 - below;
    double y = sv_log_parts_double(e, sv_from_bits64((u & 0xfffffffffffffu) + root) - 1.0);
    y = x > 0.0 ? y : x == 0.0 ? -INFINITY : NAN;
    return x < INFINITY ? y : x;
}

/* log(1 + u) for 0 <= u <= 1. */
SV_INLINE double sv_log1p_unit_double(double u) {
    const double large = u > 0.41421356237309503 ? 1.0 : 0.0;
    return sv_log_parts_double(large, u > 0.41421356237309503 ? 0.5 * u - 0.5 : u);
}

/* ---- both ------------------------------------------------------------------------------------ */

SV_INLINE sv_real sv_sigmoid(sv_real x) { return 1 / (1 + sv_exp(-x)); }

/* log(1 + exp(x)) */
SV_INLINE sv_real sv_softplus(sv_real x) {
    sv_real size = x < 0 ? -x : x;
    return (x > 0 ? x : 0) + sv_log1p_unit(sv_exp(-size));
}

/* sin(x + quarter pi / 2) of n numbers: cosines where quarter is 1; by libm those to which pi / 2 would have to be
 * known to more digits. */
SV_INLINE void sv_sines(size_t n, const sv_real *x, uint32_t quarter, sv_real *to) {
    unsigned beyond = 0;
    for (size_t i = 0; i < n; i++) beyond |= sv_beyond_sine(x[i]);
    for (size_t i = 0; i < n; i++) to[i] = sv_sine(x[i], quarter);
    for (size_t i = 0; beyond && i < n; i++)
        if (sv_beyond_sine(x[i])) to[i] = sv_sine_by_libm(x[i], quarter);
}

#endif
