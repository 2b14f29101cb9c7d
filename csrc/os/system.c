/* system.c: functions of the operating system that Lua's library lacks: monotonic clock, folders, terminals, memory in
 * use. Functions about files return nil, message on failure. */
#define _GNU_SOURCE
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int refused(lua_State *L, const char *path) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(errno));
    return 2;
}

double sv_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* clock() -> monotonic time in seconds. */
static int l_clock(lua_State *L) {
    lua_pushnumber(L, sv_now());
    return 1;
}

static int l_sleep(lua_State *L) {
    double s = sv_check_number(L, 1);
    struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    nanosleep(&t, NULL);
    return 0;
}

/* isatty(1): is standard output (2: standard error) a terminal? */
static int l_isatty(lua_State *L) {
    lua_pushboolean(L, isatty((int)sv_optional_integer(L, 1, 1)));
    return 1;
}

/* columns(1) -> width of the terminal on standard output (2: standard error), or nil */
static int l_columns(lua_State *L) {
    struct winsize w;
    if (ioctl((int)sv_optional_integer(L, 1, 1), TIOCGWINSZ, &w) != 0 || w.ws_col == 0) return 0;
    lua_pushinteger(L, w.ws_col);
    return 1;
}

/* mkdir(path) -> true: creates the folder and its parents. */
static int l_mkdir(lua_State *L) {
    size_t n;
    const char *path = sv_check_text(L, 1, &n);
    char *part = lua_newuserdatauv(L, n + 1, 0);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++)
        if (part[i] == '/' || part[i] == '\0') {
            char kept = part[i];
            part[i] = '\0';
            if (mkdir(part, 0777) != 0 && errno != EEXIST) return refused(L, part);
            part[i] = kept;
        }
    struct stat s;
    if (stat(path, &s) != 0) return refused(L, path);
    if (!S_ISDIR(s.st_mode)) {
        errno = ENOTDIR;
        return refused(L, path);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* kind(path) -> "file", "folder", "other", or nil if it does not exist; then its size in bytes */
static int l_kind(lua_State *L) {
    struct stat s;
    if (stat(sv_check_text(L, 1, NULL), &s) != 0) return 0;
    lua_pushstring(L, S_ISREG(s.st_mode) ? "file" : S_ISDIR(s.st_mode) ? "folder" : "other");
    lua_pushinteger(L, (lua_Integer)s.st_size);
    return 2;
}

/* list(folder) -> {name, …} in no order, without . and .. */
static int l_list(lua_State *L) {
    const char *path = sv_check_text(L, 1, NULL);
    DIR *d = opendir(path);
    if (!d) return refused(L, path);
    lua_newtable(L);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            lua_pushstring(L, e->d_name);
            lua_rawseti(L, -2, ++n);
        }
    closedir(d);
    return 1;
}

/* resident() -> resident bytes now (0 where unknown), and their peak */
static int l_resident(lua_State *L) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
        fclose(f);
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
#ifdef __APPLE__
    lua_Integer maximum = (lua_Integer)u.ru_maxrss;
#else
    lua_Integer maximum = (lua_Integer)u.ru_maxrss * 1024;
#endif
    lua_pushinteger(L, (lua_Integer)pages * sysconf(_SC_PAGESIZE));
    lua_pushinteger(L, maximum);
    return 2;
}

/* processor() -> its name, with family and model on x86 (virtual machines often name the vendor alone), and the number
 * of cores online. */
static int l_processor(lua_State *L) {
    char line[256], name[200] = "unknown processor";
    int family = -1, model = -1;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (!value) continue;
        value++;
        if (!strncmp(line, "cpu family", 10)) family = atoi(value);
        if (!strncmp(line, "model\t", 6)) model = atoi(value);
        if (!strncmp(line, "model name", 10)) {
            snprintf(name, sizeof name, "%s", value + 1);
            name[strcspn(name, "\n")] = '\0';
            break;
        }
    }
    if (f) fclose(f);
    if (family >= 0 && model >= 0)
        lua_pushfstring(L, "%s (family %d, model %d)", name, family, model);
    else
        lua_pushstring(L, name);
    lua_pushinteger(L, (lua_Integer)sysconf(_SC_NPROCESSORS_ONLN));
    return 2;
}

static int l_pid(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)getpid());
    return 1;
}

/* cwd() -> the working directory; or nil, message */
static int l_cwd(lua_State *L) {
    char path[PATH_MAX];
    if (!getcwd(path, sizeof path)) return refused(L, ".");
    lua_pushstring(L, path);
    return 1;
}

static const luaL_Reg functions[] = {{"clock", l_clock},
                                     {"sleep", l_sleep},
                                     {"isatty", l_isatty},
                                     {"columns", l_columns},
                                     {"mkdir", l_mkdir},
                                     {"kind", l_kind},
                                     {"list", l_list},
                                     {"resident", l_resident},
                                     {"processor", l_processor},
                                     {"pid", l_pid},
                                     {"temporary_folder", sv_temporary_folder},
                                     {"remove_tree", sv_remove_tree},
                                     {"create_file", sv_create_file},
                                     {"cwd", l_cwd},
                                     {NULL, NULL}};

void sv_open_system(lua_State *L, int core) {
    core = lua_absindex(L, core);
    luaL_newlib(L, functions);
    lua_setfield(L, core, "system");
}
