/* conv.c: which algorithm computes a convolution. The plan of a call is made once; its passes then run from op to
 * algorithm to gemm.
 */
#include "conv.h"
#include <string.h>

/* In order of preference; the last one suits every shape. */
static const sv_conv_algorithm *const algorithms[] = {sv_conv_winograd, sv_conv_small_channels, sv_conv_gemm};

bool sv_conv_has_bf16(void) { return sv_bf16() != NULL; }

void sv_conv_make_plan(sv_conv_plan *p, const sv_conv *shape, bool bf16) {
    *p = (sv_conv_plan){.shape = *shape, .bf16 = bf16};
    for (int pass = 0; pass < SV_CONV_PASSES; pass++) {
        const sv_conv_algorithm *const *a = algorithms;
        while (!(*a)[pass].suits || !(*a)[pass].suits(shape, bf16)) a++;
        p->pass[pass].algorithm = &(*a)[pass];
        (*a)[pass].workspace(shape, bf16, &p->pass[pass]);
    }
}

const char *sv_conv_algorithm_name(const sv_conv_plan *p, enum sv_conv_pass pass) {
    return p->pass[pass].algorithm->name;
}

static void run(const sv_conv_plan *p, enum sv_conv_pass pass, const sv_conv_data *d) {
    p->pass[pass].algorithm->run(&p->shape, p->bf16, d);
}

void sv_conv_forward(const sv_conv_plan *p, const sv_real *x, const sv_real *weight, const sv_epilogue *epilogue,
                     sv_real *y, sv_conv_cache cache, sv_real *work) {
    const sv_conv_data d = {.x = x, .weight = weight, .epilogue = epilogue, .out = y, .cache = cache, .work = work};
    run(p, SV_CONV_FORWARD, &d);
}

void sv_conv_data_gradient(const sv_conv_plan *p, const sv_real *gy, const sv_real *weight, const sv_epilogue *epilogue,
                           sv_real *gx, sv_conv_cache cache, sv_real *work) {
    const sv_conv_data d = {.gy = gy, .weight = weight, .epilogue = epilogue, .out = gx, .cache = cache, .work = work};
    run(p, SV_CONV_DATA_GRADIENT, &d);
}

void sv_conv_weight_gradient(const sv_conv_plan *p, const sv_real *x, const sv_real *gy, sv_real *gw, sv_real *work) {
    const sv_conv_data d = {.x = x, .gy = gy, .out = gw, .work = work};
    run(p, SV_CONV_WEIGHT_GRADIENT, &d);
}

/* ---- zeros ---------------------------------------------------------------------------- */

/* The longest run of an image that may lie outside it: a kernel row, where such are read whole, or a pixel. */
long sv_conv_zeros(const sv_conv *c) {
    long widest = c->cin > c->cout ? c->cin : c->cout;
    long run = c->kw * widest <= SV_CONV_MERGE ? c->kw * widest : widest;
    if (run < SV_CONV_MERGE) run = SV_CONV_MERGE;
    return (run + 15) / 16 * 16;
}

sv_real *sv_conv_clear_zeros(const sv_conv *c, sv_real *work) {
    memset(work, 0, (size_t)sv_conv_zeros(c) * sizeof *work);
    return work + sv_conv_zeros(c);
}
