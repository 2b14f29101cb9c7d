/* reduction.h: reductions (sums, extrema, …) over chosen axes, planned once and run on the thread pool. */
#ifndef SV_REDUCTION_H
#define SV_REDUCTION_H

#include "axes.h"

enum { SV_OPT_AXES, SV_OPT_KEEPDIMS, SV_OPT_CORRECTION }; /* options of every reduction */
enum { SV_REDUCTION_PART = 1 << 14 };                     /* numbers of a piece of work */

typedef struct {
    int ndim; /* joined axes */
    bool reduced[SV_MAX_DIM];
    size_t len[SV_MAX_DIM];
    size_t out[SV_MAX_DIM];    /* step in the result; 0 where reduced */
    size_t number[SV_MAX_DIM]; /* step of the row-major index within the reduced axes; 0 where kept */
    size_t reduced_count;
} sv_reduction_plan;

enum sv_reduction_kind { SV_SUM, SV_SQUARES, SV_EXPONENTIALS, SV_MAX, SV_MIN };

/* Partial result: v, and for SV_MAX and SV_MIN the index
 * (from 0, row-major in the reduced axes) of the number it is. */
typedef struct {
    double v;
    uint64_t at;
} sv_reduction_state;

typedef struct {
    sv_reduction_plan p;
    enum sv_reduction_kind kind;
    const sv_real *x, *centre; /* centre: one per result, laid out as the results */
    size_t heads;              /* products of the outer kept axes, */
    size_t repeats;            /* of the outer reduced axes, */
    size_t inner;              /* and the innermost axis */
    size_t parts, each;        /* a result's repeats (or its one run) are cut into parts of so many */
    size_t blocks;             /* of columns, if the innermost axis is kept */
    sv_reduction_state *state; /* [part][result] */
    size_t results;
} sv_reduction;

/* The shape of the result: reduced axes dropped, or kept as axes of one. */
bool sv_reduced_shape(sv_args *a);
sv_reduction_plan sv_make_reduction_plan(sv_args *a);
/* A reduction without room for its states: parts * results of them. */
sv_reduction sv_plan_reduction(sv_args *a);
/* The results, in r->state[0 … results-1]. */
void sv_run_reduction(sv_reduction *r, enum sv_reduction_kind kind, const sv_real *centre);

#endif
