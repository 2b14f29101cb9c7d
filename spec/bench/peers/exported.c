/* An exported C file as a worker of the benchmark: the protocol of protocol.py, after its "ready", for one workload.
 * with_c.sh compiles it, with the header's name as HEADER, and with DECODE or SAMPLE.
 *
 * Its arguments: FILE, whose inputs are the floats of FILE.inputs; and the command that it becomes when dropped. */
#define _POSIX_C_SOURCE 199309L
#include HEADER

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { DRAWS = 1000, CHECKED = 64 };

#ifdef SAMPLE
static float x[M_SAMPLE_X], u[DRAWS * M_SAMPLE_U], result[DRAWS * M_SAMPLE_Z], work[M_SAMPLE_WORK + 1];
static void call(void) { m_sample(1, DRAWS, x, u, result, work); }
static size_t take(FILE *file) {
    return fread(x, sizeof *x, M_SAMPLE_X, file) + fread(u, sizeof *u, DRAWS * M_SAMPLE_U, file);
}
enum { GIVEN = M_SAMPLE_X + DRAWS * M_SAMPLE_U, MADE = DRAWS * M_SAMPLE_Z };
#else
static float z[M_DECODE_Z], result[M_DECODE_X], work[M_DECODE_WORK + 1];
static void call(void) { m_decode(1, z, result, work); }
static size_t take(FILE *file) { return fread(z, sizeof *z, M_DECODE_Z, file); }
enum { GIVEN = M_DECODE_Z, MADE = M_DECODE_X };
#endif

static double now(void) {
    struct timespec t;
    const char *clock = getenv("BENCH_CLOCK");
    clock_gettime(clock && !strcmp(clock, "cpu") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(void) {
    int i;
    call();
    printf("ok\t");
    for (i = 0; i < CHECKED && i < MADE; i++) printf("%.9g ", (double)result[i]);
    printf("\n");
}

static void run(const char *words) {
    const char *last = strrchr(words, '\t');
    long i, steps = last ? strtol(last + 1, NULL, 10) : 1;
    double start = now();
    for (i = 0; i < steps; i++) call();
    printf("ok\t%.9f\n", now() - start);
}

int main(int argc, char **argv) {
    char line[4096], path[4096];
    FILE *file;
    if (argc < 3) return 2;
    snprintf(path, sizeof path, "%s.inputs", argv[1]);
    file = fopen(path, "rb");
    if (!file || take(file) != GIVEN) {
        printf("no\tcannot read %s\n", path);
        return 1;
    }
    fclose(file);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ok\n");
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "check", 5)) {
            check();
        } else if (!strncmp(line, "run", 3)) {
            run(line);
        } else if (!strncmp(line, "resident", 8)) {
            struct rusage used;
            getrusage(RUSAGE_SELF, &used);
            printf("ok\t%ld\n", used.ru_maxrss * 1024);
        } else if (!strncmp(line, "drop", 4)) {
            printf("ok\n");
            fflush(stdout);
            execv(argv[2], argv + 2);
            return 1;
        } else {
            printf("no\tunknown request\n");
        }
    }
    return 0;
}
