/* conv_patches.h: patches of images as rows of a matrix (implicit im2col), and the pixels of a phase as rows of
 * another.
 */
#ifndef SV_CONV_PATCHES_H
#define SV_CONV_PATCHES_H

#include "conv.h"

/* Row (image, t, u) is the kh x kw patch, of pixels `dilation` apart, whose corner is pixel (t * stride + y0,
 * u * stride + x0). */
typedef struct sv_patches {
    const sv_real *x;
    long h, w, channels;
    long kh, kw, stride, dilation, y0, x0;
    long down, across; /* patches in an image */
    const sv_real *zeros;
    bool merged; /* kernel rows are read as one run */
} sv_patches;

sv_rows sv_patch_rows(sv_patches *v); /* the operand of a product; v must live as long */

/* Row (image, t, u) is pixel (t * stride + y0, u * stride + x0). */
typedef struct sv_pixels {
    sv_real *x;
    long h, w, channels, stride, y0, x0, down, across;
} sv_pixels;

/* sv_product.locate_c with sv_pixels as its argument. */
void sv_locate_pixels(const void *arg, long row, long n, sv_real **at);

#endif
