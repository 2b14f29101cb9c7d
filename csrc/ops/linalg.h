/* linalg.h: shared by the ops of linear algebra. Matrices are the last two axes, all axes before them a batch; every
 * matrix of a batch is one piece of work for the pool, computed in double precision by LAPACK (csrc/blas). */
#ifndef SV_LINALG_H
#define SV_LINALG_H

#include "../blas/blas.h"
#include "../kernels/loops.h"
#include "../simvae.h"

enum { SV_LINALG_MAX = 32767 }; /* rows or columns: LAPACK counts in int, n * n included */

/* A batch of matrices (rows, cols). */
typedef struct sv_batch {
    long count, rows, cols;
} sv_batch;

/* Checks that OpenBLAS is there and that input k holds matrices of a size that LAPACK takes. */
bool sv_linalg_batch(sv_args *a, int k, const char *name, sv_batch *b);
bool sv_linalg_square(sv_args *a, int k, const char *name, sv_batch *b);

/* Numbers of sv_real that hold n values of another type, each region on its own cache line. */
size_t sv_room(size_t bytes);

/* Work divided over the matrices of a batch: shared regions, then regions of each worker. */
typedef struct sv_linalg_work {
    double *own; /* of this worker: `doubles` numbers */
    int *integers;
} sv_linalg_work;

size_t sv_linalg_work_room(const sv_batch *b, size_t doubles, size_t integers); /* infos included */
int *sv_linalg_infos(sv_real *work);                                            /* one a matrix of the batch */
sv_linalg_work sv_linalg_worker(const sv_batch *b, sv_real *work, size_t doubles, size_t integers, int worker);

/* The first matrix (from 1) of nonzero info; 0: none. */
long sv_linalg_failed(const sv_batch *b, const int *infos);

void sv_linalg_load(long n, const sv_real *from, double *to);
void sv_linalg_store(long n, const double *from, sv_real *to);
/* Row-major (rows, cols) to column-major, and back. */
void sv_linalg_load_columns(long rows, long cols, const sv_real *from, double *to);
void sv_linalg_store_columns(long rows, long cols, const double *from, sv_real *to);

/* The largest |a_ij - a_ji| over the largest |a_ij|, and where. */
double sv_linalg_asymmetry(long n, const sv_real *a, long *row, long *col);
/* false, and the message: matrix `index` of a batch is not symmetric as far as its precision tells. */
bool sv_linalg_symmetric(sv_args *a, const sv_batch *b);

#endif
