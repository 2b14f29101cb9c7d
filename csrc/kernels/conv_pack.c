/* conv_pack.c: a convolution's weights as the packed panels of a product's B: row (tap, inner) and column outer of a
 * panel hold w[outer * outer_step + inner * inner_step + tap]. A forward convolution is one product of all taps; a data
 * gradient divides the taps among its phases.
 */
#include "conv.h"
#include "gemm.h"
#include "loops.h"
#include <string.h>

enum {
    INNER_PIECE = 64, /* inner channels of a piece of work */
    INNER_BLOCK = 4,  /* of a local block, */
    LOCAL_TAPS = 32   /* and its taps */
};

/* One panel, INNER_BLOCK of inner, some of the taps: transposed in a local block, because rows of a panel that differ
 * by a tap are a power of two apart in memory and would evict each other from the cache. */
static void pack_block(const sv_weight_panels *s, long panel, long i0, long i1, long tap0, long tap1) {
    sv_real block[LOCAL_TAPS][INNER_BLOCK * SV_NR];
    const sv_gemm_kernel *kernel = sv_cpu->gemm;
    long o0 = panel * SV_NR;
    long width = sv_panel_width(s->outer, panel), wide = sv_min(s->outer - o0, SV_NR);
    if (wide < width) memset(block, 0, sizeof block);
    for (long i = i0; i < i1; i++)
        kernel->transpose(wide, tap1 - tap0, s->w + o0 * s->outer_step + i * s->inner_step + tap0, s->outer_step,
                          &block[0][(i - i0) * width], INNER_BLOCK * SV_NR);
    for (long t = 0; t < tap1 - tap0; t++) {
        long first, depth, of = s->place(s->c, tap0 + t, s->inner, &first, &depth);
        if (s->outer > SV_DOT_MAX) {
            memcpy(s->panels + of + o0 * depth + (first + i0) * width, block[t],
                   (size_t)((i1 - i0) * width) * sizeof **block);
            continue;
        }
        for (long o = 0; o < wide; o++)
            for (long i = i0; i < i1; i++) s->panels[of + o * depth + first + i] = block[t][(i - i0) * width + o];
    }
}

static void pack_weights(void *arg, long piece, int worker) {
    const sv_weight_panels *s = arg;
    (void)worker;
    long panels = divide_up(s->outer, SV_NR);
    long panel = piece % panels, first = piece / panels * INNER_PIECE;
    long end = sv_min(s->inner, first + INNER_PIECE);
    for (long i = first; i < end; i += INNER_BLOCK)
        for (long tap = 0; tap < s->taps; tap += LOCAL_TAPS)
            pack_block(s, panel, i, sv_min(end, i + INNER_BLOCK), tap, sv_min(s->taps, tap + LOCAL_TAPS));
}

void sv_pack_weights(const sv_weight_panels *s) {
    long panels = divide_up(s->outer, SV_NR);
    long pieces = divide_up(s->inner, INNER_PIECE);
    sv_parallel(panels * pieces, pack_weights, (void *)s);
}
