/* simvae/hdf5.so: reading HDF5 files through libhdf5.
 *
 *     require("simvae.hdf5").open(path) -> file, or nil, reason
 *     file:list() -> { { name =, shape = {…}, kind =, attributes = { name = value } } | { name =, other =, … }, … }
 *     file:read(name, axis, first, count) -> the numbers as a string, or nil, reason
 *
 * A module of its own, since the core links no HDF5; lua/simvae/io/library.lua runs it in a process of its own, since
 * files are untrusted and the library parses them in C.
 *
 * Names are paths without the leading slash, of hard links alone: soft and external links are listed with what they
 * are and not followed. kind is of csrc/io/numbers.c, in this machine's byte order. Datasets whose numbers lie
 * elsewhere, are compressed by other filters than HDF5's own, or are not written in full are listed with what they are;
 * none of them is read. Plugins are not loaded. axis counts from 1, first from 0. */
#define H5_USE_110_API
#include <hdf5.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../version.h"

enum {
    MAX_OBJECTS = 10000,
    MAX_DEPTH = 32,
    MAX_RANK = 8, /* of tensors */
    MAX_NAME = 1024,
    MAX_ATTRIBUTES = 64, /* of one object */
    MAX_VALUES = 4096,   /* of one attribute */
    MAX_TEXT = 4096,     /* bytes of one text of an attribute */
    MAX_FILTERS = 8,
    DEFLATE_RATIO = 1032 /* deflate packs at most as many bytes into one (zlib's technical details) */
};
#define MAX_CHUNK ((hsize_t)1 << 30)    /* bytes */
#define MAX_READ ((hsize_t)1 << 30)     /* bytes at once */
#define CHUNK_CACHE ((size_t)128 << 20) /* bytes: rows that are read one by one lie in the same chunks */

#define FILE_CLASS "simvae.hdf5.file"

typedef struct {
    hid_t file;
    hid_t dataset; /* the one read last, which keeps its chunk cache; or -1 */
    char name[MAX_NAME];
} hdf5_file;

/* ---- errors ----------------------------------------------------------------------- */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *to) {
    if (n == 0 && e->desc) snprintf(to, 200, "%s", e->desc);
    return 0;
}

/* nil, and what the library says is wrong. */
static int failed(lua_State *L, const char *otherwise) {
    char text[200] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, text);
    H5Eclear2(H5E_DEFAULT);
    lua_pushnil(L);
    lua_pushstring(L, text[0] ? text : otherwise);
    return 2;
}

static int refuse(lua_State *L, const char *reason) {
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

/* ---- types ------------------------------------------------------------------------ */

/* The kind of a type's numbers; NULL: it has none. */
static const char *kind_of(hid_t type) {
    static const char *const whole[2][4] = {{"u1", "u2", "u4", "u8"}, {"i1", "i2", "i4", "i8"}};
    size_t size = H5Tget_size(type);
    switch (H5Tget_class(type)) {
    case H5T_INTEGER: {
        int place = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : size == 8 ? 3 : -1;
        return place < 0 ? NULL : whole[H5Tget_sign(type) == H5T_SGN_2][place];
    }
    case H5T_FLOAT:
        return size <= 4 ? "f4" : size <= 16 ? "f8" : NULL;
    case H5T_ENUM: { /* h5py's booleans */
        hid_t base = H5Tget_super(type);
        const char *kind = base < 0 ? NULL : kind_of(base);
        if (base >= 0) H5Tclose(base);
        return kind;
    }
    default:
        return NULL;
    }
}

/* What a type without numbers is. */
static const char *other_type(hid_t type) {
    switch (H5Tget_class(type)) {
    case H5T_STRING:
        return "text";
    case H5T_COMPOUND:
        return "records (or complex numbers)";
    case H5T_REFERENCE:
        return "references (cells of MATLAB)";
    case H5T_VLEN:
        return "lists of unequal length";
    case H5T_ARRAY:
        return "arrays in each element";
    default:
        return "no numbers of a type that is read";
    }
}

static size_t size_of(const char *kind) { return (size_t)(kind[1] - '0'); }

/* The type in memory of a kind. */
static hid_t memory_type(const char *kind) {
    const struct {
        const char *kind;
        hid_t type;
    } types[] = {{"f4", H5T_NATIVE_FLOAT}, {"f8", H5T_NATIVE_DOUBLE}, {"i1", H5T_NATIVE_INT8},
                 {"i2", H5T_NATIVE_INT16}, {"i4", H5T_NATIVE_INT32},  {"i8", H5T_NATIVE_INT64},
                 {"u1", H5T_NATIVE_UINT8}, {"u2", H5T_NATIVE_UINT16}, {"u4", H5T_NATIVE_UINT32},
                 {"u8", H5T_NATIVE_UINT64}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].kind, kind)) return types[i].type;
    return -1;
}

/* ---- attributes ------------------------------------------------------------------- */

/* Pushes one text without what follows its end; padded by blanks or zeros. */
static void push_text(lua_State *L, const char *text, size_t n) {
    const char *end = memchr(text, 0, n);
    if (end) n = (size_t)(end - text);
    while (n > 0 && text[n - 1] == ' ') n--;
    lua_pushlstring(L, text, n < MAX_TEXT ? n : MAX_TEXT);
}

/* Pushes the texts of an attribute as a list; false: pushes nothing. */
static bool push_texts(lua_State *L, hid_t attribute, hid_t type, size_t count) {
    bool variable = H5Tis_variable_str(type) > 0;
    size_t size = variable ? sizeof(char *) : H5Tget_size(type);
    if (size == 0 || size > MAX_TEXT) return false;
    hid_t memory = H5Tcopy(H5T_C_S1);
    if (variable) {
        H5Tset_size(memory, H5T_VARIABLE);
    } else {
        H5Tset_size(memory, size);
        H5Tset_strpad(memory, H5T_STR_NULLPAD);
    }
    H5Tset_cset(memory, H5Tget_cset(type));
    char *data = lua_newuserdatauv(L, count * size + 1, 0);
    memset(data, 0, count * size + 1);
    bool read = H5Aread(attribute, memory, data) >= 0;
    H5Tclose(memory);
    if (!read) {
        lua_pop(L, 1);
        return false;
    }
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        const char *text = data + i * size;
        if (variable) memcpy(&text, data + i * size, sizeof text);
        push_text(L, text ? text : "", text ? (variable ? strlen(text) : size) : 0);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_remove(L, -2);
    return true;
}

static bool push_numbers(lua_State *L, hid_t attribute, size_t count) {
    double *data = lua_newuserdatauv(L, count * sizeof *data, 0);
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, data) < 0) {
        lua_pop(L, 1);
        return false;
    }
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushnumber(L, data[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_remove(L, -2);
    return true;
}

/* Pushes an attribute's values as a list of numbers or of texts; false: pushes nothing. */
static bool push_attribute(lua_State *L, hid_t attribute) {
    hid_t space = H5Aget_space(attribute), type = H5Aget_type(attribute);
    hssize_t count = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
    bool pushed = false;
    if (type >= 0 && count > 0 && count <= MAX_VALUES) {
        H5T_class_t class = H5Tget_class(type);
        if (class == H5T_STRING)
            pushed = push_texts(L, attribute, type, (size_t)count);
        else if ((class == H5T_INTEGER || class == H5T_FLOAT) && kind_of(type))
            pushed = push_numbers(L, attribute, (size_t)count);
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return pushed;
}

/* Sets field attributes of the table on the top. */
static void add_attributes(lua_State *L, hid_t object) {
    int count = H5Aget_num_attrs(object);
    lua_newtable(L);
    for (int i = 0; i < count && i < MAX_ATTRIBUTES; i++) {
        hid_t one = H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, (hsize_t)i, H5P_DEFAULT, H5P_DEFAULT);
        if (one < 0) continue;
        char name[MAX_NAME];
        ssize_t length = H5Aget_name(one, sizeof name, name);
        if (length > 0 && length < (ssize_t)sizeof name && push_attribute(L, one)) lua_setfield(L, -2, name);
        H5Aclose(one);
    }
    lua_setfield(L, -2, "attributes");
}

/* ---- datasets --------------------------------------------------------------------- */

/* Pushes what a filter is that is not HDF5's own, and returns true; else false. */
static bool foreign_filter(lua_State *L, hid_t plist) {
    int count = H5Pget_nfilters(plist);
    if (count > MAX_FILTERS) {
        lua_pushliteral(L, "numbers that pass more than 8 filters");
        return true;
    }
    for (int i = 0; i < count; i++) {
        unsigned flags, config;
        size_t values = 0;
        char name[64] = "";
        H5Z_filter_t filter = H5Pget_filter2(plist, (unsigned)i, &flags, &values, NULL, sizeof name, name, &config);
        if (filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_FLETCHER32) continue;
        lua_pushfstring(L, "numbers compressed by filter %d (%s), which is not read; h5repack -f GZIP=4 rewrites them",
                        (int)filter, name[0] ? name : "without a name");
        return true;
    }
    return false;
}

/* Do all chunks of these axes exist? Else pushes what is missing. */
static bool has_chunks(lua_State *L, hid_t dataset, hid_t plist, int rank, const hsize_t *shape, size_t size) {
    hsize_t chunk[H5S_MAX_RANK], bytes = size, wanted = 1, found = 0;
    if (H5Pget_chunk(plist, H5S_MAX_RANK, chunk) != rank) return lua_pushliteral(L, "chunks of another rank"), false;
    for (int k = 0; k < rank; k++) {
        if (chunk[k] == 0 || chunk[k] > MAX_CHUNK / bytes)
            return lua_pushliteral(L, "chunks above 1 GiB; h5repack -l CHUNK=… makes smaller ones"), false;
        bytes *= chunk[k];
        hsize_t along = shape[k] / chunk[k] + (shape[k] % chunk[k] != 0);
        if (along && wanted > ULLONG_MAX / along) return lua_pushliteral(L, "more chunks than any file holds"), false;
        wanted *= along;
    }
    hid_t space = H5Dget_space(dataset);
    bool counted = space >= 0 && H5Dget_num_chunks(dataset, space, &found) >= 0;
    if (space >= 0) H5Sclose(space);
    if (counted && found == wanted) return true;
    lua_pushfstring(L, "numbers that are not written in full: %I of %I chunks", (lua_Integer)found,
                    (lua_Integer)wanted);
    return false;
}

/* Why the numbers of a dataset cannot be read, pushed; or false. */
static bool unreadable(lua_State *L, hid_t dataset, int rank, const hsize_t *shape, size_t size) {
    hid_t plist = H5Dget_create_plist(dataset);
    if (plist < 0) return lua_pushliteral(L, "a damaged dataset"), true;
    H5D_layout_t layout = H5Pget_layout(plist);
    bool whole = true;
    if (layout == H5D_VIRTUAL || H5Pget_external_count(plist) > 0) {
        lua_pushliteral(L, "numbers that lie in other files");
        whole = false;
    } else if (foreign_filter(L, plist)) {
        whole = false;
    } else if (layout == H5D_CHUNKED) {
        whole = has_chunks(L, dataset, plist, rank, shape, size);
    }
    hsize_t count = 1;
    for (int k = 0; whole && k < rank; k++) {
        if (shape[k] && count > ULLONG_MAX / size / shape[k]) {
            lua_pushliteral(L, "a shape that no memory holds");
            whole = false;
        }
        count *= shape[k];
    }
    if (whole && count * size / DEFLATE_RATIO > H5Dget_storage_size(dataset)) {
        lua_pushliteral(L, "numbers that are not written in full, or a shape that its bytes cannot give");
        whole = false;
    }
    if (whole && layout == H5D_CONTIGUOUS && count > 0 && H5Dget_storage_size(dataset) != count * size) {
        lua_pushliteral(L, "numbers that are not written in full");
        whole = false;
    }
    H5Pclose(plist);
    return !whole;
}

/* Sets the fields of a dataset in the table on the top. */
static void describe(lua_State *L, hid_t dataset) {
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    hsize_t shape[H5S_MAX_RANK];
    int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, shape, NULL);
    const char *kind = type < 0 ? NULL : kind_of(type);
    if (rank < 0 || (space >= 0 && H5Sget_simple_extent_type(space) == H5S_NULL)) {
        lua_pushliteral(L, "no numbers");
        lua_setfield(L, -2, "other");
    } else if (rank > MAX_RANK) {
        lua_pushliteral(L, "an array of more than 8 axes");
        lua_setfield(L, -2, "other");
    } else {
        lua_createtable(L, rank, 0);
        for (int k = 0; k < rank; k++) {
            lua_pushinteger(L, shape[k] > (hsize_t)LLONG_MAX ? LLONG_MAX : (lua_Integer)shape[k]);
            lua_rawseti(L, -2, k + 1);
        }
        lua_setfield(L, -2, "shape");
        if (!kind) {
            lua_pushstring(L, type < 0 ? "no numbers" : other_type(type));
            lua_setfield(L, -2, "other");
        } else if (unreadable(L, dataset, rank, shape, H5Tget_size(type))) {
            lua_setfield(L, -2, "other");
        } else {
            lua_pushstring(L, kind);
            lua_setfield(L, -2, "kind");
        }
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
}

/* ---- listing ---------------------------------------------------------------------- */

static const char *walk(lua_State *L, hid_t group, const char *prefix, int depth);

/* Appends the entry of an object to the list on the top; NULL, or why the file is refused. */
static const char *add_object(lua_State *L, hid_t group, const char *name, const char *path, int depth) {
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0) return "it has an object that cannot be opened; it is damaged";
    lua_newtable(L);
    lua_pushstring(L, path);
    lua_setfield(L, -2, "name");
    H5I_type_t kind = H5Iget_type(object);
    if (kind == H5I_DATASET)
        describe(L, object);
    else {
        lua_pushstring(L, kind == H5I_GROUP ? "a group" : "a type");
        lua_setfield(L, -2, "other");
    }
    add_attributes(L, object);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    const char *why = kind == H5I_GROUP ? walk(L, object, path, depth + 1) : NULL;
    H5Oclose(object);
    return why;
}

/* Appends what a link leads to, or that it is not followed. */
static const char *add_link(lua_State *L, hid_t group, const char *prefix, hsize_t i, int depth) {
    char name[MAX_NAME], path[MAX_NAME];
    ssize_t length = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
    H5L_info_t about;
    if (length < 0 || H5Lget_info(group, name, &about, H5P_DEFAULT) < 0) return "it has a damaged link";
    if (length >= (ssize_t)sizeof name) return "it has a name longer than 1023 bytes";
    int n = snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "/" : "", name);
    if (n >= (int)sizeof path) return "it has a path longer than 1023 bytes";
    if (lua_rawlen(L, -1) >= MAX_OBJECTS) return "it has more than 10000 objects, or a group within itself";
    if (about.type == H5L_TYPE_HARD) return add_object(L, group, name, path, depth);
    lua_newtable(L);
    lua_pushstring(L, path);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, about.type == H5L_TYPE_EXTERNAL ? "a link to another file, which is not followed"
                                                      : "a soft link, which is not followed");
    lua_setfield(L, -2, "other");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return NULL;
}

static const char *walk(lua_State *L, hid_t group, const char *prefix, int depth) {
    luaL_checkstack(L, 16, NULL);
    if (depth > MAX_DEPTH) return "its groups are nested deeper than 32, or within themselves";
    H5G_info_t about;
    if (H5Gget_info(group, &about) < 0) return "it has a damaged group";
    for (hsize_t i = 0; i < about.nlinks; i++) {
        const char *why = add_link(L, group, prefix, i, depth);
        if (why) return why;
    }
    return NULL;
}

static int l_list(lua_State *L) {
    hdf5_file *f = luaL_checkudata(L, 1, FILE_CLASS);
    lua_newtable(L);
    hid_t root = H5Gopen2(f->file, "/", H5P_DEFAULT);
    if (root < 0) return failed(L, "it has no root group");
    const char *why = walk(L, root, "", 0);
    H5Gclose(root);
    return why ? refuse(L, why) : 1;
}

/* ---- reading ---------------------------------------------------------------------- */

static void close_dataset(hdf5_file *f) {
    if (f->dataset >= 0) H5Dclose(f->dataset);
    f->dataset = -1;
}

static hid_t open_dataset(hdf5_file *f, const char *name) {
    if (f->dataset >= 0 && !strcmp(f->name, name)) return f->dataset;
    close_dataset(f);
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(access, 12421, CHUNK_CACHE, 1);
    f->dataset = H5Dopen2(f->file, name, access);
    H5Pclose(access);
    snprintf(f->name, sizeof f->name, "%s", name);
    return f->dataset;
}

/* Selects entries first … first + count - 1 along an axis (from 0); the bytes that they take, or 0. */
static hsize_t select_part(hid_t space, int axis, hsize_t first, hsize_t count, size_t size, hsize_t *shape,
                           int *rank) {
    hsize_t start[H5S_MAX_RANK] = {0}, bytes = size;
    *rank = H5Sget_simple_extent_dims(space, shape, NULL);
    if (*rank < 0 || *rank > MAX_RANK) return 0;
    if (*rank == 0) return first == 0 && count == 1 ? bytes : 0;
    if (axis < 0 || axis >= *rank || first > shape[axis] || count > shape[axis] - first) return 0;
    start[axis] = first;
    shape[axis] = count;
    for (int k = 0; k < *rank; k++) {
        if (shape[k] == 0 || shape[k] > MAX_READ / bytes) return 0;
        bytes *= shape[k];
    }
    return H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, shape, NULL) < 0 ? 0 : bytes;
}

/* read(name, axis, first, count) */
static int l_read(lua_State *L) {
    hdf5_file *f = luaL_checkudata(L, 1, FILE_CLASS);
    const char *name = luaL_checkstring(L, 2);
    int axis = (int)luaL_checkinteger(L, 3) - 1;
    lua_Integer first = luaL_checkinteger(L, 4), count = luaL_checkinteger(L, 5);
    hid_t dataset = open_dataset(f, name);
    if (dataset < 0) return failed(L, "there is no such dataset");
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    const char *kind = type < 0 ? NULL : kind_of(type);
    if (space < 0 || !kind || first < 0 || count < 0) return refuse(L, "the dataset is damaged");
    hsize_t shape[H5S_MAX_RANK];
    int rank;
    hsize_t bytes = select_part(space, axis, (hsize_t)first, (hsize_t)count, size_of(kind), shape, &rank);
    if (bytes == 0) return refuse(L, "the part lies outside the dataset, or is above 1 GiB");
    hid_t memory = H5Screate_simple(rank, shape, NULL);
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, (size_t)bytes);
    herr_t code = H5Dread(dataset, memory_type(kind), rank ? memory : H5S_ALL, rank ? space : H5S_ALL, H5P_DEFAULT, to);
    H5Sclose(memory);
    H5Sclose(space);
    H5Tclose(type);
    if (code < 0) return failed(L, "its numbers cannot be read");
    luaL_pushresultsize(&b, (size_t)bytes);
    return 1;
}

/* ---- the file --------------------------------------------------------------------- */

static int l_open(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    hdf5_file *f = lua_newuserdatauv(L, sizeof *f, 0);
    f->file = f->dataset = -1;
    luaL_setmetatable(L, FILE_CLASS);
    f->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    return f->file < 0 ? failed(L, "it is no HDF5 file") : 1;
}

static int l_close(lua_State *L) {
    hdf5_file *f = luaL_checkudata(L, 1, FILE_CLASS);
    close_dataset(f);
    if (f->file >= 0) H5Fclose(f->file);
    f->file = -1;
    return 0;
}

__attribute__((visibility("default"))) LUALIB_API int luaopen_simvae_hdf5(lua_State *L) {
    static const luaL_Reg methods[] = {{"list", l_list}, {"read", l_read}, {"close", l_close}, {NULL, NULL}};
    H5open();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0);
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
