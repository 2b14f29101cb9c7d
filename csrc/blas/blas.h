/* blas.h: what the core calls of BLAS and LAPACK, as a table of functions.
 *
 * OpenBLAS takes milliseconds and megabytes to load, so it is linked by a Lua module of its own, simvae/blas.so,
 * which is required when something first needs it and hands this table to the core. The core itself links no BLAS.
 *
 * Matrices of the functions of LAPACK are column-major, those of CBLAS row-major as in every call here. All LAPACK
 * is in double precision, in the single-precision build as well: results are as good as the rounding of their
 * arguments allows, for ill-conditioned matrices too. */
#ifndef SIMVAE_BLAS_H
#define SIMVAE_BLAS_H

#include <stdbool.h>

#define SV_BLAS "simvae.blas" /* metatable of the userdata that holds an sv_blas */

typedef struct sv_blas {
    const char *version; /* SV_VERSION of the module: the core refuses another one */
    const char *config;  /* what OpenBLAS says of itself */

    /* C (m, n) = alpha op(A) op(B) + beta C, row-major; transpose_a: A is stored (k, m), transpose_b: B (n, k) */
    void (*sgemm)(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*dgemm)(bool transpose_a, bool transpose_b, int m, int n, int k, double alpha, const double *a, int lda,
                  const double *b, int ldb, double beta, double *c, int ldc);
    /* B (m, n) = op(A)^-1 B, or with right B op(A)^-1; A triangular, row-major, diagonal used */
    void (*dtrsm)(bool right, bool upper, bool transpose, int m, int n, const double *a, int lda, double *b, int ldb);

    /* LAPACK, column-major. Each returns its info: 0, or > 0 where the matrix does not suit. lwork -1: work[0] (and
     * iwork[0]) become the room that is needed. */
    int (*dpotrf)(int n, double *a, int lda); /* A = U' U, U upper in the upper triangle */
    int (*dgetrf)(int m, int n, double *a, int lda, int *pivots);
    int (*dgetrs)(bool transpose, int n, int nrhs, const double *a, int lda, const int *pivots, double *b, int ldb);
    int (*dgeqrf)(int m, int n, double *a, int lda, double *tau, double *work, int lwork);
    int (*dorgqr)(int m, int n, int k, double *a, int lda, const double *tau, double *work, int lwork);
    /* U (m, k), s (k), V' (k, n) with k = min(m, n); iwork: 8 k; spoils a */
    int (*dgesdd)(int m, int n, double *a, int lda, double *s, double *u, int ldu, double *vt, int ldvt, double *work,
                  int lwork, int *iwork);
    /* a symmetric, its upper triangle read: becomes the eigenvectors as columns; w ascending */
    int (*dsyevd)(int n, double *a, int lda, double *w, double *work, int lwork, int *iwork, int liwork);
    /* the x of least norm among those of least |A x - b|; b has max(m, n) rows */
    int (*dgelsd)(int m, int n, int nrhs, double *a, int lda, double *b, int ldb, double *s, double rcond, int *rank,
                  double *work, int lwork, int *iwork);
} sv_blas;

#endif
