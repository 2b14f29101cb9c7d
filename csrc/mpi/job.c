/* job.c: sums over ranks in a fixed order, and other exchanges.
 *
 * Ranks are leaves of a binary tree: at level l, rank r exchanges with rank r ^ 2^l, and both add the same two numbers,
 * so that all end with the same bits (tree_sum.h). A small sum travels whole at every level (recursive doubling). Of a
 * large one, each of the two adds one half, and the halves come back in reverse order (recursive halving and doubling:
 * Rabenseifner 2004; Thakur, Rabenseifner and Gropp 2005): 2 (n - 1) / n of its bytes leave each of n ranks. The order
 * of additions of every number is that of the same tree. */
#include "job.h"
#include "../kernels/tree_sum.h"

#include <limits.h>
#include <stdlib.h>

enum { SMALL = 4096 }; /* numbers that travel whole: a message of that size takes little longer than an empty one */

static MPI_Datatype real_type(void) { return sizeof(sv_real) == sizeof(double) ? MPI_DOUBLE : MPI_FLOAT; }

static bool is_sum(enum sv_job_kind kind) {
    return kind == SV_JOB_SUM || kind == SV_JOB_BF16 || kind == SV_JOB_MOMENTS;
}

static bool is_small(enum sv_job_kind kind, size_t count) { return kind == SV_JOB_MOMENTS || count <= SMALL; }

size_t sv_job_work(enum sv_job_kind kind, size_t count) {
    if (!is_sum(kind)) return 0;
    return is_small(kind, count) ? count : count / 2 + 1;
}

sv_job *sv_new_job(const sv_ranks *r, enum sv_job_kind kind, size_t work) {
    size_t size = (size_t)r->size;
    sv_job *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    j->kind = kind;
    j->request = calloc(2 * size + 2, sizeof *j->request);
    j->from = calloc(size + 1, sizeof *j->from);
    j->text = calloc(size, sizeof *j->text);
    j->length = calloc(size, sizeof *j->length);
    j->send = malloc((work + 1) * sizeof(sv_real));
    j->receive = malloc((work + 1) * sizeof(sv_real));
    if (j->request && j->from && j->text && j->length && j->send && j->receive) return j;
    sv_free_job(r, j);
    return NULL;
}

void sv_free_job(const sv_ranks *r, sv_job *j) {
    for (int k = 0; j->text && k < r->size; k++) free(j->text[k]);
    free(j->request);
    free(j->from);
    free(j->text);
    free(j->length);
    free(j->send);
    free(j->receive);
    free(j);
}

/* ---- sums ---------------------------------------------------------------------- */

static void to_bf16(size_t n, const sv_real *from, uint16_t *to) {
    for (size_t i = 0; i < n; i++) to[i] = sv_to_bf16((float)from[i]);
}

static void from_bf16(size_t n, const uint16_t *from, sv_real *to) {
    for (size_t i = 0; i < n; i++) to[i] = (sv_real)sv_from_bf16(from[i]);
}

static void add_bf16(size_t n, sv_real *to, const uint16_t *from) {
    for (size_t i = 0; i < n; i++) to[i] = sv_bf16_rounded(to[i]) + (sv_real)sv_from_bf16(from[i]);
}

static void round_bf16(size_t n, sv_real *x) {
    for (size_t i = 0; i < n; i++) x[i] = sv_bf16_rounded(x[i]);
}

static int tag_of(const sv_job *j) { return (int)(j->number % SV_TAGS); }

/* Sends n numbers from `from` to the partner of the job's level, and receives m: into `to`, or to receive. */
static int swap(const sv_ranks *r, sv_job *j, const sv_real *from, size_t n, sv_real *to, size_t m) {
    int partner = r->rank ^ 1 << j->level, tag = tag_of(j);
    bool bf16 = j->kind == SV_JOB_BF16;
    MPI_Datatype type = bf16 ? MPI_UINT16_T : real_type();
    if (bf16) to_bf16(n, from, j->send);
    j->requests = 2;
    int code = MPI_Irecv(bf16 || !to ? j->receive : to, (int)m, type, partner, tag, r->jobs, &j->request[0]);
    if (code != MPI_SUCCESS) return code;
    return MPI_Isend(bf16 ? j->send : from, (int)n, type, partner, tag, r->jobs, &j->request[1]);
}

static int exchange(const sv_ranks *r, sv_job *j) { return swap(r, j, j->data, j->count, NULL, j->count); }

/* The half of the job's part that the partner has at a level: what is not ours. */
static void other_half(const sv_job *j, size_t *low, size_t *high) {
    int l = j->level;
    bool lower = j->low[l + 1] == j->low[l] && j->high[l + 1] < j->high[l];
    *low = lower ? j->high[l + 1] : j->low[l];
    *high = lower ? j->high[l] : j->low[l + 1];
}

static int halve(const sv_ranks *r, sv_job *j) {
    int l = j->level;
    size_t middle = j->low[l] + (j->high[l] - j->low[l]) / 2, low, high;
    bool lower = !(r->rank & 1 << l);
    j->low[l + 1] = lower ? j->low[l] : middle;
    j->high[l + 1] = lower ? middle : j->high[l];
    other_half(j, &low, &high);
    return swap(r, j, j->data + low, high - low, NULL, j->high[l + 1] - j->low[l + 1]);
}

static int redouble(const sv_ranks *r, sv_job *j) {
    size_t low, high, own = j->low[j->level + 1];
    other_half(j, &low, &high);
    return swap(r, j, j->data + own, j->high[j->level + 1] - own, j->data + low, high - low);
}

static int begin_sum(const sv_ranks *r, sv_job *j) {
    j->level = 0;
    j->low[0] = 0;
    j->high[0] = j->count;
    j->phase = is_small(j->kind, j->count) ? SV_WHOLE : SV_HALVING;
    return j->phase == SV_HALVING ? halve(r, j) : exchange(r, j);
}

/* Adds what has arrived to n numbers. */
static void join(sv_job *j, sv_real *to, size_t n) {
    if (j->kind == SV_JOB_MOMENTS)
        sv_tree_moments(n / 2, j->rows * (double)(1 << j->level), to, j->receive);
    else if (j->kind == SV_JOB_BF16)
        add_bf16(n, to, j->receive);
    else
        sv_tree_add(n, to, j->receive);
}

/* After a round: the next one, or *done. */
static int next_round(const sv_ranks *r, sv_job *j, bool *done) {
    int l = j->level;
    if (j->phase == SV_DOUBLING) {
        size_t low, high;
        other_half(j, &low, &high);
        if (j->kind == SV_JOB_BF16) from_bf16(high - low, j->receive, j->data + low);
        j->level--;
        *done = j->level < 0;
        return *done ? MPI_SUCCESS : redouble(r, j);
    }
    size_t low = j->phase == SV_HALVING ? j->low[l + 1] : 0, high = j->phase == SV_HALVING ? j->high[l + 1] : j->count;
    join(j, j->data + low, high - low);
    j->level++;
    if (1 << j->level < r->size) return j->phase == SV_HALVING ? halve(r, j) : exchange(r, j);
    if (j->kind == SV_JOB_BF16) round_bf16(high - low, j->data + low);
    *done = j->phase == SV_WHOLE;
    if (*done) return MPI_SUCCESS;
    j->phase = SV_DOUBLING;
    j->level--;
    return redouble(r, j);
}

/* ---- blocks and texts ------------------------------------------------------------ */

static int begin_rows(const sv_ranks *r, sv_job *j) {
    int code = MPI_SUCCESS;
    size_t own = j->from[r->rank];
    for (int k = 0; k < r->size && code == MPI_SUCCESS; k++) {
        if (k == r->rank) continue;
        code = MPI_Irecv(j->data + j->from[k], (int)(j->from[k + 1] - j->from[k]), real_type(), k, tag_of(j), r->jobs,
                         &j->request[j->requests++]);
        if (code != MPI_SUCCESS) return code;
        code = MPI_Isend(j->data + own, (int)(j->from[r->rank + 1] - own), real_type(), k, tag_of(j), r->jobs,
                         &j->request[j->requests++]);
    }
    return code;
}

static int begin_texts(const sv_ranks *r, sv_job *j) {
    int code = MPI_SUCCESS;
    bool tells = j->kind == SV_JOB_TELL;
    for (int k = 0; k < r->size && code == MPI_SUCCESS; k++) {
        if (k == r->rank) continue;
        j->length[k] = -1;
        code = MPI_Isend(j->text[r->rank], j->length[r->rank], MPI_BYTE, k, tells ? SV_CONTROL : tag_of(j),
                         tells ? r->control : r->jobs, &j->request[j->requests++]);
    }
    return code;
}

/* Receives texts that have been announced; *all: none is missing. */
static int receive_texts(const sv_ranks *r, sv_job *j, bool *all) {
    *all = true;
    for (int k = 0; k < r->size; k++) {
        if (k == r->rank || j->length[k] >= 0) continue;
        int there = 0, n = 0;
        MPI_Status status;
        int code = MPI_Iprobe(k, tag_of(j), r->jobs, &there, &status);
        if (code == MPI_SUCCESS && there) code = MPI_Get_count(&status, MPI_BYTE, &n);
        if (code != MPI_SUCCESS) return code;
        *all = *all && there;
        if (!there) continue;
        j->text[k] = malloc((size_t)n + 1);
        if (!j->text[k]) return MPI_ERR_NO_MEM;
        j->length[k] = n;
        code = MPI_Irecv(j->text[k], n, MPI_BYTE, k, tag_of(j), r->jobs, &j->request[j->requests++]);
        if (code != MPI_SUCCESS) return code;
    }
    return MPI_SUCCESS;
}

/* ---- any job --------------------------------------------------------------------- */

static int begin(const sv_ranks *r, sv_job *j) {
    if (is_sum(j->kind)) return begin_sum(r, j);
    return j->kind == SV_JOB_ROWS ? begin_rows(r, j) : begin_texts(r, j);
}

/* One rank has all there is: only the rounding of the root is left. */
static enum sv_job_state alone(sv_job *j) {
    if (j->kind == SV_JOB_BF16) round_bf16(j->count, j->data);
    return SV_JOB_DONE;
}

enum sv_job_state sv_job_progress(const sv_ranks *r, sv_job *j, int *code) {
    if (r->size == 1) return alone(j);
    bool all = true, done = false;
    int arrived = 0;
    *code = MPI_SUCCESS;
    if (!j->begun) {
        j->begun = true;
        *code = begin(r, j);
    }
    if (*code == MPI_SUCCESS && j->kind == SV_JOB_TEXTS) *code = receive_texts(r, j, &all);
    if (*code == MPI_SUCCESS) *code = MPI_Testall(j->requests, j->request, &arrived, MPI_STATUSES_IGNORE);
    if (*code != MPI_SUCCESS) return SV_JOB_FAILED;
    if (!arrived || !all) return SV_JOB_WAITS;
    if (!is_sum(j->kind)) return SV_JOB_DONE;
    *code = next_round(r, j, &done);
    return *code != MPI_SUCCESS ? SV_JOB_FAILED : done ? SV_JOB_DONE : SV_JOB_WAITS;
}
