/* coupling.h: shared by the ops of a spline flow's transforms. A state (R, D + 1) is D numbers in [0, 1] and the sum of
 * the logarithms of their slopes; columns (D,) say which of the numbers an op takes, and as what. Inputs with fewer
 * rows serve as many rows of the state each. */
#ifndef SV_COUPLING_H
#define SV_COUPLING_H

#include "../simvae.h"

static inline bool sv_coupling_state(sv_args *a, const sv_tensor *state, const sv_tensor *columns) {
    if (state->ndim != 2 || state->shape[1] < 2) return sv_fail(a, "state must be (R, D + 1)");
    if (columns->ndim != 1 || columns->shape[0] + 1 != state->shape[1])
        return sv_fail(a, "columns must be (%zu,)", state->shape[1] - 1);
    return true;
}

/* `name` is that of `shared` in the message. */
static inline bool sv_coupling_rows(sv_args *a, const sv_tensor *state, const sv_tensor *shared, const char *name) {
    const size_t rows = state->shape[0], n = shared->shape[0];
    if (n == 0 ? rows == 0 : rows % n == 0) return true;
    return sv_fail(a, "the %zu rows of the state are no multiple of the %zu of %s", rows, n, name);
}

/* Rows of the state that one of `shared` serves. */
static inline long sv_coupling_each(const sv_tensor *state, const sv_tensor *shared) {
    return shared->shape[0] > 0 ? (long)(state->shape[0] / shared->shape[0]) : 1;
}

#endif
