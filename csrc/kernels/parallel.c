/* parallel.c: the thread pool.
 *
 * One job at a time: a body and n independent pieces. Each thread has a share of the pieces, in a cache line of its
 * own, and takes them from the front; a thread whose share is empty takes from the back of another one's. So two
 * threads seldom contend for a line (half a microsecond between dies), a thread touches the same rows of the data from
 * op to op, and a slow piece, or a worker that is still asleep, does not delay the rest: the caller can do all the work
 * itself. What a piece is must not depend on the number of threads; then results do not either.
 *
 * An idle worker spins for about 0.1 ms, because the next op of a network follows within that, then sleeps until woken.
 * Threads start with the first job, not with the library. A child made by fork() has no workers and starts its own. The
 * library's destructor joins them: Lua unloads the library when its state closes, and no thread may be inside it then.
 *
 * Beside it one job that nobody waits for yet (sv_start_later): a worker takes a piece of it where no op has work for
 * it, instead of spinning, and returns to the ops after each.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity, madvise */
#endif
#include "kernels.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define SPINS 4000 /* pauses before a worker sleeps: 0.1 to 0.2 ms */
#define MAX_PIECES 0xffffffffL
#define LINE 128 /* bytes: lines are fetched in pairs */

/* The pieces left to a thread: next in the lower half, one past the last in the upper. A job does not end before each
 * piece taken is done, so body and arg, read after taking one, are those of its job. */
typedef struct share {
    _Alignas(LINE) _Atomic uint64_t left;
    _Atomic(sv_body) body;
    _Atomic(void *) arg;
} share;

static struct {
    share shares[SV_MAX_THREADS];         /* by worker number; 0: the caller */
    _Alignas(LINE) _Atomic uint64_t done; /* pieces that workers ever did */
    share later;
    _Alignas(LINE) _Atomic uint64_t later_done; /* pieces of it that workers ever did */
    atomic_bool later_taken;                    /* it has a job */
    uint64_t forks;                             /* that this process is away from the one that loaded the library */
    _Alignas(LINE) pthread_mutex_t owner;       /* held by the thread whose job it is */
    pthread_mutex_t lock;                       /* for sleeping */
    pthread_cond_t wake;
    atomic_int sleepers;
    atomic_bool quit;
    atomic_int started; /* workers running (threads - 1) */
    int threads;        /* wanted */
    pthread_t id[SV_MAX_THREADS];
    void *scratch[SV_MAX_THREADS]; /* of workers, by number */
} pool = {
    .owner = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
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

static void hand_out(share *s, sv_body body, void *arg, uint64_t next, uint64_t end) {
    atomic_store_explicit(&s->body, body, memory_order_relaxed);
    atomic_store_explicit(&s->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&s->left, end << 32 | next, memory_order_release);
}

static bool take(share *s, bool first, long *piece) {
    uint64_t left = atomic_load_explicit(&s->left, memory_order_relaxed);
    for (;;) {
        uint64_t next = left & 0xffffffffu, end = left >> 32;
        if (next >= end) return false;
        *piece = (long)(first ? next : end - 1);
        if (atomic_compare_exchange_weak(&s->left, &left, first ? left + 1 : left - ((uint64_t)1 << 32))) return true;
    }
}

/* Does pieces until none is left, its own first; returns how many. */
static uint64_t work(int worker) {
    uint64_t count = 0;
    int threads = atomic_load(&pool.started) + 1;
    for (int k = 0; k < threads; k++) {
        share *s = &pool.shares[(worker + k) % threads];
        for (long piece; take(s, k == 0, &piece); count++)
            atomic_load_explicit(&s->body, memory_order_relaxed)(atomic_load_explicit(&s->arg, memory_order_relaxed),
                                                                 piece, worker);
    }
    return count;
}

static bool is_empty(share *s) {
    uint64_t left = atomic_load_explicit(&s->left, memory_order_relaxed);
    return (left & 0xffffffffu) >= left >> 32;
}

static bool idle(int worker) { return is_empty(&pool.shares[worker]) && is_empty(&pool.later); }

/* Does one piece of the job that nobody waits for; false: there is none. */
static bool work_later(int worker) {
    share *s = &pool.later;
    long piece;
    if (!take(s, true, &piece)) return false;
    atomic_load_explicit(&s->body, memory_order_relaxed)(atomic_load_explicit(&s->arg, memory_order_relaxed), piece,
                                                         worker);
    atomic_fetch_add(&pool.later_done, 1);
    return true;
}

static void *run_worker(void *number) {
    own_number = (int)(intptr_t)number;
    scratch = pool.scratch[own_number];
    busy = true;
    while (!atomic_load(&pool.quit)) {
        uint64_t count = work(own_number);
        if (count > 0) atomic_fetch_add(&pool.done, count);
        if (work_later(own_number)) continue;
        int spin = 0;
        while (idle(own_number) && spin < SPINS && !atomic_load(&pool.quit)) {
            relax();
            spin++;
        }
        if (spin < SPINS) continue;
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_add(&pool.sleepers, 1);
        while (idle(own_number) && !atomic_load(&pool.quit)) pthread_cond_wait(&pool.wake, &pool.lock);
        atomic_fetch_sub(&pool.sleepers, 1);
        pthread_mutex_unlock(&pool.lock);
    }
    free(scratch);
    return NULL;
}

static void wake_all(void) {
    if (atomic_load_explicit(&pool.sleepers, memory_order_relaxed) == 0) return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

static void stop(void) {
    atomic_store(&pool.quit, true);
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < atomic_load(&pool.started); i++) pthread_join(pool.id[i], NULL);
    atomic_store(&pool.started, 0);
    atomic_store(&pool.quit, false);
}

static void after_fork(void) {
    pthread_mutex_init(&pool.owner, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    for (int i = 0; i < SV_MAX_THREADS; i++) atomic_store(&pool.shares[i].left, 0);
    atomic_store(&pool.later.left, 0);
    atomic_store(&pool.later_taken, false);
    pool.forks++;
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.quit, false);
    atomic_store(&pool.started, 0);
    busy = false;
    own_number = 0;
}

/* Threads of a process that never asked: the cores it may use. */
static int default_threads(void) {
    long n = 0;
#ifdef __linux__
    cpu_set_t set;
    if (n <= 0 && sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
#ifdef _SC_NPROCESSORS_ONLN
    if (n <= 0) n = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return n < 1 ? 1 : n > SV_MAX_THREADS ? SV_MAX_THREADS : (int)n;
}

/* Huge pages: a packed block spans 1 MB. */
static void *new_scratch(void) {
    const size_t page = 2u << 20;
    void *memory;
    if (posix_memalign(&memory, page, SV_SCRATCH_BYTES) != 0) return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    madvise(memory, SV_SCRATCH_BYTES, MADV_HUGEPAGE);
#endif
    return memory;
}

/* A worker has its scratch before it starts. Where the system gives no more memory or threads, the pool is smaller. */
static void start(void) {
    static atomic_bool registered;
    if (!atomic_exchange(&registered, true)) pthread_atfork(NULL, NULL, after_fork);
    int wanted = sv_threads() - 1;
    for (int i = atomic_load(&pool.started); i < wanted; i++) {
        void *memory = new_scratch();
        pool.scratch[i + 1] = memory;
        if (!memory || pthread_create(&pool.id[i], NULL, run_worker, (void *)(intptr_t)(i + 1)) != 0) {
            free(memory);
            pool.threads = i + 1;
            break;
        }
        atomic_store(&pool.started, i + 1);
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

/* ---- the serial share, for benchmarks ------------------------------------------------ */

static bool timing;
static double in_regions; /* processor seconds of callers within regions that were shared */

static double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double sv_serial_seconds(bool on) {
    timing = on;
    return thread_seconds() - in_regions;
}

/* Waits until a counter has risen by n. */
static void await(_Atomic uint64_t *counter, uint64_t before, uint64_t n) {
    for (long spin = 0; atomic_load(counter) - before < n; spin++) {
        if (spin < SPINS)
            relax();
        else
            sched_yield();
    }
}

/* Runs inline when there is nothing to share: one piece, one thread, a call from inside a body, or the pool in use by
 * another thread of the process. */
void sv_parallel(long n, sv_body body, void *arg) {
    if (n <= 0) return;
    if (n == 1 || n > MAX_PIECES || busy || sv_threads() == 1 || pthread_mutex_trylock(&pool.owner) != 0) {
        for (long i = 0; i < n; i++) body(arg, i, own_number);
        return;
    }
    const double began = timing ? thread_seconds() : 0;
    if (atomic_load(&pool.started) < pool.threads - 1) start();
    const int threads = atomic_load(&pool.started) + 1;
    uint64_t before = atomic_load(&pool.done);
    for (int k = threads - 1; k >= 0; k--) {
        uint64_t next = (uint64_t)n * (uint64_t)k / (uint64_t)threads;
        uint64_t end = (uint64_t)n * ((uint64_t)k + 1) / (uint64_t)threads;
        hand_out(&pool.shares[k], body, arg, next, end);
    }
    wake_all(); /* a worker going to sleep concurrently may miss it: others take its share */
    busy = true;
    uint64_t elsewhere = (uint64_t)n - work(0);
    await(&pool.done, before, elsewhere);
    busy = false;
    if (timing) in_regions += thread_seconds() - began;
    pthread_mutex_unlock(&pool.owner);
}

/* ---- a job that nobody waits for yet -------------------------------------------------- */

void sv_start_later(sv_later *job, long n, sv_body body, void *arg) {
    *job = (sv_later){.n = n, .body = body, .arg = arg, .forks = pool.forks};
    if (n <= 0 || n > MAX_PIECES || busy || sv_threads() == 1 || atomic_exchange(&pool.later_taken, true)) return;
    if (pthread_mutex_trylock(&pool.owner) != 0) {
        atomic_store(&pool.later_taken, false);
        return;
    }
    if (atomic_load(&pool.started) < pool.threads - 1) start();
    pthread_mutex_unlock(&pool.owner);
    job->started = true;
    job->done = atomic_load(&pool.later_done);
    hand_out(&pool.later, body, arg, 0, (uint64_t)n);
    wake_all();
}

static void do_rest(void *arg, long i, int worker) {
    const sv_later *job = arg;
    job->body(job->arg, job->next + i, worker);
}

void sv_finish_later(sv_later *job) {
    if (!job->started ||
        job->forks != pool.forks) { /* of a process's parent: its workers may have been in the middle */
        job->next = 0;
        sv_parallel(job->n, do_rest, job);
        return;
    }
    uint64_t left = atomic_exchange(&pool.later.left, 0);
    uint64_t next = left & 0xffffffffu, end = left >> 32;
    const long rest = next < end ? (long)(end - next) : 0;
    job->next = (long)next;
    sv_parallel(rest, do_rest, job);
    await(&pool.later_done, job->done, (uint64_t)(job->n - rest));
    job->started = false;
    atomic_store(&pool.later_taken, false);
}

/* Of the calling thread, whatever its number, so that threads outside the pool have one as well. */
void *sv_scratch(int worker) {
    (void)worker;
    return scratch;
}

bool sv_reserve_scratch(void) {
    if (!scratch) scratch = new_scratch();
    return scratch != NULL;
}

__attribute__((destructor)) static void unload(void) {
    if (atomic_load(&pool.started) > 0) stop();
    free(scratch);
    scratch = NULL;
}
