/* job.h: what ranks exchange, as jobs that a thread carries on together (job.c).
 *
 * All ranks start the same jobs in the same order. Each is a few rounds of non-blocking messages; a round begins when
 * the messages of the one before have arrived. */
#ifndef SV_MPI_JOB_H
#define SV_MPI_JOB_H

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <stdbool.h>

#include "../kernels/kernels.h"

enum { SV_MAX_LEVELS = 16 }; /* of the tree of ranks */

enum sv_job_kind {
    SV_JOB_SUM,     /* data of all ranks is added */
    SV_JOB_BF16,    /* the same, rounded to bfloat16 (tree_sum.h) */
    SV_JOB_MOMENTS, /* data (2, columns) of `rows` numbers each are joined */
    SV_JOB_ROWS,    /* data in blocks, of which each rank has its own: all get all */
    SV_JOB_TEXTS,   /* a text of each rank: all get all */
    SV_JOB_TELL     /* a text to all others, which they have not asked for */
};

typedef struct sv_ranks {
    int rank, size; /* the size is a power of two */
    MPI_Comm jobs, control;
} sv_ranks;

typedef struct sv_job {
    struct sv_job *next;
    enum sv_job_kind kind;
    long number; /* from 1 */
    sv_real *data;
    size_t count;
    double rows;
    size_t *from; /* size + 1: where the blocks of ranks start, for SV_JOB_ROWS */
    char **text;  /* of each rank */
    int *length;  /* of each text; -1: it has not been announced yet */

    /* progress */
    bool begun;
    enum { SV_WHOLE, SV_HALVING, SV_DOUBLING } phase;
    int level;
    size_t low[SV_MAX_LEVELS + 1], high[SV_MAX_LEVELS + 1]; /* the part of data that this rank adds at each level */
    void *send, *receive;
    MPI_Request *request;
    int requests;
} sv_job;

enum sv_job_state { SV_JOB_WAITS, SV_JOB_DONE, SV_JOB_FAILED };

/* Carries a job on without waiting. Failed: *code is MPI's error. */
enum sv_job_state sv_job_progress(const sv_ranks *r, sv_job *j, int *code);
sv_job *sv_new_job(const sv_ranks *r, enum sv_job_kind kind, size_t work); /* NULL: not enough memory */
void sv_free_job(const sv_ranks *r, sv_job *j);
/* Numbers of workspace of a sum: messages that are sent, and that arrive. */
size_t sv_job_work(enum sv_job_kind kind, size_t count);

enum { SV_TAGS = 32000, SV_CONTROL = 1 };

#endif
