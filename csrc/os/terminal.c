/* terminal.c: the terminal on standard input: its mode, its size, and bytes as they are typed.
 *
 * A mode is restored when its object is closed or collected, and at exit, as after os.exit. A text goes with it,
 * written as it is restored: the escape sequence that leaves an alternate screen. */
#include "process.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define MODE "simvae.terminal_mode"

enum { TEXT = 64 };

typedef struct mode {
    struct mode *next;
    pid_t owner; /* a forked worker leaves the terminal to its owner */
    struct termios before;
    char text[TEXT];
} mode;

static mode *open_modes; /* the newest first */

static void restore(mode *m) {
    mode **at = &open_modes;
    while (*at && *at != m) at = &(*at)->next;
    if (!*at) return;
    *at = m->next;
    if (m->owner != getpid()) return;
    sv_write_quietly(STDOUT_FILENO, m->text, strlen(m->text));
    tcsetattr(STDIN_FILENO, TCSADRAIN, &m->before);
}

static void restore_all(void) {
    while (open_modes) restore(open_modes);
}

/* mode(raw, text) -> an object to close; or nil, message where standard input is no terminal. raw: bytes arrive as they
 * are typed and are not echoed; Ctrl-C still interrupts, Ctrl-Z does not suspend. Else the mode stays, to be restored
 * after others have changed it. text (""): written to standard output as the mode is restored. */
static int l_mode(lua_State *L) {
    static bool at_exit;
    bool raw = lua_toboolean(L, 1);
    const char *text = sv_optional_text(L, 2, "");
    sv_check_argument(L, strlen(text) < TEXT, 2, "text is too long");
    struct termios now;
    if (tcgetattr(STDIN_FILENO, &now) != 0) return sv_failed(L, "standard input is not a terminal");
    mode *m = lua_newuserdatauv(L, sizeof *m, 0);
    *m = (mode){.next = open_modes, .owner = getpid(), .before = now};
    memcpy(m->text, text, strlen(text) + 1);
    luaL_setmetatable(L, MODE);
    if (!at_exit) at_exit = atexit(restore_all) == 0;
    open_modes = m;
    if (raw) {
        now.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
        now.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
        now.c_cc[VMIN] = 1;
        now.c_cc[VTIME] = 0;
        now.c_cc[VSUSP] = _POSIX_VDISABLE;
        tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
    }
    return 1;
}

static int l_close(lua_State *L) {
    restore(sv_check_object(L, 1, MODE));
    return 0;
}

static bool readable(double seconds) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, seconds < 0 ? -1 : (int)(seconds * 1000)) > 0;
}

/* wait(seconds) -> whether standard input can be read; false too when a signal has come first. Negative: any time. */
static int l_wait(lua_State *L) {
    lua_pushboolean(L, readable(sv_check_number(L, 1)));
    return 1;
}

/* read(seconds) -> the bytes that are there, "" at the end of the input; nil: none came, or a signal has come first. */
static int l_read(lua_State *L) {
    char bytes[4096];
    if (!readable(sv_check_number(L, 1))) return 0;
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
    lua_pushlstring(L, bytes, n < 0 ? 0 : (size_t)n);
    return 1;
}

/* size(1) -> columns, rows, width and height in pixels (0: unknown) of the terminal on standard output (2: standard
 * error); nothing where it has none. */
static int l_size(lua_State *L) {
    struct winsize w;
    if (ioctl((int)sv_optional_integer(L, 1, 1), TIOCGWINSZ, &w) != 0 || w.ws_col == 0) return 0;
    lua_pushinteger(L, w.ws_col);
    lua_pushinteger(L, w.ws_row);
    lua_pushinteger(L, w.ws_xpixel);
    lua_pushinteger(L, w.ws_ypixel);
    return 4;
}

void sv_open_terminal(lua_State *L, int core) {
    static const luaL_Reg methods[] = {{"close", l_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"mode", l_mode}, {"wait", l_wait}, {"read", l_read}, {"size", l_size}, {NULL, NULL}};
    core = lua_absindex(L, core);
    sv_new_class(L, MODE, methods, l_close, NULL);
    luaL_newlib(L, functions);
    lua_setfield(L, core, "terminal");
}
