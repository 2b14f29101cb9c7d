/* conv.c: conv2d and conv_transpose2d: checks, plans and rows; the loops are csrc/kernels/conv*.c. A transposed
 * convolution is a convolution seen from the other side (its forward pass is the other's data gradient), so both share
 * one struct and three functions.
 *
 * Each has a variant followed by a batch norm of constant statistics, as in frozen networks. The norm and the
 * activation are the convolution's epilogue. */
#include "../simvae.h"

enum { WEIGHT = 1, BIAS, SCALE, SHIFT, RUNNING_MEAN, RUNNING_VAR };
enum { STRIDE, PADDING, EXTRA };
enum { MAX_STRIDE = 1 << 10, MAX_PADDING = 1 << 16 }; /* phases are stride^2 */

/* Options after those of the convolution. */
static const double *activation_of(const sv_args *a, bool transposed) { return a->opt + (transposed ? 3 : 2); }
enum { ACTIVATION, SLOPE, EPS };
enum { FULL, BF16 }; /* the choices of the last one */

static bool has_norm(const sv_args *a) { return a->nin > SCALE; }

/* The options after the activation's. */
static const double *last_of(const sv_args *a, bool transposed) {
    return activation_of(a, transposed) + (has_norm(a) ? EPS + 1 : SLOPE + 1);
}
enum {
    PRECISION,
    TOP,
    DILATION = TOP + 4
}; /* TOP: rows at the top, at the bottom, columns at the left, at the right */

static bool in_bf16(const sv_args *a, bool transposed) { return last_of(a, transposed)[PRECISION] == BF16; }

/* Zeros at the start and at the end of axis 2 or 3; of a transposed convolution, what is cut off there. */
static long start_of(const sv_args *a, bool transposed, int axis) {
    return (long)a->opt[PADDING] + (long)last_of(a, transposed)[TOP + 2 * (axis - 2)];
}

static long end_of(const sv_args *a, bool transposed, int axis) {
    return (long)a->opt[PADDING] + (long)last_of(a, transposed)[TOP + 2 * (axis - 2) + 1];
}

static long dilation_of(const sv_args *a, bool transposed) { return (long)last_of(a, transposed)[DILATION]; }

/* From the first tap to the last, along axis 2 or 3. */
static long reach_of(const sv_args *a, bool transposed, int axis) {
    return ((long)a->in[WEIGHT]->shape[axis] - 1) * dilation_of(a, transposed) + 1;
}

static bool check_options(sv_args *a, bool transposed) {
    static const char *const ends[] = {"top", "bottom", "left", "right"};
    if (a->opt[STRIDE] < 1 || a->opt[STRIDE] > MAX_STRIDE)
        return sv_fail(a, "stride must be 1 to %d; got %.0f", MAX_STRIDE, a->opt[STRIDE]);
    if (a->opt[PADDING] < 0 || a->opt[PADDING] > MAX_PADDING)
        return sv_fail(a, "padding must be 0 to %d; got %.0f", MAX_PADDING, a->opt[PADDING]);
    for (int i = 0; i < 4; i++) {
        double end = last_of(a, transposed)[TOP + i];
        if (end < 0 || end > MAX_PADDING) return sv_fail(a, "%s must be 0 to %d; got %.0f", ends[i], MAX_PADDING, end);
    }
    double dilation = last_of(a, transposed)[DILATION];
    if (dilation < 1 || dilation > MAX_PADDING)
        return sv_fail(a, "dilation must be 1 to %d; got %.0f", MAX_PADDING, dilation);
    if (dilation > 1 && a->opt[STRIDE] > 1)
        return sv_fail(a, "a dilation above 1 takes stride 1; got dilation %.0f, stride %.0f", dilation,
                       a->opt[STRIDE]);
    if (in_bf16(a, transposed) && !sv_conv_has_bf16())
        return sv_fail(a, "precision: this CPU has no products of bf16; leave it full");
    double slope = activation_of(a, transposed)[SLOPE];
    if (slope < 0) return sv_fail(a, "slope must be 0 or more; got %g", slope);
    return true;
}

/* Shared checks. channels: the axis of w that matches x's channels, 0 for a transposed convolution. */
static bool check(sv_args *a, int channels) {
    static const char *const names[] = {"", "", "b", "scale", "shift", "running_mean", "running_var"};
    const sv_tensor *x = a->in[0], *w = a->in[WEIGHT];
    if (x->ndim != 4) return sv_fail(a, "x must be (N, C, H, W)");
    if (w->ndim != 4) return sv_fail(a, channels ? "w must be (out, in, KH, KW)" : "w must be (in, out, KH, KW)");
    if (x->shape[1] != w->shape[channels])
        return sv_fail(a, "x has %zu channels, w takes %zu", x->shape[1], w->shape[channels]);
    for (int k = BIAS; k < a->nin; k++) {
        const sv_tensor *t = a->in[k];
        if (t && (t->ndim != 1 || t->shape[0] != w->shape[!channels]))
            return sv_fail(a, "%s must be (%zu,), one for each output channel", names[k], w->shape[!channels]);
        if (k > BIAS && t->needs_grad)
            return sv_fail(a, "%s is a constant here; freeze it, or use batch_norm on its own", names[k]);
    }
    if (w->shape[2] < 1 || w->shape[3] < 1)
        return sv_fail(a, "w must have a kernel of 1 x 1 or more; got %zu x %zu", w->shape[2], w->shape[3]);
    if (w->shape[0] < 1 || w->shape[1] < 1) return sv_fail(a, "w must have 1 channel or more on either side; got 0");
    if (x->shape[2] < 1 || x->shape[3] < 1) return sv_fail(a, "x must have images of 1 x 1 or more");
    if (!check_options(a, channels == 0)) return false;
    a->ndim = 4;
    a->shape[0] = x->shape[0];
    a->shape[1] = w->shape[!channels];
    if (has_norm(a)) a->aux_count[0] = a->aux_count[1] = a->shape[1];
    return true;
}

/* Makes the plan, and counts the workspace and the weight cache of the passes that the op's own two consist of. */
static void make_plan(sv_args *a, const sv_conv *shape, bool transposed, long rows) {
    sv_conv_plan *p = &a->plan.conv;
    sv_conv_make_plan(p, shape, in_bf16(a, transposed));
    const struct sv_conv_choice *first = &p->pass[transposed ? SV_CONV_DATA_GRADIENT : SV_CONV_FORWARD];
    const struct sv_conv_choice *second = &p->pass[transposed ? SV_CONV_FORWARD : SV_CONV_DATA_GRADIENT];
    size_t weight = p->pass[SV_CONV_WEIGHT_GRADIENT].workspace, work = sv_column_sums_work(rows, (long)a->shape[1]);
    if (second->workspace > work) work = second->workspace;
    if (weight > work) work = weight;
    a->work_count = first->workspace;
    a->backward_work_count = work;
    a->cache_count[0] = first->cache;
    a->cache_count[1] = second->cache;
}

/* Gain and bias of a folded batch norm, in aux, where forward has stored them. */
static sv_epilogue epilogue_of(const sv_args *a, bool transposed) {
    const double *options = activation_of(a, transposed);
    const sv_real slopes[] = {1, 0, (sv_real)options[SLOPE]};
    sv_epilogue epilogue = {.bias = a->in[BIAS] ? a->in[BIAS]->data : NULL, .slope = slopes[(int)options[ACTIVATION]]};
    if (!has_norm(a)) return epilogue;
    epilogue.gain = a->aux[0];
    epilogue.bias = a->aux[1];
    return epilogue;
}

static void fold_norm(const sv_args *a, bool transposed) {
    if (!has_norm(a)) return;
    const sv_real *b = a->in[BIAS] ? a->in[BIAS]->data : NULL, *mean = a->in[RUNNING_MEAN]->data;
    sv_real *gain = a->aux[0], *bias = a->aux[1];
    sv_batch_norm norm = {.cols = (long)a->shape[1], .eps = (sv_real)activation_of(a, transposed)[EPS]};
    sv_batch_norm_inverse(&norm, a->in[RUNNING_VAR]->data, gain);
    for (long j = 0; j < norm.cols; j++) {
        gain[j] *= a->in[SCALE]->data[j];
        bias[j] = a->in[SHIFT]->data[j] + ((b ? b[j] : 0) - mean[j]) * gain[j];
    }
}

/* The weight cache of the op's forward or backward pass, which is this pass of the convolution. */
static sv_conv_cache cache_of(const sv_args *a, bool backward, enum sv_conv_pass pass) {
    const struct sv_conv_choice *choice = &a->plan.conv.pass[pass];
    sv_conv_cache cache = {0};
    if (choice->cache > 0)
        cache.numbers = sv_weight_cache_numbers(a, backward, choice->cache, choice->cache_key, &cache.ready);
    return cache;
}

/* The gradient of the convolution before its epilogue, and of its bias. */
static const sv_real *gradient(sv_args *a, bool transposed, long rows) {
    sv_epilogue epilogue = epilogue_of(a, transposed);
    long cols = (long)a->shape[1];
    bool bias = a->in[BIAS] && a->grad_in[BIAS];
    if (a->again) return a->grad_out;
    sv_epilogue_gradient(&epilogue, rows, cols, a->out->data, a->grad_out);
    if (bias) sv_column_sums(rows, cols, a->grad_out, a->grad_in[BIAS], a->work);
    return a->grad_out;
}

/* ---- conv2d -------------------------------------------------------------------- */

static sv_conv conv_of(const sv_args *a) {
    const sv_tensor *x = a->in[0], *w = a->in[WEIGHT];
    return (sv_conv){.n = (long)x->shape[0],
                     .h = (long)x->shape[2],
                     .w = (long)x->shape[3],
                     .cin = (long)x->shape[1],
                     .oh = (long)a->shape[2],
                     .ow = (long)a->shape[3],
                     .cout = (long)w->shape[0],
                     .kh = (long)w->shape[2],
                     .kw = (long)w->shape[3],
                     .stride = (long)a->opt[STRIDE],
                     .pad_y = start_of(a, false, 2),
                     .pad_x = start_of(a, false, 3),
                     .dilation = dilation_of(a, false)};
}

static bool conv_shape(sv_args *a) {
    if (!check(a, 1)) return false;
    for (int i = 2; i < 4; i++) {
        long reach = reach_of(a, false, i);
        long room = (long)a->in[0]->shape[i] + start_of(a, false, i) + end_of(a, false, i) - reach;
        if (room < 0) return sv_fail(a, "the kernel of %ld does not fit the padded image", reach);
        a->shape[i] = (size_t)(room / (long)a->opt[STRIDE] + 1);
    }
    sv_conv c = conv_of(a);
    make_plan(a, &c, false, c.n * c.oh * c.ow);
    return true;
}

static void conv_forward(sv_args *a) {
    fold_norm(a, false);
    sv_epilogue epilogue = epilogue_of(a, false);
    sv_conv_forward(&a->plan.conv, a->in[0]->data, a->in[WEIGHT]->data, &epilogue, a->out->data,
                    cache_of(a, false, SV_CONV_FORWARD), a->work);
}

static void conv_backward(sv_args *a) {
    const sv_conv *c = &a->plan.conv.shape;
    const sv_real *g = gradient(a, false, c->n * c->oh * c->ow);
    if (a->grad_in[0])
        sv_conv_data_gradient(&a->plan.conv, g, a->in[WEIGHT]->data, NULL, a->grad_in[0],
                              cache_of(a, true, SV_CONV_DATA_GRADIENT), a->work);
    if (a->grad_in[WEIGHT]) sv_conv_weight_gradient(&a->plan.conv, a->in[0]->data, g, a->grad_in[WEIGHT], a->work);
}

/* ---- conv_transpose2d ---------------------------------------------------------- */

/* The convolution that it is the transpose of: from out to x. */
static sv_conv transposed_of(const sv_args *a) {
    const sv_tensor *x = a->in[0], *w = a->in[WEIGHT];
    return (sv_conv){.n = (long)x->shape[0],
                     .h = (long)a->shape[2],
                     .w = (long)a->shape[3],
                     .cin = (long)w->shape[1],
                     .oh = (long)x->shape[2],
                     .ow = (long)x->shape[3],
                     .cout = (long)w->shape[0],
                     .kh = (long)w->shape[2],
                     .kw = (long)w->shape[3],
                     .stride = (long)a->opt[STRIDE],
                     .pad_y = start_of(a, true, 2),
                     .pad_x = start_of(a, true, 3),
                     .dilation = dilation_of(a, true)};
}

static bool transposed_shape(sv_args *a) {
    if (!check(a, 0)) return false;
    long stride = (long)a->opt[STRIDE], extra = (long)a->opt[EXTRA];
    if (extra < 0 || extra >= stride)
        return sv_fail(a, "output_padding must be 0 to stride - 1; got %ld with stride %ld", extra, stride);
    for (int i = 2; i < 4; i++) {
        long cut = start_of(a, true, i) + end_of(a, true, i);
        long size = ((long)a->in[0]->shape[i] - 1) * stride - cut + reach_of(a, true, i) + extra;
        if (a->in[0]->shape[i] < 1 || size < 1)
            return sv_fail(a, "padding that cuts off %ld leaves nothing of the image", cut);
        a->shape[i] = (size_t)size;
    }
    sv_conv c = transposed_of(a);
    make_plan(a, &c, true, c.n * c.h * c.w);
    return true;
}

static void transposed_forward(sv_args *a) {
    fold_norm(a, true);
    sv_epilogue epilogue = epilogue_of(a, true);
    sv_conv_data_gradient(&a->plan.conv, a->in[0]->data, a->in[WEIGHT]->data, &epilogue, a->out->data,
                          cache_of(a, false, SV_CONV_DATA_GRADIENT), a->work);
}

static void transposed_backward(sv_args *a) {
    const sv_conv *c = &a->plan.conv.shape;
    const sv_real *g = gradient(a, true, c->n * c->h * c->w);
    if (a->grad_in[0])
        sv_conv_forward(&a->plan.conv, g, a->in[WEIGHT]->data, NULL, a->grad_in[0], cache_of(a, true, SV_CONV_FORWARD),
                        a->work);
    if (a->grad_in[WEIGHT]) sv_conv_weight_gradient(&a->plan.conv, g, a->in[0]->data, a->grad_in[WEIGHT], a->work);
}

#define ACTIVATED "activation:enum(none|relu|leaky_relu)=none, slope:num=0.2"
#define LAST ", precision:enum(full|bf16)=full, top:int=0, bottom:int=0, left:int=0, right:int=0, dilation:int=1"
#define NORM "scale, shift, running_mean, running_var"

const sv_op sv_ops_conv[] = {
    {"conv2d", "x, w, b?; stride:int=1, padding:int=0, " ACTIVATED LAST, conv_shape, conv_forward, conv_backward,
     SV_OP_CHANNELS_LAST | SV_OP_TWICE,
     "x (N, in, H, W), w (out, in, KH, KW), b (out) -> (N, out, (H + 2 padding + top + bottom - (KH - 1) dilation - 1) "
     "/ "
     "stride + 1, …): cross-correlation, as in PyTorch, and, in the same pass, activated. top, bottom, left and right: "
     "rows and columns of zeros there, beyond padding. dilation: pixels from tap to tap; above 1 with stride 1 alone. "
     "precision bf16 rounds the factors of products, here and in gradients; sums are full.",
     "r(2, 3, 6, 5), r(4, 3, 4, 3), r(4), {stride = 2, padding = 1, right = 1}"},
    {"conv_transpose2d", "x, w, b?; stride:int=1, padding:int=0, output_padding:int=0, " ACTIVATED LAST,
     transposed_shape, transposed_forward, transposed_backward, SV_OP_CHANNELS_LAST | SV_OP_TWICE,
     "x (N, in, H, W), w (in, out, KH, KW), b (out) -> (N, out, (H - 1) stride - 2 padding - top - bottom + (KH - 1) "
     "dilation + 1 + output_padding, …): the transpose of conv2d (Dumoulin and Visin 2016), and, in the same pass, "
     "activated. top, bottom, left and right: rows and columns that are cut off there, beyond padding.",
     "r(2, 3, 3, 3), r(3, 2, 5, 4), r(2), {stride = 2, padding = 2, output_padding = 1, bottom = 1}"},
    {"conv2d_norm", "x, w, b?, " NORM "; stride:int=1, padding:int=0, " ACTIVATED ", eps:num=1e-5" LAST, conv_shape,
     conv_forward, conv_backward, SV_OP_CHANNELS_LAST,
     "conv2d and a batch_norm in evaluation behind it, in one pass; the norm's tensors (out) are constants.",
     "r(2, 3, 6, 6), r(2, 3, 4, 4), r(2), tensor{2, -1}, tensor{0.5, 1}, tensor{1, 0}, tensor{4, 0.5}, "
     "{stride = 2, padding = 1}"},
    {"conv_transpose2d_norm",
     "x, w, b?, " NORM "; stride:int=1, padding:int=0, output_padding:int=0, " ACTIVATED ", eps:num=1e-5" LAST,
     transposed_shape, transposed_forward, transposed_backward, SV_OP_CHANNELS_LAST,
     "conv_transpose2d and a batch_norm in evaluation behind it, in one pass; the norm's tensors (out) are constants.",
     "r(2, 3, 3, 3), r(3, 2, 5, 5), r(2), tensor{2, -1}, tensor{0.5, 1}, tensor{1, 0}, tensor{4, 0.5}, "
     "{stride = 2, padding = 2, output_padding = 1}"},
    {0},
};
