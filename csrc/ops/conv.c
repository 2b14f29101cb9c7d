/* conv2d and conv_transpose2d: checks and rows; the loops are in conv_kernel.c. A
 * transposed convolution is a convolution seen from the other side (its forward is
 * the other's data gradient), so that both share one struct and three functions. */
#include "../simvae.h"

/* ---- conv2d -------------------------------------------------------------------- */

static sv_conv conv_of(const sv_args *a) {
    const sv_tensor *x = a->in[0], *w = a->in[1];
    return (sv_conv){.n = (long)x->shape[0],
                     .h = (long)x->shape[2],
                     .w = (long)x->shape[3],
                     .cin = (long)x->shape[1],
                     .oh = (long)a->shape[2],
                     .ow = (long)a->shape[3],
                     .cout = (long)w->shape[0],
                     .kernel = (long)w->shape[2],
                     .stride = (long)a->opt[0],
                     .pad = (long)a->opt[1]};
}

/* Checks that both kinds share; channels: the axis of w that meets x's channels. */
static bool check(sv_args *a, int channels) {
    const sv_tensor *x = a->in[0], *w = a->in[1], *b = a->in[2];
    if (x->ndim != 4) return sv_fail(a, "x must be (N, C, H, W)");
    if (w->ndim != 4 || w->shape[2] != w->shape[3])
        return sv_fail(a, channels ? "w must be (out, in, K, K)" : "w must be (in, out, K, K)");
    if (x->shape[1] != w->shape[channels])
        return sv_fail(a, "x has %zu channels, w takes %zu", x->shape[1], w->shape[channels]);
    if (b && (b->ndim != 1 || b->shape[0] != w->shape[!channels]))
        return sv_fail(a, "b must be (%zu,), one for each output channel", w->shape[!channels]);
    if (a->opt[0] < 1) return sv_fail(a, "stride must be 1 or more; got %g", a->opt[0]);
    if (a->opt[1] < 0) return sv_fail(a, "padding must be 0 or more; got %g", a->opt[1]);
    a->ndim = 4;
    a->shape[0] = x->shape[0];
    a->shape[1] = w->shape[!channels];
    return true;
}

static void need_work(sv_args *a, const sv_conv *c, long rows) {
    size_t sums = sv_column_sums_work(rows, (long)a->shape[1]), loops = sv_conv_work(c);
    a->work_count = loops;
    a->backward_work_count = sums > loops ? sums : loops;
}

static bool conv_shape(sv_args *a) {
    if (!check(a, 1)) return false;
    long kernel = (long)a->in[1]->shape[2];
    for (int i = 2; i < 4; i++) {
        long room = (long)a->in[0]->shape[i] + 2 * (long)a->opt[1] - kernel;
        if (room < 0) return sv_fail(a, "the kernel of %ld does not fit the padded image", kernel);
        a->shape[i] = (size_t)(room / (long)a->opt[0] + 1);
    }
    sv_conv c = conv_of(a);
    need_work(a, &c, c.n * c.oh * c.ow);
    a->kept_count = sv_conv_kept(&c, false, &a->kept_key);
    return true;
}

static void conv_forward(sv_args *a) {
    sv_conv c = conv_of(a);
    c.kept = a->kept;
    c.ready = a->kept_ready;
    sv_conv_forward(&c, a->in[0]->data, a->in[1]->data, a->in[2] ? a->in[2]->data : NULL, a->out->data, a->work);
}

static void conv_backward(sv_args *a) {
    sv_conv c = conv_of(a);
    if (a->grad_in[0]) sv_conv_grad_x(&c, a->grad_out, a->in[1]->data, NULL, a->grad_in[0], a->work);
    if (a->grad_in[1]) sv_conv_grad_w(&c, a->in[0]->data, a->grad_out, a->grad_in[1], a->work);
    if (a->in[2] && a->grad_in[2]) sv_column_sums(c.n * c.oh * c.ow, c.cout, a->grad_out, a->grad_in[2], a->work);
}

/* ---- conv_transpose2d ---------------------------------------------------------- */

/* The convolution that it is the transpose of: from out to x. */
static sv_conv transposed_of(const sv_args *a) {
    const sv_tensor *x = a->in[0], *w = a->in[1];
    return (sv_conv){.n = (long)x->shape[0],
                     .h = (long)a->shape[2],
                     .w = (long)a->shape[3],
                     .cin = (long)w->shape[1],
                     .oh = (long)x->shape[2],
                     .ow = (long)x->shape[3],
                     .cout = (long)w->shape[0],
                     .kernel = (long)w->shape[2],
                     .stride = (long)a->opt[0],
                     .pad = (long)a->opt[1]};
}

static bool transposed_shape(sv_args *a) {
    if (!check(a, 0)) return false;
    long stride = (long)a->opt[0], pad = (long)a->opt[1], extra = (long)a->opt[2], kernel = (long)a->in[1]->shape[2];
    if (extra < 0 || extra >= stride)
        return sv_fail(a, "output_padding must be 0 to stride - 1; got %ld with stride %ld", extra, stride);
    for (int i = 2; i < 4; i++) {
        long size = ((long)a->in[0]->shape[i] - 1) * stride - 2 * pad + kernel + extra;
        if (a->in[0]->shape[i] < 1 || size < 1) return sv_fail(a, "padding %ld leaves nothing of the image", pad);
        a->shape[i] = (size_t)size;
    }
    sv_conv c = transposed_of(a);
    need_work(a, &c, c.n * c.h * c.w);
    a->kept_count = sv_conv_kept(&c, true, &a->kept_key);
    return true;
}

static void transposed_forward(sv_args *a) {
    sv_conv c = transposed_of(a);
    c.kept = a->kept;
    c.ready = a->kept_ready;
    sv_conv_grad_x(&c, a->in[0]->data, a->in[1]->data, a->in[2] ? a->in[2]->data : NULL, a->out->data, a->work);
}

static void transposed_backward(sv_args *a) {
    sv_conv c = transposed_of(a);
    if (a->grad_in[0]) sv_conv_forward(&c, a->grad_out, a->in[1]->data, NULL, a->grad_in[0], a->work);
    if (a->grad_in[1]) sv_conv_grad_w(&c, a->grad_out, a->in[0]->data, a->grad_in[1], a->work);
    if (a->in[2] && a->grad_in[2]) sv_column_sums(c.n * c.h * c.w, c.cin, a->grad_out, a->grad_in[2], a->work);
}

const sv_op sv_ops_conv[] = {
    {"conv2d", "x, w, b?; stride:int=1, padding:int=0", conv_shape, conv_forward, conv_backward, SV_OP_CHANNELS_LAST,
     "x (N, in, H, W), w (out, in, K, K), b (out) -> (N, out, (H + 2 padding - K) / stride + 1, …): "
     "cross-correlation, as in PyTorch.",
     "r(2, 3, 6, 6), r(4, 3, 4, 4), r(4), {stride = 2, padding = 1}"},
    {"conv_transpose2d", "x, w, b?; stride:int=1, padding:int=0, output_padding:int=0", transposed_shape,
     transposed_forward, transposed_backward, SV_OP_CHANNELS_LAST,
     "x (N, in, H, W), w (in, out, K, K), b (out) -> (N, out, (H - 1) stride - 2 padding + K + output_padding, …): "
     "the transpose of conv2d (Dumoulin and Visin 2016).",
     "r(2, 3, 3, 3), r(3, 2, 5, 5), r(2), {stride = 2, padding = 2, output_padding = 1}"},
    {0},
};
