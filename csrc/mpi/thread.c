/* thread.c: one thread of a rank makes all calls of MPI, so that messages travel while the others compute, and a
 * library without thread support will do (MPI_THREAD_FUNNELED). It carries all jobs on in turn, and sleeps for short
 * times where none has progressed: there may be more ranks than cores. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    EAGER = 200,      /* polls without progress before it sleeps between them */
    NAP = 50,         /* microseconds */
    LISTENING = 1000, /* microseconds between polls where it waits for other ranks to say something */
    SPINS = 2000,     /* of a waiting caller */
    TEXT = 4096       /* bytes of a message of another rank that are kept */
};

static struct {
    pthread_t id;
    pid_t owner;
    pthread_mutex_t lock;
    pthread_cond_t posted, changed;
    bool started, quit, finalize, listening;
    atomic_bool ready;
    sv_world world;
    sv_job *queue, *active, *ended; /* not begun, in progress, texts that nobody has taken */
    long last;                      /* number of the last job */
    _Atomic long finished;          /* how many have ended: for callers that spin */
    atomic_bool failed;
    char failure[TEXT];
    int failed_by;
    bool heard[128]; /* kinds of messages */
} now = {.lock = PTHREAD_MUTEX_INITIALIZER, .posted = PTHREAD_COND_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- in the thread ---------------------------------------------------------------- */

static void fail(const char *text, int from) {
    pthread_mutex_lock(&now.lock);
    if (!now.failed) {
        snprintf(now.failure, sizeof now.failure, "%s", text);
        now.failed_by = from;
        now.failed = true;
    }
    pthread_cond_broadcast(&now.changed);
    pthread_mutex_unlock(&now.lock);
}

static void fail_mpi(int code) {
    char text[MPI_MAX_ERROR_STRING] = "an error of MPI";
    int length = 0;
    MPI_Error_string(code, text, &length);
    fail(text, -1);
}

/* Cores of this rank, and how many ranks of the node share one with it. */
static int threads_of(MPI_Comm node, int local) {
#ifdef __linux__
    cpu_set_t own, *all = calloc((size_t)local, sizeof *all);
    if (!all) return 1;
    if (sched_getaffinity(0, sizeof own, &own) != 0) CPU_ZERO(&own);
    MPI_Allgather(&own, sizeof own, MPI_BYTE, all, sizeof own, MPI_BYTE, node);
    int cores = CPU_COUNT(&own), sharing = 0;
    for (int k = 0; k < local; k++) {
        cpu_set_t both;
        CPU_AND(&both, &own, &all[k]);
        sharing += CPU_COUNT(&both) > 0;
    }
    free(all);
#else
    (void)node;
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN), sharing = local;
#endif
    int n = sharing > 0 ? cores / sharing : cores;
    return n < 1 ? 1 : n > SV_MAX_THREADS ? SV_MAX_THREADS : n;
}

static int start_mpi(sv_world *w) {
    int provided;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (code != MPI_SUCCESS) return code;
    MPI_Comm node;
    MPI_Comm_rank(MPI_COMM_WORLD, &w->ranks.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &w->ranks.size);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_size(node, &w->local);
    w->threads = threads_of(node, w->local);
    MPI_Comm_free(&node);
    MPI_Comm_dup(MPI_COMM_WORLD, &w->ranks.jobs);
    MPI_Comm_dup(MPI_COMM_WORLD, &w->ranks.control);
    MPI_Comm_set_errhandler(w->ranks.jobs, MPI_ERRORS_RETURN);
    return MPI_Comm_set_errhandler(w->ranks.control, MPI_ERRORS_RETURN);
}

/* Reads what other ranks tell. A text that begins with F is a failure. */
static void listen(void) {
    int there = 0, n = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, SV_CONTROL, now.world.ranks.control, &there, &status) != MPI_SUCCESS || !there)
        return;
    MPI_Get_count(&status, MPI_BYTE, &n);
    char *text = calloc((size_t)n + 1, 1);
    if (!text) return;
    MPI_Recv(text, n, MPI_BYTE, status.MPI_SOURCE, SV_CONTROL, now.world.ranks.control, MPI_STATUS_IGNORE);
    pthread_mutex_lock(&now.lock);
    now.heard[text[0] & 127] = true;
    pthread_cond_broadcast(&now.changed);
    pthread_mutex_unlock(&now.lock);
    if (text[0] == 'F') fail(text + 1, status.MPI_SOURCE);
    free(text);
}

static void nap(long microseconds) { nanosleep(&(struct timespec){0, microseconds * 1000}, NULL); }

/* Waits for something to do, and takes over what was posted; false: nothing is left. */
static bool take_posted(bool *listening) {
    pthread_mutex_lock(&now.lock);
    while (!now.queue && !now.active && !now.quit && !now.listening) pthread_cond_wait(&now.posted, &now.lock);
    sv_job **end = &now.active;
    while (*end) end = &(*end)->next;
    *end = now.queue;
    now.queue = NULL;
    *listening = now.listening;
    bool going = now.quit ? now.active && !now.failed : true;
    pthread_mutex_unlock(&now.lock);
    return going;
}

static void end_job(sv_job **at) {
    sv_job *j = *at;
    bool kept = j->kind == SV_JOB_TEXTS; /* until its caller takes it, at any time from here on */
    pthread_mutex_lock(&now.lock);
    *at = j->next;
    j->next = NULL;
    if (kept) {
        j->next = now.ended;
        now.ended = j;
    }
    atomic_fetch_add(&now.finished, 1);
    pthread_cond_broadcast(&now.changed);
    pthread_mutex_unlock(&now.lock);
    if (!kept) sv_free_job(&now.world.ranks, j);
}

/* Carries every job on, after a failure only what this rank tells, as tensors of others may be gone; whether one has
 * ended. */
static bool progress_all(void) {
    bool any = false;
    for (sv_job **at = &now.active; *at;) {
        int code;
        if (now.failed && (*at)->kind != SV_JOB_TELL) {
            at = &(*at)->next;
            continue;
        }
        enum sv_job_state state = sv_job_progress(&now.world.ranks, *at, &code);
        if (state == SV_JOB_FAILED) {
            fail_mpi(code);
            return false;
        }
        if (state == SV_JOB_DONE) {
            end_job(at);
            any = true;
        } else {
            at = &(*at)->next;
        }
    }
    return any;
}

static void *run(void *unused) {
    (void)unused;
    int code = start_mpi(&now.world);
    if (code != MPI_SUCCESS) fail_mpi(code);
    pthread_mutex_lock(&now.lock);
    now.ready = true;
    pthread_cond_broadcast(&now.changed);
    pthread_mutex_unlock(&now.lock);
    bool listening;
    for (int idle = 0; take_posted(&listening);) {
        idle = progress_all() ? 0 : idle + 1;
        listen();
        if (!now.active && listening)
            nap(LISTENING);
        else if (idle > EAGER || now.failed)
            nap(NAP);
        else
            sched_yield();
    }
    if (now.finalize && !now.failed) {
        MPI_Comm_free(&now.world.ranks.jobs);
        MPI_Comm_free(&now.world.ranks.control);
        MPI_Finalize();
    }
    return NULL;
}

/* ---- its owner --------------------------------------------------------------------- */

/* Waits for a change until a time; false: it has passed. */
static bool wait_until(const struct timespec *until) {
    return pthread_cond_timedwait(&now.changed, &now.lock, until) != ETIMEDOUT;
}

static struct timespec after(double seconds) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    long whole = (long)seconds;
    t.tv_sec += whole;
    t.tv_nsec += (long)((seconds - (double)whole) * 1e9);
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

bool sv_mpi_running(void) { return now.started && now.owner == getpid(); }

const char *sv_mpi_start(void) {
    now.owner = getpid();
    if (pthread_create(&now.id, NULL, run, NULL) != 0) return "the system starts no thread";
    now.started = true;
    return NULL;
}

const sv_world *sv_mpi_ready(double wait) {
    struct timespec until = after(wait);
    pthread_mutex_lock(&now.lock);
    while (!now.ready && wait_until(&until)) {}
    bool ready = now.ready;
    pthread_mutex_unlock(&now.lock);
    return ready ? &now.world : NULL;
}

const char *sv_mpi_failure(int *from) {
    if (!now.failed) return NULL;
    *from = now.failed_by;
    return now.failure;
}

long sv_mpi_post(sv_job *j) {
    pthread_mutex_lock(&now.lock);
    j->number = ++now.last;
    sv_job **end = &now.queue;
    while (*end) end = &(*end)->next;
    *end = j;
    pthread_cond_signal(&now.posted);
    pthread_mutex_unlock(&now.lock);
    return j->number;
}

static bool pending(long number) {
    for (const sv_job *j = now.active; j; j = j->next)
        if (j->number == number) return true;
    for (const sv_job *j = now.queue; j; j = j->next)
        if (j->number == number) return true;
    return false;
}

bool sv_mpi_wait(long number, double wait, bool always) {
    /* the next job to end is often the one: a short spin saves the time of waking up */
    for (long i = 0, seen = now.finished; i < SPINS && now.finished == seen && !now.failed; i++) sched_yield();
    struct timespec until = after(wait);
    pthread_mutex_lock(&now.lock);
    bool waits;
    while ((waits = pending(number)) && (always || !now.failed) && wait_until(&until)) {}
    pthread_mutex_unlock(&now.lock);
    return !waits;
}

sv_job *sv_mpi_take(long number) {
    pthread_mutex_lock(&now.lock);
    sv_job **at = &now.ended;
    while (*at && (*at)->number != number) at = &(*at)->next;
    sv_job *j = *at;
    if (j) *at = j->next;
    pthread_mutex_unlock(&now.lock);
    return j;
}

bool sv_mpi_heard(char kind, double wait) {
    struct timespec until = after(wait);
    pthread_mutex_lock(&now.lock);
    now.listening = true;
    pthread_cond_signal(&now.posted);
    while (!now.heard[kind & 127] && wait_until(&until)) {}
    bool heard = now.heard[kind & 127];
    now.listening = false;
    pthread_mutex_unlock(&now.lock);
    return heard;
}

void sv_mpi_stop(bool finalize) {
    if (!sv_mpi_running()) return;
    pthread_mutex_lock(&now.lock);
    now.quit = true;
    now.finalize = finalize;
    pthread_cond_signal(&now.posted);
    pthread_mutex_unlock(&now.lock);
    pthread_join(now.id, NULL);
    now.started = false;
}
