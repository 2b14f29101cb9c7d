/* simvae/matio.so: reading MATLAB files of levels 4 and 5 (up to -v7) through libmatio.
 *
 *     require("simvae.matio").open(path) -> file, or nil, reason
 *     file:list() -> { { name =, shape = {…}, kind = } | { name =, other = }, … }
 *     file:read(name, axis, first, count) -> the numbers as a string, or nil, reason
 *
 * A module of its own, since the core links no libmatio; lua/simvae/io/library.lua runs it in a process of its own,
 * since files are untrusted and the library parses them in C. Files of level 7.3 are HDF5, and not read here.
 *
 * MATLAB's arrays are column-major. shape is in row-major order, MATLAB's backwards, as in a file of level 7.3; axis is
 * 1, and entries first … first + count - 1 (from 0) along it are consecutive. Fields of a struct are listed as
 * struct/field. Cells, objects, sparse and complex arrays are listed with what they are. */
#include <lauxlib.h>
#include <lua.h>
#include <matio.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../version.h"

enum { MAX_VARIABLES = 10000, MAX_FIELDS = 1000, MAX_RANK = 8, MAX_NAME = 512 };
#define MAX_BYTES ((size_t)1 << 32) /* of a variable: level 5 has 32 bits for its size */

#define FILE_CLASS "simvae.matio.file"

typedef struct {
    mat_t *mat;
    matvar_t *variable; /* the one read last, whole; or NULL */
    char name[MAX_NAME];
} mat_file;

static int refuse(lua_State *L, const char *reason) {
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

/* ---- variables -------------------------------------------------------------------- */

/* The kind of a variable's numbers, of csrc/io/numbers.c; NULL: it has none. */
static const char *kind_of(const matvar_t *v) {
    if (v->isComplex) return NULL;
    switch (v->class_type) {
    case MAT_C_DOUBLE:
        return "f8";
    case MAT_C_SINGLE:
        return "f4";
    case MAT_C_INT64:
        return "i8";
    case MAT_C_INT32:
        return "i4";
    case MAT_C_INT16:
        return "i2";
    case MAT_C_INT8:
        return "i1";
    case MAT_C_UINT64:
        return "u8";
    case MAT_C_UINT32:
        return "u4";
    case MAT_C_UINT16:
        return "u2";
    case MAT_C_UINT8:
        return "u1";
    default:
        return NULL;
    }
}

static const char *other_kind(const matvar_t *v) {
    switch (v->class_type) {
    case MAT_C_CELL:
        return "a cell array";
    case MAT_C_STRUCT:
        return "a struct";
    case MAT_C_CHAR:
        return "text";
    case MAT_C_SPARSE:
        return "a sparse array";
    case MAT_C_FUNCTION:
        return "a function";
    default:
        return v->isComplex ? "complex numbers" : "an object";
    }
}

static size_t size_of(const char *kind) { return (size_t)(kind[1] - '0'); }

/* The number of elements; 0 too where the shape is none that a file can hold. */
static size_t count_of(const matvar_t *v) {
    size_t count = 1;
    if (v->rank < 1 || v->rank > MAX_RANK || !v->dims) return 0;
    for (int k = 0; k < v->rank; k++) {
        if (v->dims[k] == 0 || v->dims[k] > MAX_BYTES / count) return 0;
        count *= v->dims[k];
    }
    return count;
}

static void push_entry(lua_State *L, const matvar_t *v, const char *name) {
    const char *kind = kind_of(v);
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    if (kind && v->rank >= 1 && v->rank <= MAX_RANK && v->dims) {
        lua_createtable(L, v->rank, 0);
        for (int k = 0; k < v->rank; k++) {
            lua_pushinteger(L, (lua_Integer)v->dims[v->rank - 1 - k]);
            lua_rawseti(L, -2, k + 1);
        }
        lua_setfield(L, -2, "shape");
        lua_pushstring(L, kind);
        lua_setfield(L, -2, "kind");
    } else {
        lua_pushstring(L, kind ? "an array of more than 8 axes" : other_kind(v));
        lua_setfield(L, -2, "other");
    }
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* Appends the fields of a struct of one element. */
static void push_fields(lua_State *L, matvar_t *v) {
    unsigned count = Mat_VarGetNumberOfFields(v);
    char *const *names = Mat_VarGetStructFieldnames(v);
    for (unsigned i = 0; names && i < count && i < MAX_FIELDS; i++) {
        char path[MAX_NAME];
        matvar_t *field = names[i] ? Mat_VarGetStructFieldByName(v, names[i], 0) : NULL;
        int n = field ? snprintf(path, sizeof path, "%s/%s", v->name, names[i]) : -1;
        if (n > 0 && n < (int)sizeof path) push_entry(L, field, path);
    }
}

static int l_list(lua_State *L) {
    mat_file *f = luaL_checkudata(L, 1, FILE_CLASS);
    lua_newtable(L);
    Mat_Rewind(f->mat);
    matvar_t *v;
    while ((v = Mat_VarReadNextInfo(f->mat)) != NULL) {
        bool full = lua_rawlen(L, -1) >= MAX_VARIABLES;
        if (!full && v->name && strlen(v->name) < MAX_NAME) {
            push_entry(L, v, v->name);
            if (v->class_type == MAT_C_STRUCT && count_of(v) == 1) push_fields(L, v);
        }
        Mat_VarFree(v);
        if (full) return refuse(L, "it has more than 10000 variables");
    }
    return 1;
}

/* ---- reading ---------------------------------------------------------------------- */

/* The variable, read whole, that holds a name: itself or its struct. */
static matvar_t *load(mat_file *f, const char *name) {
    char variable[MAX_NAME];
    const char *slash = strchr(name, '/');
    size_t n = slash ? (size_t)(slash - name) : strlen(name);
    if (n >= sizeof variable) return NULL;
    memcpy(variable, name, n);
    variable[n] = '\0';
    if (!f->variable || strcmp(f->name, variable) != 0) {
        Mat_VarFree(f->variable);
        f->variable = Mat_VarRead(f->mat, variable);
        memcpy(f->name, variable, n + 1);
    }
    if (!f->variable || !slash) return f->variable;
    return f->variable->class_type == MAT_C_STRUCT ? Mat_VarGetStructFieldByName(f->variable, slash + 1, 0) : NULL;
}

/* read(name, axis, first, count) */
static int l_read(lua_State *L) {
    mat_file *f = luaL_checkudata(L, 1, FILE_CLASS);
    matvar_t *v = load(f, luaL_checkstring(L, 2));
    lua_Integer axis = luaL_checkinteger(L, 3), first = luaL_checkinteger(L, 4), count = luaL_checkinteger(L, 5);
    const char *kind = v ? kind_of(v) : NULL;
    size_t all = kind ? count_of(v) : 0;
    if (all == 0 || !v->data || v->nbytes != all * size_of(kind) || (size_t)v->data_size != size_of(kind))
        return refuse(L, "its numbers cannot be read; the file is damaged");
    lua_Integer along = (lua_Integer)v->dims[v->rank - 1];
    if (axis != 1 || first < 0 || count < 0 || first > along || count > along - first)
        return refuse(L, "the part lies outside the array");
    size_t entry = v->nbytes / (size_t)along;
    lua_pushlstring(L, (const char *)v->data + (size_t)first * entry, (size_t)count * entry);
    return 1;
}

/* ---- the file --------------------------------------------------------------------- */

static int l_open(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    mat_file *f = lua_newuserdatauv(L, sizeof *f, 0);
    memset(f, 0, sizeof *f);
    luaL_setmetatable(L, FILE_CLASS);
    f->mat = Mat_Open(path, MAT_ACC_RDONLY);
    if (!f->mat) return refuse(L, "it is no MATLAB file");
    if (Mat_GetVersion(f->mat) == MAT_FT_MAT73) return refuse(L, "it is a MATLAB file of level 7.3, which is HDF5");
    return 1;
}

static int l_close(lua_State *L) {
    mat_file *f = luaL_checkudata(L, 1, FILE_CLASS);
    Mat_VarFree(f->variable);
    f->variable = NULL;
    if (f->mat) Mat_Close(f->mat);
    f->mat = NULL;
    return 0;
}

static void quiet(int level, char *message) {
    (void)level;
    (void)message;
}

__attribute__((visibility("default"))) LUALIB_API int luaopen_simvae_matio(lua_State *L) {
    static const luaL_Reg methods[] = {{"list", l_list}, {"read", l_read}, {"close", l_close}, {NULL, NULL}};
    Mat_LogInitFunc("simvae", quiet);
    luaL_newmetatable(L, FILE_CLASS);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    lua_pushcfunction(L, l_open);
    lua_setfield(L, -2, "open");
    lua_pushliteral(L, SV_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
