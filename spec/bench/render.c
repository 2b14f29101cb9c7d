/* render.c: images per second on one core, for each simulator written in C.
 *
 *   make build/bench/render && build/bench/render [SECONDS]
 *
 * Renders samples of each prior into one batch of 64 images, as training does, for
 * SECONDS (1). Prints the median of five runs in processor time, which does not depend
 * on other processes.
 */
#define _POSIX_C_SOURCE 199309L
#include "../../csrc/simvae.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

extern const sv_sim sv_sim_box, sv_sim_polygon, sv_sim_fourier, sv_sim_dsprites, sv_sim_digits, sv_sim_scene;

enum { BATCH = 64, DRAWS = 1024, RUNS = 5, MAX_PARAMS = 16 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 64-bit linear congruential generator (Knuth's constants), sufficient for a benchmark. */
static double uniform(double low, double high) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(state >> 11) / 9007199254740992.0;
}

static void draw_box_z(double *z) {
    z[0] = uniform(0, 64);
    z[1] = uniform(0, 64);
    z[2] = uniform(0, 64 - z[0]);
    z[3] = uniform(0, 64 - z[1]);
}

static void draw_polygon_z(double *z) {
    for (int i = 0; i < 8; i++) z[i] = uniform(0, 64);
}

static void draw_fourier_z(double *z) {
    for (int i = 0; i < 11; i++) z[i] = uniform(-1, 1);
}

static void draw_dsprites_z(double *z) {
    z[0] = 1 + (int)uniform(0, 3);
    z[1] = uniform(0.5, 1);
    z[2] = uniform(0, 6.283185307179586);
    z[3] = uniform(0, 1);
    z[4] = uniform(0, 1);
}

static void draw_digits_z(double *z) {
    static const double low[13] = {0, 13, 13, 14, 0.3, -0.3, 1.5, 1, -1, -1, -1, -1, -1};
    static const double high[13] = {0, 19, 19, 26, 0.9, 0.5, 7, 5, 1, 1, 1, 1, 1};
    z[0] = 1 + (int)uniform(0, 10);
    for (int i = 1; i < 13; i++) z[i] = uniform(low[i], high[i]);
}

static void draw_scene_z(double *z) {
    static const double low[11] = {0, -10, -14, 6, 0.6, 0, 0, 0, 0.4, 0, 0.5};
    static const double high[11] = {0, 10, 10, 12, 1.4, 6.283, 1.571, 1, 1, 6.283, 1.2};
    z[0] = 1 + (int)uniform(0, 3);
    for (int i = 1; i < 11; i++) z[i] = uniform(low[i], high[i]);
}

static int by_size(const void *a, const void *b) {
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

static void measure(const sv_sim *sim, void (*draw_z)(double *z), double seconds) {
    static double z[DRAWS][MAX_PARAMS];
    size_t size = (size_t)sim->channels * (size_t)sim->height * (size_t)sim->width;
    sv_real *out = malloc(BATCH * size * sizeof *out);
    if (out == NULL) return;
    for (int i = 0; i < DRAWS; i++) draw_z(z[i]);
    double rate[RUNS];
    for (int run = 0; run < RUNS; run++) {
        double start = now(), spent = 0;
        long n = 0;
        while (spent < seconds / RUNS) {
            for (int i = 0; i < DRAWS; i++) sim->draw(z[i], out + size * (size_t)(i % BATCH));
            n += DRAWS;
            spent = now() - start;
        }
        rate[run] = (double)n / spent;
    }
    qsort(rate, RUNS, sizeof rate[0], by_size);
    printf("%-10s %9.0f images/s  %6.2f us each  (%s)\n", sim->name, rate[RUNS / 2], 1e6 / rate[RUNS / 2],
           SV_REAL_NAME);
    free(out);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    measure(&sv_sim_box, draw_box_z, seconds);
    measure(&sv_sim_polygon, draw_polygon_z, seconds);
    measure(&sv_sim_fourier, draw_fourier_z, seconds);
    measure(&sv_sim_dsprites, draw_dsprites_z, seconds);
    measure(&sv_sim_digits, draw_digits_z, seconds);
    measure(&sv_sim_scene, draw_scene_z, seconds);
    return 0;
}
