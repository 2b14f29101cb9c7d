/* launcher.c: the environment that an MPI launcher (mpirun, srun) gives the processes that it starts. Simulators are no
 * ranks of its job: one that uses MPI itself, with variables of another job, would wait for it or end. Programs and
 * forked workers are started without them. */
#include "process.h"

#include <stdlib.h>
#include <string.h>

extern char **environ;

static bool launched(void) { return getenv("OMPI_COMM_WORLD_RANK") || getenv("PMIX_RANK") || getenv("PMI_RANK"); }

static bool is_its(const char *entry) {
    static const char *const prefixes[] = {"OMPI_", "PMIX_", "PMI_", "PRTE_", "ORTE_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(entry, prefixes[i], strlen(prefixes[i]))) return true;
    return false;
}

bool sv_of_launcher(const char *entry) { return is_its(entry) && launched(); }

void sv_leave_launcher(void) {
    if (!launched()) return;
    int kept = 0;
    for (int i = 0; environ[i]; i++)
        if (!is_its(environ[i])) environ[kept++] = environ[i];
    environ[kept] = NULL;
}
