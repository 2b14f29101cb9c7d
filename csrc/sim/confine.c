/* confine.c: restricts the process that runs ngspice, or a library that reads untrusted files.
 *
 *   core.spice.enter(folder) -> true, or nil, message     changes the working directory
 *   core.spice.confine(room?) -> true                     irreversible: see below; room: bytes that it may take,
 *                                                         and then its standard error is discarded
 *
 * A netlist is data, but ngspice has commands and code models that start programs and write files. The process that
 * runs it therefore may not start programs (execve), open network connections (socket), trace other processes (ptrace),
 * gain privileges (set-user-ID files), leave core files or write files above MAX_FILE. Restrictions that the system
 * does not support are omitted. */
#define _GNU_SOURCE
#include "../simvae.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#define MAX_FILE ((rlim_t)64 << 20)

int sv_enter_folder(lua_State *L) {
    const char *path = sv_check_text(L, 1, NULL);
    if (chdir(path) != 0) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, strerror(errno));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static void limit(int what, rlim_t maximum) {
    struct rlimit r;
    if (getrlimit(what, &r) != 0) return;
    if (r.rlim_max == RLIM_INFINITY || r.rlim_max > maximum) r.rlim_max = maximum;
    if (r.rlim_cur == RLIM_INFINITY || r.rlim_cur > r.rlim_max) r.rlim_cur = r.rlim_max;
    setrlimit(what, &r);
}

#ifdef __linux__
#if defined __x86_64__
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif
#endif

#ifdef OWN_ARCH
/* The system calls below fail with EPERM; so do all calls of another architecture (32 bit) of the same CPU, and
 * those of x32, whose numbers have bit 30 set. */
static void filter_calls(void) {
#define REFUSE(call)                                   \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA))
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA)),
        REFUSE(SYS_execve),
        REFUSE(SYS_execveat),
        REFUSE(SYS_socket),
        REFUSE(SYS_ptrace),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
#undef REFUSE
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
#endif

/* Limits the address space to what is mapped now and room bytes; not where the system does not say what is mapped. */
static void limit_memory(lua_Integer room) {
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long long pages = 0;
    bool known = f && fscanf(f, "%llu", &pages) == 1;
    if (f) fclose(f);
    if (known) limit(RLIMIT_AS, (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (rlim_t)room);
}

/* Discards what is written to standard error, such as glibc's lines about a heap that a library corrupted. */
static void silence(void) {
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0) return;
    dup2(null, STDERR_FILENO);
    close(null);
}

int sv_confine(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) {
        limit_memory(sv_check_integer(L, 1));
        silence();
    }
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, MAX_FILE);
#ifdef __linux__
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifdef OWN_ARCH
    filter_calls();
#endif
#endif
    lua_pushboolean(L, 1);
    return 1;
}
