/* kernels.c: how fast, and how right, the C kernels are; no Lua involved.
 *
 * Checks dense products, convolutions and batch norm against plain loops on
 * shapes with odd edges, then times the layers of the DCGAN of 64x64x3 images at
 * widths 16, 32 and 64 with one and two threads, beside OpenBLAS's sgemm.
 *
 *   cc -std=c11 -O3 -I csrc -o build/kernels spec/bench/kernels.c csrc/kernels/?*.c -lopenblas -lpthread -lm
 *   build/kernels [check|dense|norm|layers|wake|winograd] [WIDTH]
 *
 * -DSV_DOUBLE checks the double build, -DNO_BLAS leaves OpenBLAS out.
 */
#define _GNU_SOURCE
#include "kernels/conv.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef SV_DOUBLE
#define NO_BLAS
#endif
#ifndef NO_BLAS
void openblas_set_num_threads(int n);
void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
#endif

/* KERNELS_CPU=1 counts processor time, for one thread on a machine that others
 * use as well. */
static double now(void) {
    struct timespec t;
    clock_gettime(getenv("KERNELS_CPU") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool coarse; /* numbers of 8 bits, which bfloat16 holds exactly */

static sv_real *numbers(size_t n) {
    static uint32_t state = 12345;
    void *p = NULL;
    if (posix_memalign(&p, 64, (n + 16) * sizeof(sv_real)) != 0) exit(1);
    sv_real *x = p;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = coarse ? (sv_real)(state >> 24) / 128 - 1 : (sv_real)(state >> 8) / (sv_real)(1 << 23) - 1;
    }
    return x;
}

static double worst(const sv_real *a, const sv_real *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = d;
    }
    return most;
}

static int failures;

static void report(const char *what, double error, double allowed) {
    bool bad = !(error <= allowed);
    failures += bad;
    if (bad) printf("  WRONG  %-48s max error %.2e\n", what, error);
}

#ifdef SV_DOUBLE
#define ALLOWED 1e-11
#else
#define ALLOWED 2e-3
#endif

/* ---- dense ---------------------------------------------------------------- */

static void check_gemm(long m, long n, long k, bool fa, bool fb, bool add) {
    long lda = (fa ? m : k) + 3, ldb = (fb ? k : n) + 1, ldc = n + 2;
    sv_real *a = numbers((size_t)(lda * (fa ? k : m))), *b = numbers((size_t)(ldb * (fb ? n : k)));
    sv_real *c = numbers((size_t)(ldc * m)), *d = numbers((size_t)(ldc * m));
    sv_real *bias = numbers((size_t)n);
    memcpy(d, c, (size_t)(ldc * m) * sizeof *c);
    sv_gemm(fa, fb, m, n, k, a, lda, b, ldb, add, bias, c, ldc);
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            double sum = (double)bias[j] + (add ? (double)d[i * ldc + j] : 0);
            for (long l = 0; l < k; l++)
                sum += (double)(fa ? a[l * lda + i] : a[i * lda + l]) * (double)(fb ? b[j * ldb + l] : b[l * ldb + j]);
            d[i * ldc + j] = (sv_real)sum;
        }
    char what[96];
    snprintf(what, sizeof what, "gemm %ldx%ldx%ld flip %d%d add %d", m, n, k, fa, fb, add);
    report(what, worst(c, d, (size_t)(ldc * m)), ALLOWED);
    free(a), free(b), free(c), free(d), free(bias);
}

static void check_dense(void) {
    static const long sizes[][3] = {
        {1, 1, 1},    {3, 5, 7},     {8, 32, 16},   {17, 33, 300}, {64, 128, 100},  {130, 3, 70},
        {5, 4, 1000}, {300, 2, 600}, {64, 3, 2100}, {9, 70, 513},  {257, 300, 20},  {100, 16, 256},
        {7, 48, 0},   {0, 5, 5},     {5, 0, 5},     {33, 1, 257},  {300, 520, 270}, {2, 3, 20000},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int f = 0; f < 8; f++) check_gemm(sizes[i][0], sizes[i][1], sizes[i][2], f & 1, f & 2, f & 4);
}

/* A library computes what it is forced to, in blocks. */
static int library_calls, library_wrong;

static void library_gemm(bool ta, bool tb, long m, long n, long k, const sv_real *a, long lda, const sv_real *b,
                         long ldb, bool add, sv_real *c, long ldc) {
    __atomic_fetch_add(&library_calls, 1, __ATOMIC_RELAXED);
    if (m < 1 || n < 1 || k < 1) library_wrong = 1;
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            double sum = add ? (double)c[i * ldc + j] : 0;
            for (long l = 0; l < k; l++)
                sum += (double)(ta ? a[l * lda + i] : a[i * lda + l]) * (double)(tb ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = (sv_real)sum;
        }
}

static void check_library(void) {
    sv_gemm_use_library("openblas", library_gemm);
    sv_gemm_force("openblas");
    check_dense();
    sv_gemm_force(NULL);
    sv_gemm_use_library("openblas", NULL);
    report("a library computes what it is forced to", library_calls == 0 || library_wrong, 0);
}

static void check_sums(long rows, long cols) {
    sv_real *x = numbers((size_t)(rows * cols)), *s = numbers((size_t)cols);
    sv_real *work = numbers(sv_column_sums_work(rows, cols));
    double e = 0;
    sv_column_sums(rows, cols, x, s, work);
    for (long j = 0; j < cols; j++) {
        double sum = 0;
        for (long i = 0; i < rows; i++) sum += (double)x[i * cols + j];
        e = fmax(e, fabs(sum - (double)s[j]) / (1 + fabs(sum)));
    }
    report("column sums", e, ALLOWED);
    free(x), free(s), free(work);
}

/* ---- convolution ------------------------------------------------------------ */

/* A plan, and room for the largest workspace of its passes. */
static sv_conv_plan plan_of(const sv_conv *c, sv_real **work) {
    sv_conv_plan p;
    size_t room = 1;
    sv_conv_make_plan(&p, c, coarse);
    for (int i = 0; i < SV_CONV_PASSES; i++)
        if (p.pass[i].workspace > room) room = p.pass[i].workspace;
    *work = numbers(room);
    return p;
}

static const sv_conv_cache no_cache = {NULL, false};

static void check_conv(sv_conv c) {
    size_t nx = (size_t)(c.n * c.h * c.w * c.cin), ny = (size_t)(c.n * c.oh * c.ow * c.cout);
    size_t nw = (size_t)(c.cout * c.cin * c.kh * c.kh);
    sv_real *x = numbers(nx), *gy = numbers(ny), *w = numbers(nw);
    sv_real *by = numbers((size_t)c.cout), *bx = numbers((size_t)c.cin);
    sv_real *y = numbers(ny), *gx = numbers(nx), *gw = numbers(nw);
    sv_real *work;
    const sv_conv_plan p = plan_of(&c, &work);
    double *ty = calloc(ny, 8), *tx = calloc(nx, 8), *tw = calloc(nw, 8);
    const sv_epilogue to_y = {.bias = by, .slope = 1}, to_x = {.bias = bx, .slope = 1};
    sv_conv_forward(&p, x, w, &to_y, y, no_cache, work);
    sv_conv_data_gradient(&p, gy, w, &to_x, gx, no_cache, work);
    sv_conv_weight_gradient(&p, x, gy, gw, work);
    for (size_t i = 0; i < ny; i++) ty[i] = (double)by[i % (size_t)c.cout];
    for (size_t i = 0; i < nx; i++) tx[i] = (double)bx[i % (size_t)c.cin];
    for (long n = 0; n < c.n; n++)
        for (long oy = 0; oy < c.oh; oy++)
            for (long ox = 0; ox < c.ow; ox++)
                for (long ky = 0; ky < c.kh; ky++)
                    for (long kx = 0; kx < c.kh; kx++) {
                        long iy = oy * c.stride - c.pad_y + ky, ix = ox * c.stride - c.pad_x + kx;
                        if (iy < 0 || iy >= c.h || ix < 0 || ix >= c.w) continue;
                        long px = ((n * c.h + iy) * c.w + ix) * c.cin;
                        long py = ((n * c.oh + oy) * c.ow + ox) * c.cout;
                        for (long co = 0; co < c.cout; co++)
                            for (long ci = 0; ci < c.cin; ci++) {
                                long pw = ((co * c.cin + ci) * c.kh + ky) * c.kh + kx;
                                ty[py + co] += (double)x[px + ci] * (double)w[pw];
                                tx[px + ci] += (double)gy[py + co] * (double)w[pw];
                                tw[pw] += (double)gy[py + co] * (double)x[px + ci];
                            }
                    }
    double e = 0, f = 0, g = 0;
    for (size_t i = 0; i < ny; i++) e = fmax(e, fabs(ty[i] - (double)y[i]));
    for (size_t i = 0; i < nx; i++) f = fmax(f, fabs(tx[i] - (double)gx[i]));
    for (size_t i = 0; i < nw; i++) g = fmax(g, fabs(tw[i] - (double)gw[i]));
    char what[128];
    snprintf(what, sizeof what, "conv %ldx%ldx%ldx%ld->%ldx%ldx%ld k%ld s%ld p%ld", c.n, c.h, c.w, c.cin, c.oh, c.ow,
             c.cout, c.kh, c.stride, c.pad_y);
    printf("  %-44s max error: y %.1e  gx %.1e  gw %.1e ", what, e, f, g);
    for (int i = 0; i < SV_CONV_PASSES; i++) printf(" %s%s", i ? "/ " : "", sv_conv_algorithm_name(&p, i));
    printf("\n");
    double most = fmax((double)(c.n * c.oh * c.ow), (double)(c.kh * c.kh * fmax(c.cin, c.cout)));
    /* Winograd's transforms round sums of those numbers: 2^-9 each, and of many the root of their number. */
    bool winograd = strcmp(sv_conv_algorithm_name(&p, SV_CONV_FORWARD), "winograd") == 0;
    report(what, fmax(e, fmax(f, g)), coarse && winograd ? 0x1p-7 * sqrt(most) : ALLOWED);
    /* Same numbers whatever the number of threads. */
    sv_real *z = numbers(nx > ny ? nx > nw ? nx : nw : ny > nw ? ny : nw);
    int threads = sv_threads();
    sv_set_threads(threads == 3 ? 1 : 3);
    sv_conv_forward(&p, x, w, &to_y, z, no_cache, work);
    report("forward differs with threads", memcmp(z, y, ny * sizeof *y) != 0, 0);
    sv_conv_data_gradient(&p, gy, w, &to_x, z, no_cache, work);
    report("grad_x differs with threads", memcmp(z, gx, nx * sizeof *y) != 0, 0);
    sv_conv_weight_gradient(&p, x, gy, z, work);
    report("grad_w differs with threads", memcmp(z, gw, nw * sizeof *y) != 0, 0);
    sv_set_threads(threads);
    free(x), free(gy), free(w), free(by), free(bx), free(y), free(gx), free(gw), free(work);
    free(ty), free(tx), free(tw), free(z);
}

static sv_conv conv(long n, long h, long w, long cin, long cout, long kernel, long stride, long pad) {
    long oh = (h + 2 * pad - kernel) / stride + 1, ow = (w + 2 * pad - kernel) / stride + 1;
    return (sv_conv){n, h, w, cin, oh, ow, cout, kernel, kernel, stride, pad, pad, 1};
}

static void check_convs(void) {
    check_conv(conv(2, 64, 64, 3, 16, 4, 2, 1));
    check_conv(conv(2, 32, 32, 16, 32, 4, 2, 1));
    check_conv(conv(3, 16, 16, 64, 128, 4, 2, 1));
    check_conv(conv(8, 8, 8, 128, 256, 4, 2, 1));
    check_conv(conv(2, 33, 18, 32, 48, 4, 2, 1));
    check_conv(conv(36, 17, 16, 32, 48, 4, 2, 1));
    check_conv(conv(13, 8, 8, 208, 144, 4, 2, 1));
    check_conv(conv(16, 17, 18, 16, 272, 4, 2, 1));
    check_conv(conv(9, 5, 7, 64, 272, 4, 2, 1));
    for (long pad = 0; pad < 4; pad++) { /* 3x3, Winograd of both tile sizes; borders at every distance from a tile's */
        check_conv(conv(1, 13, 15, 16, 48, 3, 1, pad));
        check_conv(conv(3, 32, 16, 32, 16, 3, 1, pad));
        check_conv(conv(9, 5, 18, 48, 80, 3, 1, pad));
    }
    check_conv(conv(1, 32, 33, 144, 272, 3, 1, 1));
    check_conv(conv(100, 3, 3, 16, 16, 3, 1, 1));
    check_conv((sv_conv){2, 17, 30, 16, 20, 31, 32, 3, 3, 1, 2, 1, 1}); /* zeros at the top 2, at the bottom 3 */
    check_conv(conv(2, 4, 4, 300, 10, 4, 1, 0));
    check_conv(conv(2, 9, 11, 5, 7, 3, 1, 1));
    check_conv(conv(2, 10, 14, 4, 20, 4, 4, 0));
    check_conv(conv(3, 13, 11, 2, 9, 6, 2, 3));
    check_conv(conv(1, 130, 128, 3, 5, 4, 2, 1));
    check_conv(conv(2, 9, 20, 1, 300, 6, 3, 1));
    check_conv(conv(2, 9, 11, 1, 2, 5, 2, 2));
    check_conv(conv(2, 10, 13, 4, 3, 5, 3, 1));
    check_conv(conv(1, 7, 7, 6, 33, 1, 1, 0));
    check_conv(conv(1, 11, 12, 6, 5, 2, 3, 0));
    check_conv(conv(1, 20, 23, 3, 5, 7, 5, 3));
    check_conv(conv(40, 16, 16, 20, 24, 3, 2, 1));
    check_conv(conv(1, 3, 3, 2, 2, 5, 1, 3));
    check_conv(conv(1, 33, 33, 2, 1, 9, 8, 0));
}

/* ---- batch norm --------------------------------------------------------------- */

static double act(double v, double slope) { return v > 0 ? v : slope * v; }

static void check_norm(long rows, long cols, double slope, bool train) {
    sv_batch_norm b = {rows, cols, (sv_real)1e-5, (sv_real)0.1, (sv_real)slope};
    size_t n = (size_t)(rows * cols), m = (size_t)cols;
    sv_real *x = numbers(n), *gy = numbers(n), *y = numbers(n), *gx = numbers(n);
    sv_real *scale = numbers(m), *shift = numbers(m), *rm = numbers(m), *rv = numbers(m);
    sv_real *mean = numbers(m), *inv = numbers(m), *gs = numbers(m), *gb = numbers(m);
    sv_real *work = numbers(sv_batch_norm_work(&b));
    for (size_t j = 0; j < m; j++) rv[j] = rv[j] * rv[j] + (sv_real)0.5;
    for (size_t i = 0; i < n; i++) x[i] += 3;
    double e = 0;
    double *tm = calloc(m, 8), *tv = calloc(m, 8), *trm = calloc(m, 8), *trv = calloc(m, 8);
    for (long j = 0; j < cols; j++) {
        for (long i = 0; i < rows; i++) tm[j] += (double)x[i * cols + j] / (double)rows;
        for (long i = 0; i < rows; i++) tv[j] += pow((double)x[i * cols + j] - tm[j], 2) / (double)rows;
        double unbiased = tv[j] * (double)rows / (double)(rows > 1 ? rows - 1 : 1);
        trm[j] = 0.9 * (double)rm[j] + 0.1 * tm[j];
        trv[j] = 0.9 * (double)rv[j] + 0.1 * unbiased;
        if (!train) tm[j] = (double)rm[j], tv[j] = (double)rv[j];
    }
    if (train) {
        sv_batch_norm_train(&b, x, scale, shift, rm, rv, mean, inv, y, work);
        for (long j = 0; j < cols; j++) e = fmax(e, fmax(fabs(trm[j] - (double)rm[j]), fabs(trv[j] - (double)rv[j])));
    } else {
        sv_batch_norm_eval(&b, x, scale, shift, rm, rv, y, work);
        memcpy(mean, rm, m * sizeof *mean);
        sv_batch_norm_inverse(&b, rv, inv);
    }
    sv_batch_norm_backward(&b, train, x, gy, scale, shift, mean, inv, gx, gs, gb, work);
    for (long j = 0; j < cols; j++) {
        double is = 1 / sqrt(tv[j] + 1e-5), sg = 0, sgx = 0, kinks = 0;
        for (int pass = 0; pass < 2; pass++)
            for (long i = 0; i < rows; i++) {
                double h = ((double)x[i * cols + j] - tm[j]) * is;
                double v = (double)scale[j] * h + (double)shift[j];
                double g = (double)gy[i * cols + j] * (v > 0 ? 1 : slope);
                if (fabs(v) < 1e-5) g = NAN, kinks++; /* either slope is right there */
                if (pass == 0) {
                    e = fmax(e, fabs(act(v, slope) - (double)y[i * cols + j]));
                    sg += isnan(g) ? 0 : g, sgx += isnan(g) ? 0 : g * h;
                } else if (kinks == 0) {
                    double t = g;
                    if (train) t -= (sg + h * sgx) / (double)rows;
                    t *= (double)scale[j] * is;
                    e = fmax(e, fabs(t - (double)gx[i * cols + j]));
                }
            }
        double d = fmax(fabs(sg - (double)gb[j]), fabs(sgx - (double)gs[j]));
        if (kinks == 0) e = fmax(e, d / (1 + fabs(sgx)) / 4);
    }
    char what[96];
    snprintf(what, sizeof what, "norm %ldx%ld slope %g train %d", rows, cols, slope, train);
    report(what, e, ALLOWED);
    free(x), free(gy), free(y), free(gx), free(scale), free(shift), free(rm), free(rv);
    free(mean), free(inv), free(gs), free(gb), free(work), free(tm), free(tv), free(trm), free(trv);
}

static void check_norms(void) {
    for (int train = 0; train < 2; train++)
        for (int s = 0; s < 3; s++) {
            static const double slopes[] = {1, 0, 0.2};
            check_norm(64, 1, slopes[s], train);
            check_norm(1000, 5, slopes[s], train);
            check_norm(5000, 16, slopes[s], train);
            check_norm(700, 130, slopes[s], train);
            check_norm(3, 1000, slopes[s], train);
        }
}

/* ---- speed ---------------------------------------------------------------------- */

#define ROUNDS 5

/* Best of a few rounds, each long enough to be timed. */
#define TIME(seconds, call)                                         \
    do {                                                            \
        double best_ = 1e9;                                         \
        call;                                                       \
        for (int round_ = 0; round_ < ROUNDS; round_++) {           \
            double t0_ = now(), t1_;                                \
            int n_ = 0;                                             \
            do {                                                    \
                call;                                               \
                n_++;                                               \
                t1_ = now();                                        \
            } while (t1_ - t0_ < 0.01);                             \
            if ((t1_ - t0_) / n_ < best_) best_ = (t1_ - t0_) / n_; \
        }                                                           \
        (seconds) = best_;                                          \
    } while (0)

static double blas_rate(long m, long n, long k, bool fa, bool fb) {
#ifndef NO_BLAS
    sv_real *a = numbers((size_t)(m * k)), *b = numbers((size_t)(n * k));
    sv_real *c = numbers((size_t)(m * n));
    double s;
    openblas_set_num_threads(1);
    TIME(s, cblas_sgemm(101, fa ? 112 : 111, fb ? 112 : 111, (int)m, (int)n, (int)k, 1, a, (int)(fa ? m : k), b,
                        (int)(fb ? k : n), 0, c, (int)n));
    free(a), free(b), free(c);
    return 2e-9 * (double)m * (double)n * (double)k / s;
#else
    return m + n + k + fa + fb > 0 ? 0 : 1;
#endif
}

static double own_rate(long m, long n, long k, bool fa, bool fb) {
    sv_real *a = numbers((size_t)(m * k)), *b = numbers((size_t)(n * k));
    sv_real *c = numbers((size_t)(m * n));
    double s;
    TIME(s, sv_gemm(fa, fb, m, n, k, a, fa ? m : k, b, fb ? k : n, false, NULL, c, n));
    free(a), free(b), free(c);
    return 2e-9 * (double)m * (double)n * (double)k / s;
}

static void time_dense(void) {
    static const long sizes[][3] = {
        {1024, 1024, 1024}, {1536, 1536, 1536}, {256, 128, 128},  {256, 128, 3},   {256, 122, 128},
        {64, 8192, 4},      {64, 1024, 100},    {64, 4, 8192},    {65536, 16, 48}, {65536, 64, 1024},
        {16384, 3, 256},    {1, 1024, 1024},    {16384, 32, 256}, {64, 64, 64},
    };
    printf("dense, GFLOP/s                  OpenBLAS(1)   own(1)   own(2)\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int f = 0; f < 3; f++) {
            const long *s = sizes[i];
            double rate[3];
            bool fa = f == 1, fb = f == 2;
            rate[0] = blas_rate(s[0], s[1], s[2], fa, fb);
            for (int t = 1; t <= 2; t++) {
                sv_set_threads(t);
                rate[t] = own_rate(s[0], s[1], s[2], fa, fb);
            }
            printf("%6ld x %5ld x %5ld  %s  %10.1f %10.1f %8.1f\n", s[0], s[1], s[2],
                   fa   ? "TN"
                   : fb ? "NT"
                        : "NN",
                   rate[0], rate[1], rate[2]);
        }
}

static double total[3][3], flops_total;

static void time_layer(const char *name, sv_conv c) {
    size_t nx = (size_t)(c.n * c.h * c.w * c.cin), ny = (size_t)(c.n * c.oh * c.ow * c.cout);
    size_t nw = (size_t)(c.cout * c.cin * c.kh * c.kh);
    sv_real *x = numbers(nx), *y = numbers(ny), *w = numbers(nw), *gw = numbers(nw);
    sv_real *work;
    const sv_conv_plan p = plan_of(&c, &work);
    double flops = 2e-9 * (double)ny * (double)(c.cin * c.kh * c.kh), s[3][3];
    for (int t = 1; t <= 2; t++) {
        sv_set_threads(t);
        TIME(s[t][0], sv_conv_forward(&p, x, w, NULL, y, no_cache, work));
        TIME(s[t][1], sv_conv_data_gradient(&p, y, w, NULL, x, no_cache, work));
        TIME(s[t][2], sv_conv_weight_gradient(&p, x, y, gw, work));
        for (int i = 0; i < 3; i++) total[t][i] += s[t][i];
    }
    flops_total += flops;
    printf("%-22s %6.2f  %7.1f %7.1f %7.1f  %7.1f %7.1f %7.1f  (ms %.2f %.2f %.2f)\n", name, flops, flops / s[1][0],
           flops / s[1][1], flops / s[1][2], flops / s[2][0], flops / s[2][1], flops / s[2][2], s[2][0] * 1e3,
           s[2][1] * 1e3, s[2][2] * 1e3);
    free(x), free(y), free(w), free(gw), free(work);
}

static void time_layers(long width) {
    printf("width %-3ld               GFLOP  1 thread:  fwd   grad_x  grad_w  2 threads\n", width);
    memset(total, 0, sizeof total);
    flops_total = 0;
    long in = 3, size = 64;
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "%ldx%ldx%ld->%ld", size, size, in, width << i);
        time_layer(name, conv(64, size, size, in, width << i, 4, 2, 1));
        in = width << i;
        size /= 2;
    }
    printf("%-22s %6.2f  %7.1f %7.1f %7.1f  %7.1f %7.1f %7.1f\n", "all", flops_total, flops_total / total[1][0],
           flops_total / total[1][1], flops_total / total[1][2], flops_total / total[2][0], flops_total / total[2][1],
           flops_total / total[2][2]);
    printf("(the decoder's transposed layers are the same rows: forward = grad_x)\n");
}

/* 3x3 kernels of stride 1: processor or wall time of implicit GEMM over that of Winograd, alternating, for each pass.
 */
static void compare_winograd(long n, long side, long cin, long cout) {
    sv_conv c = conv(n, side, side, cin, cout, 3, 1, 1);
    size_t nx = (size_t)(n * side * side * cin), ny = (size_t)(n * side * side * cout), nw = (size_t)(cin * cout * 9);
    sv_real *x = numbers(nx), *y = numbers(ny), *w = numbers(nw), *gw = numbers(nw);
    sv_conv_plan plan[2];
    size_t room = 1;
    double best[2][SV_CONV_PASSES], flops = 2e-9 * (double)ny * (double)(cin * 9);
    for (int a = 0; a < 2; a++) {
        plan[a] = (sv_conv_plan){.shape = c};
        for (int pass = 0; pass < SV_CONV_PASSES; pass++) {
            plan[a].pass[pass].algorithm = a ? &sv_conv_winograd[pass] : &sv_conv_gemm[pass];
            plan[a].pass[pass].algorithm->workspace(&c, false, &plan[a].pass[pass]);
            if (plan[a].pass[pass].workspace > room) room = plan[a].pass[pass].workspace;
            best[a][pass] = 1e9;
        }
    }
    sv_real *work = numbers(room);
    for (int round = 0; round < 4 * ROUNDS; round++)
        for (int a = 0; a < 2; a++)
            for (int pass = 0; pass < SV_CONV_PASSES; pass++) {
                double t0 = now(), t1;
                int count = 0;
                do {
                    if (pass == SV_CONV_FORWARD) sv_conv_forward(&plan[a], x, w, NULL, y, no_cache, work);
                    if (pass == SV_CONV_DATA_GRADIENT) sv_conv_data_gradient(&plan[a], y, w, NULL, x, no_cache, work);
                    if (pass == SV_CONV_WEIGHT_GRADIENT) sv_conv_weight_gradient(&plan[a], x, y, gw, work);
                    count++;
                    t1 = now();
                } while (t1 - t0 < 0.003);
                if ((t1 - t0) / count < best[a][pass]) best[a][pass] = (t1 - t0) / count;
            }
    printf("%4ld x %3ldx%-3ld %4ld -> %-4ld", n, side, side, cin, cout);
    for (int pass = 0; pass < SV_CONV_PASSES; pass++)
        printf("   %6.1f GFLOP/s x %5.2f", flops / best[0][pass], best[0][pass] / best[1][pass]);
    printf("\n");
    free(x), free(y), free(w), free(gw), free(work);
}

static void time_winograd(void) {
    static const long shapes[][4] = {
        {64, 32, 16, 16}, {64, 16, 32, 32},   {64, 8, 64, 64},   {64, 4, 128, 128}, {64, 2, 128, 128}, {256, 4, 64, 64},
        {64, 32, 64, 64}, {64, 16, 128, 128}, {64, 8, 256, 256}, {64, 7, 64, 64},   {64, 28, 32, 32},  {64, 16, 16, 64},
        {64, 16, 64, 16}, {1, 32, 64, 64},    {1, 64, 16, 16},   {8, 8, 64, 64},    {4, 8, 256, 256},  {16, 5, 64, 64},
        {128, 1, 64, 64}, {64, 3, 32, 32},    {16, 6, 32, 32},
    };
    for (int threads = 1; threads <= (getenv("KERNELS_CPU") ? 1 : 2); threads++) {
        sv_set_threads(threads);
        printf(
            "3x3, threads %d              implicit GEMM and its time over Winograd's: forward; data gradient; weight "
            "gradient\n",
            threads);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            compare_winograd(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3]);
    }
}

static void time_norms(void) {
    static const long sizes[][2] = {
        {65536, 16}, {65536, 64}, {4096, 256}, {1024, 512}, {16384, 32},
    };
    printf("batch norm + relu, ms                    train fwd  eval fwd  backward   GB/s train\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        long rows = sizes[i][0], cols = sizes[i][1];
        sv_batch_norm b = {rows, cols, (sv_real)1e-5, (sv_real)0.1, 0};
        size_t n = (size_t)(rows * cols), m = (size_t)cols;
        sv_real *x = numbers(n), *y = numbers(n), *gx = numbers(n), *p = numbers(8 * m);
        sv_real *work = numbers(sv_batch_norm_work(&b));
        for (size_t j = 0; j < m; j++) p[3 * m + j] = 1;
        for (int t = 1; t <= 2; t++) {
            double f, e, g;
            sv_set_threads(t);
            TIME(f, sv_batch_norm_train(&b, x, p, p + m, p + 2 * m, p + 3 * m, p + 4 * m, p + 5 * m, y, work));
            TIME(e, sv_batch_norm_eval(&b, x, p, p + m, p + 2 * m, p + 3 * m, y, work));
            TIME(g, sv_batch_norm_backward(&b, true, x, y, p, p + m, p + 4 * m, p + 5 * m, gx, p + 6 * m, p + 7 * m,
                                           work));
            printf("%6ld x %4ld  threads %d  %24.3f %9.3f %9.3f  %9.1f\n", rows, cols, t, f * 1e3, e * 1e3, g * 1e3,
                   3e-9 * (double)n * sizeof *x / f);
        }
        free(x), free(y), free(gx), free(p), free(work);
    }
}

/* ---- the pool's wake-up ------------------------------------------------------- */

enum { WORK_NS = 50000, WAKES = 200 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void keep_busy(void *arg, long i, int worker) {
    (void)i, (void)worker;
    double until = seconds() + *(const double *)arg;
    while (seconds() < until) {}
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What a job of one piece of 50 us a thread takes beyond these, after so many microseconds without one: a worker that
 * still spins takes its piece at once, one that sleeps is woken; where it comes late the caller does its piece too. */
static void time_wakes(void) {
    const double work = 1e-9 * WORK_NS;
    for (int threads = 1; threads <= 2; threads++) {
        sv_set_threads(threads);
        for (int gap = 0; gap <= 10000; gap = gap ? 10 * gap : 10) {
            double took[WAKES];
            for (int i = 0; i < WAKES; i++) {
                for (double until = seconds() + 1e-6 * gap; seconds() < until;) {}
                double from = seconds();
                sv_parallel(threads, keep_busy, (void *)&work);
                took[i] = seconds() - from - work;
            }
            qsort(took, WAKES, sizeof *took, ascending);
            printf("wake  %d threads, %5d us after the last job: %6.1f us, a tenth of them %6.1f us or more\n", threads,
                   gap, 1e6 * took[WAKES / 2], 1e6 * took[WAKES * 9 / 10]);
        }
    }
}

int main(int argc, char **argv) {
    const char *only = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!sv_reserve_scratch()) return 1;
    if (!sv_cpu_choose(getenv("SV_KERNEL"))) {
        fprintf(stderr, "SV_KERNEL=%s: not a CPU level here\n", getenv("SV_KERNEL"));
        return 2;
    }
    printf("kernel %s, %s\n", sv_cpu->name, SV_REAL_NAME);
    if (!*only || !strcmp(only, "check")) {
        check_dense();
        check_library();
        check_sums(64, 3), check_sums(100000, 3), check_sums(48000, 16), check_sums(5, 100);
        check_sums(3000, 200);
        check_convs();
        check_norms();
        if (sv_conv_has_bf16()) { /* factors that need no rounding: the same results */
            printf("bf16\n");
            coarse = true;
            check_convs();
            coarse = false;
        }
        printf(failures ? "%d WRONG\n" : "all right\n", failures);
    }
    if (!*only || !strcmp(only, "dense")) time_dense();
    if (!*only || !strcmp(only, "norm")) time_norms();
    if (!*only || !strcmp(only, "wake")) time_wakes();
    if (!*only || !strcmp(only, "winograd")) time_winograd();
    if (!*only || !strcmp(only, "layers")) {
        double rate = blas_rate(1536, 1536, 1536, 0, 0);
        printf("OpenBLAS sgemm, 1 thread, 1536^3: %.1f GFLOP/s\n", rate);
        for (long width = 16; width <= 64; width *= 2)
            if (argc < 3 || atol(argv[2]) == width) time_layers(width);
    }
    return failures != 0;
}
