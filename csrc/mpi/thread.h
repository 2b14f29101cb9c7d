/* thread.h: the thread that calls MPI. */
#ifndef SV_MPI_THREAD_H
#define SV_MPI_THREAD_H

#include "job.h"

/* What is known once MPI has started. */
typedef struct sv_world {
    sv_ranks ranks;
    int local;   /* ranks on this node */
    int threads; /* cores that this rank may use, divided by the ranks of this node that may use them as well */
} sv_world;

const char *sv_mpi_start(void);            /* starts the thread, which starts MPI; a reason why it cannot */
const sv_world *sv_mpi_ready(double wait); /* NULL: not within so many seconds */
const char *sv_mpi_failure(int *from);     /* why no job ends any more, and the rank that said so (-1: MPI); or NULL */
long sv_mpi_post(sv_job *j);               /* the thread owns it; its number */
/* False: not within so many seconds or, unless always, a failure. */
bool sv_mpi_wait(long number, double wait, bool always);
sv_job *sv_mpi_take(long number);          /* a job of texts that has ended, to be freed; NULL: none */
bool sv_mpi_heard(char kind, double wait); /* whether another rank has told a text that begins with it */
void sv_mpi_stop(bool finalize);           /* ends the thread; finalize: and MPI, with all other ranks */
bool sv_mpi_running(void);                 /* in this process, not in the one that it was forked from */

#endif
