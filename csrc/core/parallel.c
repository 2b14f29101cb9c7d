/* parallel.c: the pool that all threaded work goes through.
 *
 * One job at a time: a body and n independent pieces of it. The caller and the
 * workers draw pieces from one atomic ticket, so a slow piece, or a worker that
 * is still asleep, holds nothing up: the caller can do all the work itself. What
 * a piece is must not depend on the number of threads; then results do not
 * either.
 *
 * A worker that finds nothing to do spins for about 0.1 ms, because the next op
 * of a network follows within that, then sleeps until woken. Threads start with
 * the first job, not with the library. A child made by fork() has no workers and
 * starts its own. The library's destructor joins them: Lua unloads the library
 * when its state closes, and no thread may be inside it then.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity, madvise */
#endif
#include "../simvae.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define SPINS 4000 /* pauses before a worker sleeps: 0.1 to 0.2 ms */
#define CLOSED 0xffffffffu
#define MAX_PIECES 0x7fffffffL

static struct {
    pthread_mutex_t owner; /* held by the thread whose job it is */
    pthread_mutex_t lock;  /* for sleeping */
    pthread_cond_t wake;
    /* Job number in the upper half, next piece in the lower half. CLOSED while
     * the job is being written, so that no worker draws a piece of a job it
     * knows in part. */
    _Atomic uint64_t ticket;
    _Atomic long n, done;
    _Atomic(sv_body) body;
    _Atomic(void *) arg;
    atomic_int sleepers;
    atomic_bool quit;
    int threads, started; /* wanted; workers running (threads - 1) */
    pthread_t id[SV_MAX_THREADS];
} pool = {
    .owner = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .ticket = CLOSED,
};

static _Thread_local bool busy;      /* inside a body */
static _Thread_local int own_number; /* worker number of this thread */
static _Thread_local void *scratch;

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Draws and does pieces until none is left. */
static void work(int worker) {
    for (;;) {
        uint64_t t = atomic_load(&pool.ticket);
        long n = atomic_load(&pool.n);
        sv_body body = atomic_load(&pool.body);
        void *arg = atomic_load(&pool.arg);
        long i = (long)(t & 0xffffffffu);
        if (i == CLOSED || i >= n) return;
        if (!atomic_compare_exchange_weak(&pool.ticket, &t, t + 1)) continue;
        body(arg, i, worker);
        atomic_fetch_add(&pool.done, 1);
    }
}

static bool idle(void) {
    uint64_t i = atomic_load(&pool.ticket) & 0xffffffffu;
    return i == CLOSED || (long)i >= atomic_load(&pool.n);
}

static void *run_worker(void *number) {
    own_number = (int)(intptr_t)number;
    busy = true;
    while (!atomic_load(&pool.quit)) {
        work(own_number);
        int spin = 0;
        while (idle() && spin < SPINS && !atomic_load(&pool.quit)) {
            relax();
            spin++;
        }
        if (spin < SPINS) continue;
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_add(&pool.sleepers, 1);
        while (idle() && !atomic_load(&pool.quit)) pthread_cond_wait(&pool.wake, &pool.lock);
        atomic_fetch_sub(&pool.sleepers, 1);
        pthread_mutex_unlock(&pool.lock);
    }
    free(scratch);
    return NULL;
}

static void wake_all(void) {
    if (atomic_load(&pool.sleepers) == 0) return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

static void stop(void) {
    atomic_store(&pool.quit, true);
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.started; i++) pthread_join(pool.id[i], NULL);
    pool.started = 0;
    atomic_store(&pool.quit, false);
}

static void after_fork(void) {
    pthread_mutex_init(&pool.owner, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    atomic_store(&pool.ticket, CLOSED);
    atomic_store(&pool.n, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.quit, false);
    pool.started = 0;
    busy = false;
    own_number = 0;
}

/* Threads of a process that never asked: SV_THREADS, else the cores it may use. */
static int default_threads(void) {
    long n = 0;
    const char *wish = getenv("SV_THREADS");
    if (wish) n = strtol(wish, NULL, 10);
#ifdef __linux__
    cpu_set_t set;
    if (n <= 0 && sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
#ifdef _SC_NPROCESSORS_ONLN
    if (n <= 0) n = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return n < 1 ? 1 : n > SV_MAX_THREADS ? SV_MAX_THREADS : (int)n;
}

static void start(void) {
    static atomic_bool registered;
    if (!atomic_exchange(&registered, true)) pthread_atfork(NULL, NULL, after_fork);
    int wanted = sv_threads() - 1;
    while (pool.started < wanted) {
        void *number = (void *)(intptr_t)(pool.started + 1);
        if (pthread_create(&pool.id[pool.started], NULL, run_worker, number) != 0) break;
        pool.started++;
    }
}

int sv_threads(void) {
    if (pool.threads == 0) pool.threads = default_threads();
    return pool.threads;
}

bool sv_set_threads(int n) {
    if (n < 1 || n > SV_MAX_THREADS) return false;
    if (busy) return n == sv_threads();
    pthread_mutex_lock(&pool.owner);
    if (n != pool.threads) stop();
    pool.threads = n;
    pthread_mutex_unlock(&pool.owner);
    return true;
}

/* In line when there is nothing to share: one piece, one thread, a call from
 * inside a body, or another thread of the process that has the pool now. */
void sv_parallel(long n, sv_body body, void *arg) {
    if (n <= 0) return;
    if (n == 1 || n > MAX_PIECES || busy || sv_threads() == 1 || pthread_mutex_trylock(&pool.owner) != 0) {
        for (long i = 0; i < n; i++) body(arg, i, own_number);
        return;
    }
    if (pool.started < pool.threads - 1) start();
    uint64_t job = (atomic_load(&pool.ticket) >> 32) + 1;
    atomic_store(&pool.ticket, job << 32 | CLOSED);
    atomic_store(&pool.n, n);
    atomic_store(&pool.body, body);
    atomic_store(&pool.arg, arg);
    atomic_store(&pool.done, 0);
    atomic_store(&pool.ticket, job << 32);
    wake_all();
    busy = true;
    work(0);
    for (long spin = 0; atomic_load(&pool.done) < n; spin++) {
        if (spin < SPINS)
            relax();
        else
            sched_yield();
    }
    busy = false;
    pthread_mutex_unlock(&pool.owner);
}

/* Belongs to the calling thread, whatever its number, so that threads that are
 * none of the pool's have one as well. Huge pages: a packed block spans 1 MB. */
void *sv_scratch(int worker) {
    (void)worker;
    if (!scratch) {
        const size_t page = 2u << 20;
        if (posix_memalign(&scratch, page, SV_SCRATCH_BYTES) != 0) {
            scratch = NULL;
            return NULL;
        }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        madvise(scratch, SV_SCRATCH_BYTES, MADV_HUGEPAGE);
#endif
    }
    return scratch;
}

__attribute__((destructor)) static void unload(void) {
    if (pool.started > 0) stop();
    free(scratch);
    scratch = NULL;
}
