/* conv_winograd_weight.c: the weight gradient of the convolutions of conv_winograd.c, by Winograd's transforms.
 *
 * Weight (o, c, tap) contributes to every pixel of gy. Of a phase's taps, the gradient is that of the forward sum
 * (conv_winograd.h), along an axis
 *
 *   y = A' ((G g) * (B' d))     so      the gradient of sum of y gy by g is   G' ((A gy) * (B' d))
 *
 * (' transposes). A gy is the gradient's polynomial at the same points (gradient transform), B' d the input transform
 * of the forward pass, and G' (weight gradient transform) is the same for all tiles, so it is applied once, after they
 * have been summed:
 *
 *   gy: 4x4 pixels   gradient  W[q] [tiles][co]
 *   of a tile        ------>       | transposed
 *                                  x     = M[q] [co][4 phases of ci]  for q of 25
 *   x: 5x5 pixels,   input     V[q] [tiles][4 phases of ci]     |
 *   each phase       ------>                                    | weight gradient, once
 *                                             gw [co][ci][16] <-+
 *
 * Sums run over tiles and images: 25 multiplications in place of 64 for a tile of 4x4. A task takes a block of co and
 * of ci and a part of the tiles, some tiles at a time, and keeps V, W and M in scratch. V is recomputed for each block
 * of co, W for each block of ci: that is cheaper than to write them to main memory and read them back, even than to
 * keep V from the forward pass, since x is a quarter of its size. Where blocks are few the tiles are cut into parts,
 * whose gradients are added in order. The cut depends on the shapes alone.
 */
#include "conv_winograd.h"

enum {
    ROWS = 512 / sizeof(sv_real),  /* output channels of a task: 128, half as many in double or of 3x3 taps */
    INNER = 128,                   /* input channels of a task, over the phases of x */
    CHUNK = 256 / sizeof(sv_real), /* tiles of a step: 64; twice as many as pairs */
    TASKS = 16,                    /* aimed at */
    PART_MIN = 64,                 /* tiles in a part */
    BLOCK = SV_MR * SV_NR          /* M is stored by tiles of the micro-kernel, one after the other */
};

#define FITS(points, rows)                                                                                           \
    ((points) * sizeof(sv_real) * (CHUNK * (INNER + SLACK) + CHUNK * ((rows) + SLACK) + (rows)*INNER + 3 * SLACK) <= \
     SV_SCRATCH_BYTES)
_Static_assert(FITS(25, ROWS) && FITS(POINTS, ROWS / 2), "V, W and M of a task fit scratch");

typedef struct gradient {
    const sv_winograd *tile;
    const sv_winograd_transforms *transforms;
    void (*micro_kernel)(const sv_tile *t);
    sv_winograd_view x, gy;
    long pairing;      /* 2: bfloat16 pairs; else 1 */
    long taps, phases; /* of the kernel; of x */
    long products, tiles;
    long rows, inner, chunk; /* of a task; tiles of a step */
    long row_blocks, inner_blocks, parts;
    sv_real *gw, *sums; /* sums: a gradient for each part */
} gradient;

static void run_task(void *arg, long task, int worker) {
    const gradient *g = arg;
    long cout = g->gy.channels, cin = g->x.channels, part = task / g->row_blocks / g->inner_blocks;
    long o0 = task % g->row_blocks * g->rows, rows = sv_min(g->rows, cout - o0);
    long c0 = task / g->row_blocks % g->inner_blocks * g->inner, inner = sv_min(g->inner, cin - c0);
    long from = g->tiles * part / g->parts, until = g->tiles * (part + 1) / g->parts;
    long ldv = g->phases * g->inner + SLACK, ldw = g->rows + SLACK, steps = g->chunk / g->pairing;
    long vstep = steps * ldv + SLACK, wstep = steps * ldw + SLACK;
    long groups = rows / SV_MR, panels = divide_up(g->phases * inner, SV_NR), mstep = groups * panels * BLOCK + SLACK;
    sv_real *v = sv_scratch(worker), *w = v + g->products * vstep, *m = w + g->products * wstep;
    const sv_real *a[SV_MR];
    sv_real *c[SV_MR];
    for (long r = 0; r < SV_MR; r++) {
        a[r] = w + r;
        c[r] = m + r * SV_NR;
    }
    for (long t = from; t < until; t += g->chunk) {
        long n = sv_min(g->chunk, until - t), depth = divide_up(n, g->pairing);
        g->transforms->input_steps(&g->x, t, n, c0, inner, v, ldv, vstep);
        g->transforms->gradient(&g->gy, t, n, o0, rows, w, ldw, wstep);
        sv_tile k = {.rows = SV_MR, .segs = 1, .run = depth, .last = depth, .step = ldw, .ldb = ldv};
        k.a = a;
        k.c = c;
        k.add = t > from;
        for (long q = 0; q < g->products; q++)
            for (long panel = 0; panel < panels; panel++) {
                k.cols = sv_min(SV_NR, g->phases * inner - panel * SV_NR);
                for (long group = 0; group < groups; group++) {
                    k.a_skip = q * wstep + group * SV_MR;
                    k.b = v + q * vstep + panel * SV_NR;
                    k.c_skip = q * mstep + (panel * groups + group) * BLOCK;
                    g->micro_kernel(&k);
                }
            }
    }
    for (long o = 0; o < rows; o++)
        for (long i = 0; i < inner; i += LANES) {
            sv_real taps[16 * LANES];
            const sv_real *at[4];
            for (long phase = 0; phase < g->phases; phase++) {
                long col = phase * inner + i, block = col / SV_NR * groups + o / SV_MR;
                at[phase] = m + block * BLOCK + o % SV_MR * SV_NR + col % SV_NR;
            }
            g->tile->weight_gradient(at, mstep, taps);
            sv_cpu->gemm->transpose(g->taps, LANES, taps, LANES,
                                    g->sums + ((part * cout + o0 + o) * cin + c0 + i) * g->taps, g->taps);
        }
}

static void add_parts(void *arg, long o, int worker) {
    const gradient *g = arg;
    (void)worker;
    long n = g->taps * g->x.channels, size = n * g->gy.channels;
    sv_real *restrict to = g->gw + o * n;
    const sv_real *restrict from = g->sums + o * n;
    for (long i = 0; i < n; i++) to[i] = from[i] + from[size + i];
    for (long part = 2; part < g->parts; part++)
        for (long i = 0; i < n; i++) to[i] += from[part * size + i];
}

static gradient tile_pass(const sv_conv *c, bool bf16) {
    enum sv_winograd_size size = sv_winograd_choose(c, c->oh, c->ow, bf16);
    const sv_winograd *tile = &sv_winograd_of[size];
    gradient g = {
        .tile = tile,
        .transforms = bf16 ? &sv_winograd_bf16[size] : &tile->full,
        .micro_kernel = bf16 ? sv_bf16()->tile : sv_cpu->gemm->tile,
        .pairing = bf16 ? 2 : 1,
        .taps = c->kh * c->kw,
        .phases = sv_winograd_phases(c),
        .products = tile->products,
        .rows = sv_min(tile->products > 25 ? ROWS / 2 : ROWS, c->cout),
    };
    g.inner = sv_min(INNER / g.phases, c->cin);
    g.x = (sv_winograd_view){
        .h = c->h,
        .w = c->w,
        .channels = c->cin,
        .step = c->stride,
        .from_y = -c->pad_y,
        .from_x = -c->pad_x,
        .sign = 1,
        .down_step = c->stride * tile->tile_h,
        .across_step = c->stride * tile->tile_w,
        .down = divide_up(c->oh, tile->tile_h),
        .across = divide_up(c->ow, tile->tile_w),
    };
    g.gy = (sv_winograd_view){
        .h = c->oh,
        .w = c->ow,
        .channels = c->cout,
        .step = 1,
        .down_step = tile->tile_h,
        .across_step = tile->tile_w,
        .down = g.x.down,
        .across = g.x.across,
    };
    g.tiles = c->n * g.x.down * g.x.across;
    g.chunk = CHUNK * g.pairing;
    g.row_blocks = divide_up(c->cout, g.rows);
    g.inner_blocks = divide_up(c->cin, g.inner);
    g.parts = sv_max(1, sv_min(divide_up(TASKS, g.row_blocks * g.inner_blocks), g.tiles / PART_MIN));
    return g;
}

void sv_winograd_weight_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    gradient g = tile_pass(c, bf16);
    size_t sums = g.parts > 1 ? (size_t)(g.parts * g.taps * c->cin * c->cout) : 0;
    choice->workspace = (size_t)sv_conv_zeros(c) + sums + 16;
}

void sv_winograd_weight_gradient(const sv_conv *c, bool bf16, const sv_conv_data *d) {
    gradient g = tile_pass(c, bf16);
    sv_real *work = sv_conv_clear_zeros(c, d->work);
    g.x.x = d->x;
    g.gy.x = d->gy;
    g.x.zeros = g.gy.zeros = d->work;
    g.gw = d->out;
    g.sums = g.parts == 1 ? d->out : work;
    sv_parallel(g.row_blocks * g.inner_blocks * g.parts, run_task, &g);
    if (g.parts > 1) sv_parallel(c->cout, add_parts, &g);
}
