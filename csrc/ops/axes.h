/* axes.h: axes as options, and sums of many numbers. */
#ifndef SV_AXES_H
#define SV_AXES_H

#include "../kernels/loops.h"
#include "../kernels/vmath.h"
#include "../simvae.h"

/* An axis option (0-based, or counted from the end: -1 the last) as 0 … ndim - 1. */
static inline bool sv_axis(sv_args *a, long given, int ndim, int *axis) {
    long i = given < 0 ? given + ndim : given;
    if (i < 0 || i >= ndim) return sv_fail(a, "axis %ld is outside the %d axes", given < 0 ? given : given + 1, ndim);
    *axis = (int)i;
    return true;
}

/* Sum of adjacent numbers in double, in eight interleaved parts: the order is
 * fixed, and a compiler can keep the parts in one register. */
SV_INLINE double sv_sum(size_t n, const sv_real *x) {
    double part[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) part[k] += (double)x[i + k];
    for (int k = 0; i < n; i++, k++) part[k] += (double)x[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

double sv_run_sum(size_t n, const sv_real *x); /* the same, compiled for every CPU level (reduction.c) */

#endif
