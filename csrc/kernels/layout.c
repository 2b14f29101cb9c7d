/* layout.c: images (n, c, hw) from plain to channels-last memory and back. */
#include "gemm.h"

typedef struct {
    long c, hw;
    const sv_real *from;
    sv_real *to;
} relayout;

/* Colour images: transpose is slow for blocks of three rows. */
SV_LOOP(interleave3, (long n, const sv_real *restrict from, sv_real *restrict to), (n, from, to)) {
    for (long p = 0; p < n; p++) {
        to[3 * p] = from[p];
        to[3 * p + 1] = from[n + p];
        to[3 * p + 2] = from[2 * n + p];
    }
}

static void transpose_to_last(void *arg, long n, int worker) {
    (void)worker;
    relayout *r = arg;
    const long image = n * r->c * r->hw;
    if (r->c == 3)
        interleave3(r->hw, r->from + image, r->to + image);
    else
        sv_cpu->gemm->transpose(r->c, r->hw, r->from + image, r->hw, r->to + image, r->c);
}

static void transpose_to_plain(void *arg, long n, int worker) {
    (void)worker;
    relayout *r = arg;
    const long image = n * r->c * r->hw;
    sv_cpu->gemm->transpose(r->hw, r->c, r->from + image, r->c, r->to + image, r->hw);
}

void sv_to_channels_last(long n, long c, long hw, const sv_real *plain, sv_real *last) {
    sv_parallel(n, transpose_to_last, &(relayout){c, hw, plain, last});
}

void sv_to_plain(long n, long c, long hw, const sv_real *last, sv_real *plain) {
    sv_parallel(n, transpose_to_plain, &(relayout){c, hw, last, plain});
}
