/* os.h: the operating system: processes, programs, folders, signals. */
#ifndef SV_OS_H
#define SV_OS_H

#include "../engine/engine.h"

double sv_now(void); /* seconds, monotonic */
void sv_open_system(lua_State *L, int core);
void sv_open_signals(lua_State *L, int core);
void sv_open_terminal(lua_State *L, int core);
void sv_open_process(lua_State *L, int core); /* programs and forked workers */

#endif
