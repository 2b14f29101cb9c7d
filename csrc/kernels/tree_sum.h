/* tree_sum.h: a node of the binary tree by which numbers of microbatches are added.
 *
 * Microbatch i of n = 2^k is leaf i of the tree. Whoever adds two nodes, in one process or in two of which each sends
 * its node to the other one, gets the same bits: a + b = b + a. With bf16, both nodes are rounded to bfloat16 (nearest,
 * ties to even) before they are added in fp32, and so is the root, whether or not they travel. Moments of two nodes of
 * equal size are joined by Chan, Golub and LeVeque (1979). csrc/mpi uses these functions as well: inline. */
#ifndef SV_TREE_SUM_H
#define SV_TREE_SUM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The upper half of x as fp32, rounded; NaN stays NaN. */
static inline uint16_t sv_to_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static inline float sv_from_bf16(uint16_t half) {
    uint32_t u = (uint32_t)half << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline sv_real sv_bf16_rounded(sv_real x) { return (sv_real)sv_from_bf16(sv_to_bf16((float)x)); }

static inline void sv_tree_add(size_t n, sv_real *restrict to, const sv_real *restrict from) {
    for (size_t i = 0; i < n; i++) to[i] += from[i];
}

static inline void sv_tree_add_bf16(size_t n, sv_real *restrict to, const sv_real *restrict from) {
    for (size_t i = 0; i < n; i++) to[i] = sv_bf16_rounded(to[i]) + sv_bf16_rounded(from[i]);
}

/* Means and sums of squares about them (2, n), each of `rows` numbers. */
static inline void sv_tree_moments(size_t n, double rows, sv_real *restrict to, const sv_real *restrict from) {
    for (size_t i = 0; i < n; i++) {
        double between = (double)from[i] - (double)to[i];
        double mean = ((double)to[i] + (double)from[i]) / 2;
        double squares = (double)to[n + i] + (double)from[n + i];
        to[i] = (sv_real)mean;
        to[n + i] = (sv_real)(squares + between * between * (rows / 2));
    }
}

#endif
