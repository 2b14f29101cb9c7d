/* pool.c: average pooling and nearest-neighbour upsampling by k x k blocks, for losses
 * at several scales.
 *
 * Both layouts are the same loop: an image is rows of `width` pixels of `depth`
 * adjacent numbers, depth being 1 in plain layout (an image per channel) and C
 * channels-last (an image per sample). */
#include "axes.h"

enum { FACTOR };                           /* the option of every row here */
enum { ROW = 4096, MAX_FACTOR = 1 << 20 }; /* ROW: numbers of one output row summed at a time */

typedef struct {
    size_t images, height, width, depth, k; /* of the small image */
    const sv_real *from;
    sv_real *to;
    sv_real scale;
    size_t each; /* rows of the small image per piece */
} pool_work;

static size_t factor(const sv_args *a) { return (size_t)a->opt[FACTOR]; }

static bool image_shape(sv_args *a, const char *what) {
    const sv_tensor *x = a->in[0];
    if (x->ndim != 4) return sv_fail(a, "takes images (N, C, H, W)");
    if (a->opt[FACTOR] < 1 || a->opt[FACTOR] > MAX_FACTOR)
        return sv_fail(a, "%s must be 1 to %d; got %.0f", what, MAX_FACTOR, a->opt[FACTOR]);
    return sv_same_shape(a, x);
}

static bool avg_pool_shape(sv_args *a) {
    if (!image_shape(a, "kernel")) return false;
    for (int i = 2; i < 4; i++) {
        if (a->shape[i] % factor(a)) return sv_fail(a, "height and width must be multiples of kernel %zu", factor(a));
        a->shape[i] /= factor(a);
    }
    return true;
}

static bool upsample_shape(sv_args *a) {
    if (!image_shape(a, "factor")) return false;
    for (int i = 2; i < 4; i++)
        if (!sv_mul_size(a->shape[i], factor(a), &a->shape[i])) return sv_fail(a, "factor %zu is too large", factor(a));
    return true;
}

static pool_work prepare(const sv_args *a, const sv_tensor *small, const sv_real *from, sv_real *to, double scale) {
    bool last = small->layout == SV_CHANNELS_LAST;
    pool_work w = {.images = small->shape[0] * (last ? 1 : small->shape[1]),
                   .height = small->shape[2],
                   .width = small->shape[3],
                   .depth = last ? small->shape[1] : 1,
                   .k = factor(a),
                   .from = from,
                   .to = to,
                   .scale = (sv_real)scale};
    size_t numbers = w.width * w.depth * w.k * w.k; /* of the large image per row of the small one */
    w.each = numbers && numbers < SV_CHUNK ? SV_CHUNK / numbers : 1;
    return w;
}

static void run_rows(pool_work *w, sv_body body) {
    size_t rows = w->images * w->height;
    if (w->width * w->depth > 0) sv_parallel((long)((rows + w->each - 1) / w->each), body, w);
}

/* Sums k rows of n numbers. */
SV_INLINE void sum_rows(size_t n, size_t k, size_t stride, const sv_real *x, sv_real *sum) {
    for (size_t i = 0; i < n; i++) sum[i] = x[i];
    for (size_t r = 1; r < k; r++)
        for (size_t i = 0; i < n; i++) sum[i] += x[r * stride + i];
}

/* One small row: the k rows are added first, then k neighbours at a time. */
SV_LOOP(shrink_row, (const pool_work *w, const sv_real *x, sv_real *y), (w, x, y)) {
    const size_t k = w->k, depth = w->depth, stride = w->width * k * depth;
    const sv_real scale = w->scale;
    sv_real sum[ROW];
    if (k * depth > ROW) { /* a block wider than the buffer */
        for (size_t p = 0; p < w->width * depth; p++) {
            double total = 0;
            for (size_t r = 0; r < k; r++)
                for (size_t i = 0; i < k; i++) total += (double)x[r * stride + (p / depth * k + i) * depth + p % depth];
            y[p] = scale * (sv_real)total;
        }
        return;
    }
    const size_t blocks = ROW / (k * depth);
    for (size_t first = 0; first < w->width; first += blocks) {
        size_t n = w->width - first < blocks ? w->width - first : blocks;
        sum_rows(n * k * depth, k, stride, x + first * k * depth, sum);
        if (depth == 1) {
            for (size_t half = k; half % 2 == 0; half /= 2) /* pairs, in place: k is mostly a power of two */
                for (size_t i = 0; i < n * half / 2; i++) sum[i] = sum[2 * i] + sum[2 * i + 1];
            size_t left = k;
            while (left % 2 == 0) left /= 2;
            for (size_t p = 0; p < n; p++) {
                sv_real total = sum[p * left];
                for (size_t i = 1; i < left; i++) total += sum[p * left + i];
                y[first + p] = scale * total;
            }
        } else
            for (size_t p = 0; p < n; p++)
                for (size_t c = 0; c < depth; c++) {
                    sv_real total = 0;
                    for (size_t i = 0; i < k; i++) total += sum[(p * k + i) * depth + c];
                    y[(first + p) * depth + c] = scale * total;
                }
    }
}

/* One small row to k large ones, each number to a k x k block. */
static void grow_row(const pool_work *w, const sv_real *x, sv_real *y) {
    const size_t k = w->k, depth = w->depth, stride = w->width * k * depth;
    if (depth == 1)
        for (size_t p = 0; p < w->width; p++) {
            const sv_real v = w->scale * x[p];
            for (size_t i = 0; i < k; i++) y[p * k + i] = v;
        }
    else
        for (size_t p = 0; p < w->width; p++)
            for (size_t i = 0; i < k; i++)
                for (size_t c = 0; c < depth; c++) y[(p * k + i) * depth + c] = w->scale * x[p * depth + c];
    for (size_t r = 1; r < k; r++) memcpy(y + r * stride, y, stride * sizeof *y);
}

static void shrink_piece(void *arg, long piece, int worker) {
    (void)worker;
    const pool_work *w = arg;
    size_t rows = w->images * w->height, small = w->width * w->depth, large = small * w->k * w->k;
    size_t end = ((size_t)piece + 1) * w->each < rows ? ((size_t)piece + 1) * w->each : rows;
    for (size_t r = (size_t)piece * w->each; r < end; r++) shrink_row(w, w->from + r * large, w->to + r * small);
}

static void grow_piece(void *arg, long piece, int worker) {
    (void)worker;
    const pool_work *w = arg;
    size_t rows = w->images * w->height, small = w->width * w->depth, large = small * w->k * w->k;
    size_t end = ((size_t)piece + 1) * w->each < rows ? ((size_t)piece + 1) * w->each : rows;
    for (size_t r = (size_t)piece * w->each; r < end; r++) grow_row(w, w->from + r * small, w->to + r * large);
}

static double area(const sv_args *a) { return (double)factor(a) * (double)factor(a); }

static void avg_pool_forward(sv_args *a) {
    pool_work w = prepare(a, a->out, a->in[0]->data, a->out->data, 1 / area(a));
    run_rows(&w, shrink_piece);
}

static void avg_pool_backward(sv_args *a) {
    pool_work w = prepare(a, a->out, a->grad_out, a->grad_in[0], 1 / area(a));
    run_rows(&w, grow_piece);
}

static void upsample_forward(sv_args *a) {
    pool_work w = prepare(a, a->in[0], a->in[0]->data, a->out->data, 1);
    run_rows(&w, grow_piece);
}

static void upsample_backward(sv_args *a) {
    pool_work w = prepare(a, a->in[0], a->grad_out, a->grad_in[0], 1);
    run_rows(&w, shrink_piece);
}

const sv_op sv_ops_pool[] = {
    {"avg_pool2d", "x; kernel:int", avg_pool_shape, avg_pool_forward, avg_pool_backward, SV_OP_LAYOUT_FREE,
     "Means of kernel x kernel blocks of images (N, C, H, W); H and W are multiples of kernel.", "r(2, 3, 4, 6), 2"},
    {"upsample2d", "x; factor:int", upsample_shape, upsample_forward, upsample_backward, SV_OP_LAYOUT_FREE,
     "Images (N, C, H, W) with every pixel repeated factor times in both directions (nearest neighbour).",
     "r(2, 3, 2, 3), 3"},
    {0},
};
