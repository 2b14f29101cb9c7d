/* vmath.h: exp, log and functions made of them, as branch-free code that gcc and clang vectorise inside an SV_LOOP.
 *
 * Ranges are reduced as in Cody and Waite, Software Manual for the Elementary
 * Functions (1980); the minimax polynomials are those of S. Moshier's Cephes
 * library (single precision: expf, logf, tanhf). Errors in units in the last
 * place (spec/vmath_spec.lua): exp and log 1, tanh 1.3, softplus 2, sigmoid 2.3;
 * infinities and NaN come out as libm's do. The double build uses libm: it exists
 * to check gradients. */
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

#endif

SV_INLINE sv_real sv_sigmoid(sv_real x) { return 1 / (1 + sv_exp(-x)); }

/* log(1 + exp(x)) */
SV_INLINE sv_real sv_softplus(sv_real x) {
    sv_real size = x < 0 ? -x : x;
    return (x > 0 ? x : 0) + sv_log1p_unit(sv_exp(-size));
}

#endif
