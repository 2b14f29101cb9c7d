/* rows.h: what softmax, its logarithm, cross entropy, log-sum-exp, extrema and layer normalisation compute of rows of
 * adjacent numbers, to be inlined into an SV_LOOP. */
#ifndef SV_ROWS_H
#define SV_ROWS_H

#include "axes.h"

enum { SV_ROW_LANES = 64 }; /* running maxima of a row */
enum { SV_ROW_TILE = 512 }; /* numbers of a row or of whole rows that are computed before they are summed */

/* Rows of n numbers that are a piece of work. */
static inline size_t sv_rows_a_piece(size_t n) { return n < SV_CHUNK ? SV_CHUNK / (n ? n : 1) : 1; }

/* The largest of n > 0 numbers (sign -1: minus the smallest), whatever NaN among them makes of it. The last lanes
 * overlap those before. */
SV_INLINE sv_real sv_row_most(size_t n, const sv_real *x, sv_real sign) {
    sv_real most = sign * x[0], lane[SV_ROW_LANES];
    if (n < SV_ROW_LANES) {
        for (size_t i = 1; i < n; i++) most = sign * x[i] > most ? sign * x[i] : most;
        return most;
    }
    for (int k = 0; k < SV_ROW_LANES; k++) lane[k] = sign * x[k];
    for (size_t i = SV_ROW_LANES; i < n; i += SV_ROW_LANES) {
        const sv_real *from = x + (i + SV_ROW_LANES <= n ? i : n - SV_ROW_LANES);
        for (int k = 0; k < SV_ROW_LANES; k++) lane[k] = sign * from[k] > lane[k] ? sign * from[k] : lane[k];
    }
    for (int width = SV_ROW_LANES / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++) lane[k] = lane[k + width] > lane[k] ? lane[k + width] : lane[k];
    return lane[0];
}

/* The sum of x * y over n numbers, as sv_sum. */
SV_INLINE double sv_row_dot(size_t n, const sv_real *x, const sv_real *y) {
    double part[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) part[k] += (double)(x[i + (size_t)k] * y[i + (size_t)k]);
    for (int k = 0; i < n; i++, k++) part[k] += (double)(x[i] * y[i]);
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

/* The sum of (x - centre)^2 over n numbers. */
SV_INLINE double sv_row_squares(size_t n, const sv_real *x, sv_real centre) {
    double sum = 0;
    sv_real tile[SV_ROW_TILE];
    for (size_t from = 0; from < n; from += SV_ROW_TILE) {
        const size_t m = n - from < SV_ROW_TILE ? n - from : SV_ROW_TILE;
        for (size_t i = 0; i < m; i++) tile[i] = (x[from + i] - centre) * (x[from + i] - centre);
        sum += sv_sum(m, tile);
    }
    return sum;
}

/* The sum of exp(x - centre) over n numbers. */
SV_INLINE double sv_row_exponentials(size_t n, const sv_real *x, sv_real centre) {
    double sum = 0;
    sv_real tile[SV_ROW_TILE];
    for (size_t from = 0; from < n; from += SV_ROW_TILE) {
        const size_t m = n - from < SV_ROW_TILE ? n - from : SV_ROW_TILE;
        for (size_t i = 0; i < m; i++) tile[i] = sv_exp(x[from + i] - centre);
        sum += sv_sum(m, tile);
    }
    return sum;
}

/* What is subtracted before exponentials are taken: the maximum; 0 where it is infinite, so that inf and -inf come out
 * as such. */
SV_INLINE sv_real sv_row_centre(size_t n, const sv_real *x) {
    const sv_real most = sv_row_most(n, x, 1);
    return most - most == 0 ? most : most != most ? most : 0;
}

/* Logarithms of sums in double, within a unit in the last place also next to 1. */
SV_INLINE void sv_row_logs(size_t n, const double *sum, sv_real *to) {
    for (size_t i = 0; i < n; i++) {
        const sv_real near = (sv_real)sum[i];
        const double off = (sum[i] - (double)near) / (double)near;
        to[i] = sv_log(near) + (sv_real)(near > 0 && near < INFINITY ? off : 0);
    }
}

/* log(sum(exp(x))) of each of m rows of n > 0 numbers, as two terms. Exponentials of short rows are taken of many rows
 * at once. */
SV_INLINE void sv_rows_log_sum_exp(size_t m, size_t n, const sv_real *x, sv_real *centre, sv_real *logs) {
    sv_real tile[SV_ROW_TILE];
    double sum[SV_ROW_TILE];
    const size_t at_once = n < SV_ROW_TILE ? SV_ROW_TILE / n : 1;
    for (size_t first = 0; first < m; first += at_once) {
        const size_t rows = m - first < at_once ? m - first : at_once;
        const sv_real *from = x + first * n;
        for (size_t r = 0; r < rows; r++) centre[first + r] = sv_row_centre(n, from + r * n);
        if (n > SV_ROW_TILE) {
            sum[0] = sv_row_exponentials(n, from, centre[first]);
        } else {
            for (size_t r = 0; r < rows; r++)
                for (size_t i = 0; i < n; i++) tile[r * n + i] = from[r * n + i] - centre[first + r];
            for (size_t i = 0; i < rows * n; i++) tile[i] = sv_exp(tile[i]);
            for (size_t r = 0; r < rows; r++) sum[r] = sv_sum(n, tile + r * n);
        }
        sv_row_logs(rows, sum, logs + first);
    }
}

#endif
