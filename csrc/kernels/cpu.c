/* cpu.c: the table of CPU levels, and the choice of the one in use. */
#include "cpu.h"
#include "gemm.h"
#include <string.h>

#ifdef SV_DOUBLE
#define GEMM_OF(level) &sv_gemm_portable /* the others are written for floats */
#else
#define GEMM_OF(level) &sv_gemm_##level
#endif

static const sv_cpu_level levels[] = {
#define ROW(level, attribute, ...) {#level, SV_CPU_##level, sv_cpu_has_##level, GEMM_OF(level)},
    SV_CPU_LEVELS(ROW, )
#undef ROW
};

const sv_cpu_level *sv_cpu = &levels[SV_CPU_portable];

bool sv_cpu_choose(const char *name) {
    for (int i = SV_CPU_COUNT - 1; i >= 0; i--) {
        if (name && *name && strcmp(name, levels[i].name) != 0) continue;
        if (!levels[i].usable()) continue;
        sv_cpu = &levels[i];
        return true;
    }
    return false;
}

void sv_cpu_names(char *to, size_t room) {
    size_t used = 0;
    to[0] = '\0';
    for (int i = 0; i < SV_CPU_COUNT; i++) {
        size_t length = strlen(levels[i].name);
        if (!levels[i].usable() || used + length + 3 > room) continue;
        if (used > 0) {
            memcpy(to + used, ", ", 2);
            used += 2;
        }
        memcpy(to + used, levels[i].name, length + 1);
        used += length;
    }
}

const sv_bf16_kernel *sv_bf16(void) {
#if !defined(SV_DOUBLE) && defined(__x86_64__)
    return sv_cpu->number == SV_CPU_avx512 && sv_bf16_avx512.usable() ? &sv_bf16_avx512 : NULL;
#else
    return NULL;
#endif
}
