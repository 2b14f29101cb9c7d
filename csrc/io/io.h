/* io.h: files. */
#ifndef SV_IO_H
#define SV_IO_H

#include "../engine/engine.h"

/* ---- io/: files ------------------------------------------------------------ */

/* kind: f2 f4 f8 bf2 i1 i2 i4 i8 u1 u2 u4 u8 b1, the digit is the number of bytes; swapped: in the other byte order. */
size_t sv_number_size(const char *kind); /* 0: unknown */
void sv_read_numbers(const char *kind, bool swapped, const unsigned char *from, size_t count, sv_real *to);
void sv_write_numbers(const sv_real *from, size_t count,
                      unsigned char *to); /* little-endian, of the build's number type */
void sv_open_numbers(lua_State *L, int io);
void sv_open_fill(lua_State *L, int io);
/* Row-major numbers of the tensor at index, in whatever layout it is; pushes the object that keeps them alive. */
const sv_real *sv_plain_data(lua_State *L, int index);
int sv_encode_png(lua_State *L);
void sv_open_png(lua_State *L, int io);
void sv_open_write(lua_State *L, int io);
/* Locks a whole file for this process. False: sets errno, and holder to the process id of the holder, if known. */
bool sv_lock_file(int fd, long *holder);
void sv_open_lock(lua_State *L, int io);
void sv_open_number(lua_State *L, int core);       /* io/number_text.c: core.number */
void sv_open_float_text(lua_State *L, int number); /* io/float_text.c: more of core.number */
void sv_open_sample_log(lua_State *L, int io);     /* io/sample_log.c: core.io.open_sample_log */
void sv_open_io(lua_State *L, int core);           /* core.io, for lua/simvae/io/init.lua */

#endif
