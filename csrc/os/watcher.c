/* watcher.c: ends the process groups of programs when their owner is killed.
 *
 * The kernel kills a program whose owner dies (Linux, sv_die_with_parent), but not the processes that the program
 * started. A helper shell reads the list of its programs' groups, one line at each change, and kills the groups of the
 * last line at the end of its input, when this process has ended. */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

#define SCRIPT                                                               \
    "trap '' HUP INT QUIT TERM; while read -r line; do groups=$line; done; " \
    "for g in $groups; do kill -9 \"-$g\"; done"

enum { MAX_LIST = 4000 }; /* bytes: writes to a pipe are atomic up to 4096 */

extern char **environ;

static struct {
    int fd;
    pid_t owner;
} watcher = {-1, 0};

static bool start(void) {
    int low[2];
    if (pipe(low) != 0) return false;
    watcher.fd = fcntl(low[1], F_DUPFD_CLOEXEC, 10);
    close(low[1]);
    fcntl(low[0], F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, low[0], 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&how, 0);
    char name[] = "sh", option[] = "-c", script[] = SCRIPT;
    char *argv[] = {name, option, script, NULL};
    pid_t pid;
    bool ok = watcher.fd >= 0 && posix_spawn(&pid, "/bin/sh", &files, &how, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    close(low[0]);
    if (ok) {
        watcher.owner = getpid();
        sv_do_not_block(watcher.fd);
    } else
        sv_close_fd(&watcher.fd);
    return ok;
}

void sv_watch(const sv_child *children) {
    char line[MAX_LIST + 32];
    size_t n = 0;
    if (watcher.fd >= 0 && watcher.owner != getpid()) sv_close_fd(&watcher.fd); /* our owner's */
    for (const sv_child *c = children; c && n < MAX_LIST; c = c->next)
        if (c->kind == SV_PROGRAM && c->owner == getpid())
            n += (size_t)snprintf(line + n, sizeof line - n, "%ld ", (long)c->pid);
    if (watcher.fd < 0 && (n == 0 || !start())) return;
    line[n] = '\n';
    sv_write_quietly(watcher.fd, line, n + 1);
}

void sv_forget_watcher(void) { sv_close_fd(&watcher.fd); }
