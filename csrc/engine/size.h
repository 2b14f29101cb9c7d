/* size.h: arithmetic with sizes that come from outside.
 *
 * An axis, and the product of all axes of a shape that are not 0, is at most
 * SV_MAX_COUNT; a whole number given as an option is within ±SV_MAX_INTEGER, where
 * doubles are exact. So the product of any axes of a tensor and the sum of a few
 * such numbers always fit 64 bits; other products go through sv_mul_size. */
#ifndef SV_SIZE_H
#define SV_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SV_MAX_COUNT ((size_t)1 << 48)
#define SV_MAX_INTEGER ((int64_t)1 << 53)

/* False: the result is larger than SV_MAX_COUNT; it is then that. */
static inline bool sv_mul_size(size_t a, size_t b, size_t *result) {
    if (!__builtin_mul_overflow(a, b, result) && *result <= SV_MAX_COUNT) return true;
    *result = SV_MAX_COUNT;
    return false;
}

/* Numbers of a tensor of that shape. False: they, or those of the axes that are not 0, are more than SV_MAX_COUNT. */
static inline bool sv_count_shape(int ndim, const size_t *shape, size_t *count) {
    size_t product = 1;
    bool empty = false;
    *count = 0;
    for (int i = 0; i < ndim; i++) {
        empty |= shape[i] == 0;
        if (shape[i] != 0 && !sv_mul_size(product, shape[i], &product)) return false;
    }
    *count = empty ? 0 : product;
    return true;
}

static inline bool sv_fits_integer(int64_t n) { return n >= -SV_MAX_INTEGER && n <= SV_MAX_INTEGER; }

#endif
