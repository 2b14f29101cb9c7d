/* process.h: shared by process.c, program.c and worker.c: one type for a child process, which is a program, a forked
 * worker, or a worker's channel to its owner. process.c documents the Lua interface. */
#ifndef SV_PROCESS_H
#define SV_PROCESS_H

#include "../simvae.h"

#include <sys/types.h>

#define SV_PROCESS "simvae.process"

typedef struct {
    char *data;
    size_t from, to, room;
} sv_buffer;

enum sv_process_kind { SV_PROGRAM, SV_WORKER, SV_LINK };

typedef struct sv_child {
    struct sv_child *next, **at; /* list of children to kill at exit */
    enum sv_process_kind kind;
    pid_t pid, owner; /* owner: the process that may wait for it */
    bool ended;
    int status;
    int in, out, err; /* -1: closed; a worker's in and out are one socket */
    sv_buffer text, errors;
} sv_child;

sv_child *sv_check_child(lua_State *L);                           /* at stack index 1 */
sv_child *sv_push_child(lua_State *L, enum sv_process_kind kind); /* without a process */
void sv_enlist(sv_child *c, pid_t pid);                           /* assigns its process */
void sv_release_child(sv_child *c);                               /* kills, waits, closes */
void sv_forget_children(void);                                    /* in a forked child: they are the parent's */

double sv_deadline(lua_State *L, int index); /* when the timeout at index ends; -1: never */
int sv_milliseconds_to(double end);          /* argument of poll() */
void sv_close_fd(int *fd);
void sv_do_not_block(int fd);
void sv_die_with_parent(pid_t parent); /* in the child; where the system supports it */

/* NULL, or the reason: "timeout", "closed", … pump waits once, then reads and, where data is given, writes what it
 * can. */
const char *sv_pump(lua_State *L, sv_child *c, const char **data, size_t *left, double end);
const char *sv_write_all(lua_State *L, sv_child *c, const char *data, size_t n, double end);
size_t sv_held(const sv_buffer *b);
int sv_take(lua_State *L, sv_buffer *b, size_t n, size_t skip); /* pushes n bytes, drops skip more */
int sv_failed(lua_State *L, const char *why);                   /* pushes nil, why */
int sv_not_started(lua_State *L, const char *name, const char *why);

void sv_watch(const sv_child *children); /* watcher.c: of the list of children, after each change */
void sv_forget_watches(void);            /* in a forked child: signals as before the parent's watches */
void sv_forget_watcher(void);            /* in a forked child: it is the parent's */
ssize_t sv_write_quietly(int fd, const char *data, size_t n);

/* launcher.c: variables of an MPI launcher */
bool sv_of_launcher(const char *entry); /* whether NAME=value is one */
void sv_leave_launcher(void);           /* in a forked child: without them */

/* folder.c */
void sv_remove_folders_of(pid_t pid); /* temporary folders of a forked child that has ended */
void sv_remove_own_folders(void);     /* those of this process */
void sv_prepare_folders(void);        /* before a fork */
int sv_temporary_folder(lua_State *L);
int sv_remove_tree(lua_State *L);
int sv_create_file(lua_State *L);

int sv_spawn(lua_State *L); /* program.c */
int sv_read_numbers_of(lua_State *L);
int sv_activity(lua_State *L); /* activity.c */
int sv_fork(lua_State *L);     /* worker.c */
int sv_send(lua_State *L);
int sv_receive(lua_State *L);
int sv_poll(lua_State *L);

#endif
