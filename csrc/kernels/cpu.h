/* cpu.h: the CPU levels, and how a loop is compiled for each of them.
 *
 * A level is a set of instructions that kernels are compiled for. SV_CPU_LEVELS is the one list of them; every kernel
 * follows the level in use, sv_cpu, which is set once, when the module is loaded: the best one that this CPU has, or
 * the one that the environment variable SV_KERNEL names.
 *
 * A new level takes two files: its line in SV_CPU_LEVELS, and gemm_NAME.c, which defines sv_cpu_has_NAME (detection)
 * and sv_gemm_NAME (the micro-kernels of matrix products). Loops written with SV_LOOP follow by themselves.
 */
#ifndef SV_CPU_H
#define SV_CPU_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__GNUC__)
#define SV_INLINE static inline __attribute__((always_inline, unused))
#else
#define SV_INLINE static inline
#endif

/* X(name, attribute of functions compiled for it, ...), from the least level to the best. */
#if defined(__x86_64__) && defined(__GNUC__)
#define SV_AVX2 __attribute__((target("avx2,fma")))
#define SV_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define SV_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")))
#define SV_CPU_LEVELS(X, ...)  \
    X(portable, , __VA_ARGS__) \
    X(avx2, SV_AVX2, __VA_ARGS__) X(avx512, SV_AVX512, __VA_ARGS__)
#else
#define SV_CPU_LEVELS(X, ...) X(portable, , __VA_ARGS__)
#endif

enum {
#define SV_CPU_NUMBER(level, attribute, ...) SV_CPU_##level,
    SV_CPU_LEVELS(SV_CPU_NUMBER, )
#undef SV_CPU_NUMBER
        SV_CPU_COUNT
};

typedef struct sv_cpu_level {
    const char *name;
    int number;                        /* SV_CPU_… */
    bool (*usable)(void);              /* on this CPU */
    const struct sv_gemm_kernel *gemm; /* micro-kernels of matrix products */
} sv_cpu_level;

extern const sv_cpu_level *sv_cpu; /* in use; the portable one until sv_cpu_choose is called */

/* Sets the level by its name; NULL or "": the best one. False: no such level, or not on this CPU. */
bool sv_cpu_choose(const char *name);
/* "portable, avx2": the levels of this CPU, the best one last. */
void sv_cpu_names(char *to, size_t room);

/* Products of bfloat16 numbers: a feature of the level avx512, where the CPU has it. */
const struct sv_bf16_kernel *sv_bf16(void); /* NULL: not here */

/* SV_LOOP(name, parameters, arguments) { … }: a static void function, compiled for every level from one body, a plain
 * loop that a compiler vectorises. A call runs the level in use. Products and sums may be contracted to fused
 * multiply-adds where the level has them, in SV_LOOP_UNFUSED not. SV_LOOP_DOUBLE returns a double. */
#define SV_LOOP(name, parameters, arguments) \
    SV_LOOP_VARIANTS(void, SV_FUSED, name, parameters, arguments, name##_levels[sv_cpu->number] arguments)
#define SV_LOOP_UNFUSED(name, parameters, arguments) \
    SV_LOOP_VARIANTS(void, , name, parameters, arguments, name##_levels[sv_cpu->number] arguments)
#define SV_LOOP_DOUBLE(name, parameters, arguments) \
    SV_LOOP_VARIANTS(double, SV_FUSED, name, parameters, arguments, return name##_levels[sv_cpu->number] arguments)

#if defined(__GNUC__) && !defined(__clang__)
#define SV_FUSED __attribute__((optimize("fp-contract=fast")))
#else
#define SV_FUSED
#endif

#define SV_LOOP_VARIANTS(type, fused, name, parameters, arguments, call)                   \
    SV_INLINE type name##_body parameters;                                                 \
    SV_CPU_LEVELS(SV_LOOP_VARIANT_##type, fused, name, parameters, arguments)              \
    static type(*const name##_levels[]) parameters = {SV_CPU_LEVELS(SV_LOOP_ENTRY, name)}; \
    static type name parameters { call; }                                                  \
    SV_INLINE type name##_body parameters
#define SV_LOOP_VARIANT_void(level, attribute, fused, name, parameters, arguments) \
    attribute fused static void name##_##level parameters { name##_body arguments; }
#define SV_LOOP_VARIANT_double(level, attribute, fused, name, parameters, arguments) \
    attribute fused static double name##_##level parameters { return name##_body arguments; }
#define SV_LOOP_ENTRY(level, attribute, name) name##_##level,

#endif
