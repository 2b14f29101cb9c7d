/* gemm_block.h: a product cut into blocks, and the computation of one of them. */
#ifndef SV_GEMM_BLOCK_H
#define SV_GEMM_BLOCK_H

#include "gemm.h"

enum {
    SV_GEMM_STEP = 256,  /* numbers of k that a step takes, or one run if it is longer */
    SV_GEMM_BLOCK = 256, /* rows, and columns of a B that is packed on the way */
};

typedef struct sv_tiling {
    const sv_product *p;
    long rows, cols, step; /* of a block */
    long down, across;     /* blocks */
    long first;            /* number of the first task */
    bool dot;
    const sv_bf16_kernel *bf16; /* factors are rounded to pairs, two of k in the place of one; or NULL */
} sv_tiling;

/* Block number `task` of C; scratch: SV_SCRATCH_PRODUCTS bytes. */
void sv_gemm_block(const sv_tiling *t, long task, void *scratch);

#endif
