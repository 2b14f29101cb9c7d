/* conv_winograd_weight.c: the weight gradient of 4x4 convolutions of stride 2 and padding 1 with
 * fewer multiplications.
 *
 * Weight (o, c, tap) is met by every pixel of gy. Of a phase's 2x2 taps, those of a tile are
 * the sum in which the forward pass makes y, with other parts unknown: along an axis
 *
 *   y = C ((E g) * (S d))     of      sum of y gy, its gradient by g:  E' ((C' gy) * (S d))
 *
 * (' transposes: Lavin and Gray's minimal filter, read backwards). C' gy is the gradient's
 * polynomial at the same points (scatter), S d what the forward pass takes of x (spread), and
 * E' (shrink) is the same for all tiles, so it waits until they have been added up:
 *
 *   gy: 4x4 pixels   scatter   W[q] [tiles][co]
 *   of a tile        ------>       | transposed
 *                                  x     = M[q] [co][4 phases of ci]  for q of 25
 *   x: 5x5 pixels,   spread    V[q] [tiles][4 phases of ci]     |
 *   each phase       ------>                                    | shrink, once
 *                                             gw [co][ci][16] <-+
 *
 * Sums run over tiles and images: 25 multiplications in place of 64 for a tile of 4x4. A task
 * takes a block of co and of ci and a part of the tiles, some tiles at a time, and keeps V, W
 * and M in scratch. V is made again for each block of co, W for each block of ci: cheaper than
 * to write them to main memory and read them back, even than to keep V from the forward pass,
 * whose x it is made from is a quarter as large. Where blocks are few the tiles are cut into
 * parts, whose gradients are added in order. The cut depends on the shapes alone.
 */
#include "conv_winograd.h"

enum {
    ROWS = 512 / sizeof(sv_real),  /* output channels of a task: 128, half as many in double */
    INNER = 32,                    /* input channels of a task */
    CHUNK = 256 / sizeof(sv_real), /* tiles of a step: 64; twice as many in pairs */
    TASKS = 16,                    /* aimed at */
    PART_MIN = 64,                 /* tiles in a part */
    BLOCK = SV_MR * SV_NR          /* M is stored by tiles of the kernel, which follow each other */
};

_Static_assert(POINTS * sizeof(sv_real) *
                       (CHUNK * (4 * INNER + SLACK) + CHUNK * (ROWS + SLACK) + ROWS * 4 * INNER + 3 * SLACK) <=
                   SV_SCRATCH_BYTES,
               "V, W and M of a task fit scratch");

typedef struct gradient {
    const sv_form *form;
    const sv_factors *factors;
    void (*product)(const sv_tile *t);
    sv_view x, gy;
    long half; /* 2: numbers in pairs */
    long products, tiles;
    long rows, inner, chunk; /* of a task; tiles of a step */
    long row_blocks, inner_blocks, parts;
    sv_real *gw, *sums; /* sums: a gradient for each part */
} gradient;

static void run_task(void *arg, long task, int worker) {
    const gradient *g = arg;
    long cout = g->gy.channels, cin = g->x.channels, part = task / g->row_blocks / g->inner_blocks;
    long o0 = task % g->row_blocks * g->rows, rows = least(g->rows, cout - o0);
    long c0 = task / g->row_blocks % g->inner_blocks * g->inner, inner = least(g->inner, cin - c0);
    long from = g->tiles * part / g->parts, until = g->tiles * (part + 1) / g->parts;
    long ldv = 4 * g->inner + SLACK, ldw = g->rows + SLACK, steps = g->chunk / g->half;
    long vstep = steps * ldv + SLACK, wstep = steps * ldw + SLACK;
    long groups = rows / SV_MR, panels = 4 * inner / SV_NR, mstep = groups * panels * BLOCK + SLACK;
    sv_real *v = sv_scratch(worker), *w = v + g->products * vstep, *m = w + g->products * wstep;
    const sv_real *a[SV_MR];
    sv_real *c[SV_MR];
    for (long r = 0; r < SV_MR; r++) {
        a[r] = w + r;
        c[r] = m + r * SV_NR;
    }
    for (long t = from; t < until; t += g->chunk) {
        long n = least(g->chunk, until - t), depth = divide_up(n, g->half);
        g->factors->steps(&g->x, t, n, c0, inner, v, ldv, vstep);
        g->factors->scatter(&g->gy, t, n, o0, rows, w, ldw, wstep);
        sv_tile k = {.rows = SV_MR, .cols = SV_NR, .segs = 1, .run = depth, .last = depth, .step = ldw, .ldb = ldv};
        k.a = a;
        k.c = c;
        k.add = t > from;
        for (long q = 0; q < g->products; q++)
            for (long panel = 0; panel < panels; panel++)
                for (long group = 0; group < groups; group++) {
                    k.a_skip = q * wstep + group * SV_MR;
                    k.b = v + q * vstep + panel * SV_NR;
                    k.c_skip = q * mstep + (panel * groups + group) * BLOCK;
                    g->product(&k);
                }
    }
    for (long o = 0; o < rows; o++)
        for (long i = 0; i < inner; i += LANES) {
            sv_real taps[16 * LANES];
            const sv_real *at[4];
            for (long phase = 0; phase < 4; phase++) {
                long col = phase * inner + i, block = col / SV_NR * groups + o / SV_MR;
                at[phase] = m + block * BLOCK + o % SV_MR * SV_NR + col % SV_NR;
            }
            g->form->shrink(at, mstep, taps);
            sv_kernel_now()->turn(16, LANES, taps, LANES, g->sums + ((part * cout + o0 + o) * cin + c0 + i) * 16, 16);
        }
}

static void add_parts(void *arg, long o, int worker) {
    const gradient *g = arg;
    (void)worker;
    long n = 16 * g->x.channels, size = n * g->gy.channels;
    sv_real *restrict to = g->gw + o * n;
    const sv_real *restrict from = g->sums + o * n;
    for (long i = 0; i < n; i++) to[i] = from[i] + from[size + i];
    for (long part = 2; part < g->parts; part++)
        for (long i = 0; i < n; i++) to[i] += from[part * size + i];
}

static gradient plan(const sv_conv *c) {
    const sv_pairs *pairs = sv_pairs_now();
    enum sv_form_name name = sv_conv_fast_form(c->n, c->oh, c->ow, pairs != NULL);
    const sv_form *form = &sv_forms[name];
    gradient g = {
        .form = form,
        .factors = pairs ? &sv_forms_bf16[name] : &form->full,
        .product = pairs ? pairs->tile : sv_kernel_now()->tile,
        .half = pairs ? 2 : 1,
        .products = (form->tall + 1) * (form->wide + 1),
        .rows = least(ROWS, c->cout),
        .inner = least(INNER, c->cin),
    };
    g.x = (sv_view){
        .h = c->h,
        .w = c->w,
        .channels = c->cin,
        .step = 2,
        .from = -1,
        .sign = 1,
        .down_step = 2 * form->tall,
        .across_step = 2 * form->wide,
        .down = divide_up(c->oh, form->tall),
        .across = divide_up(c->ow, form->wide),
    };
    g.gy = (sv_view){
        .h = c->oh,
        .w = c->ow,
        .channels = c->cout,
        .step = 1,
        .down_step = form->tall,
        .across_step = form->wide,
        .down = g.x.down,
        .across = g.x.across,
    };
    g.tiles = c->n * g.x.down * g.x.across;
    g.chunk = CHUNK * g.half;
    g.row_blocks = divide_up(c->cout, g.rows);
    g.inner_blocks = divide_up(c->cin, g.inner);
    g.parts = least(divide_up(TASKS, g.row_blocks * g.inner_blocks), g.tiles / PART_MIN);
    if (g.parts < 1) g.parts = 1;
    return g;
}

/* By shape alone: the form may be another one in the backward pass, the parts at most these. */
size_t sv_conv_fast_weight_work(const sv_conv *c) {
    if (!sv_conv_fast_suits(c)) return 0;
    return (size_t)(divide_up(TASKS, divide_up(c->cout, ROWS) * divide_up(c->cin, INNER)) * 16 * c->cin * c->cout);
}

void sv_conv_fast_weight(const sv_conv *c, const sv_real *x, const sv_real *gy, const sv_real *zeros, sv_real *gw,
                         sv_real *work) {
    gradient g = plan(c);
    g.x.x = x;
    g.gy.x = gy;
    g.x.zeros = g.gy.zeros = zeros;
    g.gw = gw;
    g.sums = g.parts == 1 ? gw : work;
    sv_parallel(g.row_blocks * g.inner_blocks * g.parts, run_task, &g);
    if (g.parts > 1) sv_parallel(c->cout, add_parts, &g);
}
