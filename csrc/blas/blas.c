/* simvae/blas.so: OpenBLAS as the table that csrc/blas/blas.h declares.
 *
 *     require("simvae.blas")  ->  a userdata that holds it, for csrc/engine/blas.c
 *
 * LAPACK is called by its Fortran names, which every build of OpenBLAS exports: LAPACKE is a package of its own on
 * some systems, and allocates behind the caller's back. */
#include <cblas.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "../version.h"
#include "blas.h"

/* Lengths of character arguments follow the others, as gfortran passes them. */
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
extern void dgetrf_(const int *m, const int *n, double *a, const int *lda, int *pivots, int *info);
extern void dgetrs_(const char *trans, const int *n, const int *nrhs, const double *a, const int *lda,
                    const int *pivots, double *b, const int *ldb, int *info, size_t);
extern void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork,
                    int *info);
extern void dorgqr_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau,
                    double *work, const int *lwork, int *info);
extern void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u,
                    const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, int *iwork, int *info,
                    size_t);
extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
                    double *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t, size_t);
extern void dgelsd_(const int *m, const int *n, const int *nrhs, double *a, const int *lda, double *b, const int *ldb,
                    double *s, const double *rcond, int *rank, double *work, const int *lwork, int *iwork, int *info);

static enum CBLAS_TRANSPOSE transposed(bool t) { return t ? CblasTrans : CblasNoTrans; }

static void sgemm(bool ta, bool tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                  float beta, float *c, int ldc) {
    cblas_sgemm(CblasRowMajor, transposed(ta), transposed(tb), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static void dgemm(bool ta, bool tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b,
                  int ldb, double beta, double *c, int ldc) {
    cblas_dgemm(CblasRowMajor, transposed(ta), transposed(tb), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static void dtrsm(bool right, bool upper, bool transpose, int m, int n, const double *a, int lda, double *b, int ldb) {
    cblas_dtrsm(CblasRowMajor, right ? CblasRight : CblasLeft, upper ? CblasUpper : CblasLower, transposed(transpose),
                CblasNonUnit, m, n, 1, a, lda, b, ldb);
}

static int dpotrf(int n, double *a, int lda) {
    int info;
    dpotrf_("U", &n, a, &lda, &info, 1);
    return info;
}

static int dgetrf(int m, int n, double *a, int lda, int *pivots) {
    int info;
    dgetrf_(&m, &n, a, &lda, pivots, &info);
    return info;
}

static int dgetrs(bool transpose, int n, int nrhs, const double *a, int lda, const int *pivots, double *b, int ldb) {
    int info;
    dgetrs_(transpose ? "T" : "N", &n, &nrhs, a, &lda, pivots, b, &ldb, &info, 1);
    return info;
}

static int dgeqrf(int m, int n, double *a, int lda, double *tau, double *work, int lwork) {
    int info;
    dgeqrf_(&m, &n, a, &lda, tau, work, &lwork, &info);
    return info;
}

static int dorgqr(int m, int n, int k, double *a, int lda, const double *tau, double *work, int lwork) {
    int info;
    dorgqr_(&m, &n, &k, a, &lda, tau, work, &lwork, &info);
    return info;
}

static int dgesdd(int m, int n, double *a, int lda, double *s, double *u, int ldu, double *vt, int ldvt, double *work,
                  int lwork, int *iwork) {
    int info;
    dgesdd_("S", &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, work, &lwork, iwork, &info, 1);
    return info;
}

static int dsyevd(int n, double *a, int lda, double *w, double *work, int lwork, int *iwork, int liwork) {
    int info;
    dsyevd_("V", "U", &n, a, &lda, w, work, &lwork, iwork, &liwork, &info, 1, 1);
    return info;
}

static int dgelsd(int m, int n, int nrhs, double *a, int lda, double *b, int ldb, double *s, double rcond, int *rank,
                  double *work, int lwork, int *iwork) {
    int info;
    dgelsd_(&m, &n, &nrhs, a, &lda, b, &ldb, s, &rcond, rank, work, &lwork, iwork, &info);
    return info;
}

__attribute__((visibility("default"))) LUALIB_API int luaopen_simvae_blas(lua_State *L) {
    openblas_set_num_threads(1); /* the core's pool cuts the work, so that results do not depend on thread counts */
    sv_blas *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (sv_blas){
        SV_VERSION, openblas_get_config(), sgemm, dgemm, dtrsm, dpotrf, dgetrf, dgetrs, dgeqrf, dorgqr, dgesdd, dsyevd,
        dgelsd};
    luaL_newmetatable(L, SV_BLAS);
    lua_pushstring(L, SV_BLAS);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    return 1;
}
