/* conv.h: the algorithms that convolutions are computed with. */
#ifndef SV_CONV_H
#define SV_CONV_H

#include "kernels.h"

/* What a pass reads and writes. Forward: x and weight to out = y. Data gradient: gy and weight to out = gx. Weight
 * gradient: x and gy to out = gw. */
typedef struct sv_conv_data {
    const sv_real *x, *gy, *weight;
    const sv_epilogue *epilogue; /* of the first two, or NULL */
    sv_real *out;
    sv_conv_cache cache;
    sv_real *work;
} sv_conv_data;

/* One algorithm for one pass. */
typedef struct sv_conv_algorithm {
    const char *name;
    bool (*suits)(const sv_conv *c, bool bf16);
    void (*workspace)(const sv_conv *c, bool bf16, struct sv_conv_choice *choice); /* fills its sizes and key */
    void (*run)(const sv_conv *c, bool bf16, const sv_conv_data *d);
} sv_conv_algorithm;

/* By pass. */
extern const sv_conv_algorithm sv_conv_winograd[SV_CONV_PASSES], sv_conv_small_channels[SV_CONV_PASSES],
    sv_conv_gemm[SV_CONV_PASSES];

/* Square kernels of neighbouring taps with as much padding at the left as at the top. */
static inline bool sv_conv_is_square(const sv_conv *c) {
    return c->kh == c->kw && c->pad_y == c->pad_x && c->dilation == 1;
}

/* ---- shared by them ---------------------------------------------------------------- */

/* Kernel rows of up to this many numbers are read as one run, else pixel by pixel. */
#define SV_CONV_MERGE 256

/* A row of zeros, which stands for pixels outside an image, at the start of the workspace. */
long sv_conv_zeros(const sv_conv *c);                          /* numbers, a multiple of 16 */
sv_real *sv_conv_clear_zeros(const sv_conv *c, sv_real *work); /* clears them; returns what follows */

/* The forward pass' weights as panels for a product (conv_gemm.c): in the cache, filled if it is not ready, or in work.
 */
void sv_conv_forward_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice);
const sv_real *sv_conv_forward_panels(const sv_conv *c, const sv_conv_data *d, bool bf16, sv_real *work);

/* Weights as the panels of a product's B: `outer` columns; its rows are pairs of a tap and an inner channel. */
typedef struct sv_weight_panels {
    const sv_real *w;
    long taps, inner, outer;
    long inner_step, outer_step; /* of w; that of a tap is 1 */
    /* Where the panels of a tap's product start, its first row in them, and their number of rows. */
    long (*place)(const sv_conv *c, long tap, long inner, long *first, long *depth);
    const sv_conv *c;
    sv_real *panels;
} sv_weight_panels;

void sv_pack_weights(const sv_weight_panels *s);

#endif
