/* tensor_lua.c: the tensor userdata for Lua: making, reading, writing and indexing. Arithmetic is in ops/; printing in
 * lua/simvae/tensor/display.lua. */
#include "../kernels/loops.h"
#include "engine.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Index of the i-th number, in row-major order of the shape, within t->data. */
static size_t place(const sv_tensor *t, size_t i) {
    if (t->layout == SV_PLAIN) return i;
    size_t c = t->shape[1], hw = t->shape[2] * t->shape[3];
    size_t n = i / (c * hw), channel = i / hw % c, pixel = i % hw;
    return (n * hw + pixel) * c + channel;
}

/* ---- making, from Lua ------------------------------------------------------ */

typedef struct {
    const sv_tensor *t;
    sv_real value;
} filling;

static void fill_piece(void *arg, long i, int worker) {
    (void)worker;
    const filling *f = arg;
    size_t from, to;
    sv_chunk(f->t->count, i, &from, &to);
    if (f->value == 0)
        memset(f->t->data + from, 0, (to - from) * sizeof(sv_real));
    else
        for (size_t k = from; k < to; k++) f->t->data[k] = f->value;
}

static int push_filled(lua_State *L, int first, double value) {
    sv_enter(L);
    size_t shape[SV_MAX_DIM];
    int ndim = sv_check_shape(L, first, shape);
    sv_tensor *t = sv_push_tensor(L, ndim, shape, SV_SCOPED);
    sv_parallel(sv_chunks(t->count), fill_piece, &(filling){t, (sv_real)value});
    return 1;
}

static int l_zeros(lua_State *L) { return push_filled(L, 1, 0); }
static int l_ones(lua_State *L) { return push_filled(L, 1, 1); }
static int l_full(lua_State *L) { return push_filled(L, 2, sv_check_number(L, 1)); }

static int l_arange(lua_State *L) {
    sv_enter(L);
    double from = sv_check_number(L, 1), to = sv_optional_number(L, 2, NAN), step = sv_optional_number(L, 3, 1);
    if (isnan(to)) {
        to = from;
        from = 1;
    }
    double n = floor((to - from) / step * (1 + 1e-12) + 1);
    sv_check_argument(L, step != 0 && n == n && n < 1e12, 3, "arange(first, last, step) needs a finite range");
    size_t shape[1] = {n > 0 ? (size_t)n : 0};
    sv_tensor *t = sv_push_tensor(L, 1, shape, SV_SCOPED);
    for (size_t i = 0; i < t->count; i++) t->data[i] = (sv_real)(from + (double)i * step);
    return 1;
}

/* The shape of nested tables: the lengths down the first branch. */
static int nested_shape(lua_State *L, int index, size_t *shape) {
    int ndim = 0;
    lua_pushvalue(L, index);
    while (lua_istable(L, -1)) {
        if (ndim == SV_MAX_DIM) luaL_error(L, "a tensor has at most %d axes", SV_MAX_DIM);
        shape[ndim++] = (size_t)luaL_len(L, -1);
        lua_rawgeti(L, -1, 1);
        lua_remove(L, -2);
    }
    lua_pop(L, 1);
    return ndim;
}

static sv_real *fill_nested(lua_State *L, int ndim, const size_t *shape, sv_real *to) {
    if (ndim == 0) {
        int ok;
        double v = lua_tonumberx(L, -1, &ok);
        if (!ok) luaL_error(L, "sv.tensor takes numbers in nested tables; found a %s", luaL_typename(L, -1));
        *to = (sv_real)v;
        return to + 1;
    }
    luaL_checkstack(L, 2, NULL);
    if (!lua_istable(L, -1)) luaL_error(L, "sv.tensor: rows of unequal depth");
    if ((size_t)luaL_len(L, -1) != shape[0])
        luaL_error(L, "sv.tensor: a row has %d entries where the first has %d", (int)luaL_len(L, -1), (int)shape[0]);
    for (size_t i = 0; i < shape[0]; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        to = fill_nested(L, ndim - 1, shape + 1, to);
        lua_pop(L, 1);
    }
    return to;
}

static int l_tensor(lua_State *L) {
    sv_enter(L);
    sv_check_any(L, 1);
    lua_settop(L, 1);
    if (sv_test_tensor(L, 1)) return 1;
    size_t shape[SV_MAX_DIM];
    int ndim = nested_shape(L, 1, shape);
    sv_tensor *t = sv_push_tensor(L, ndim, shape, SV_SCOPED);
    lua_pushvalue(L, 1);
    fill_nested(L, ndim, shape, t->data);
    lua_pop(L, 1);
    return 1;
}

/* parameter(tensor, or nested tables of numbers): a persistent copy that receives gradients. */
static int l_parameter(lua_State *L) {
    l_tensor(L);
    sv_tensor *from = sv_check_tensor(L, -1);
    sv_tensor *t = sv_push_tensor(L, from->ndim, from->shape, SV_PERSISTENT);
    for (size_t i = 0; i < t->count; i++) t->data[i] = from->data[place(from, i)];
    t->needs_grad = t->is_leaf = true;
    sv_trace_use(L, "copy", "parameter", -2, -1);
    return 1;
}

/* buffer(tensor): a persistent copy without gradient (running statistics). */
static int l_buffer(lua_State *L) {
    l_parameter(L);
    sv_tensor *t = lua_touserdata(L, -1);
    t->needs_grad = t->is_leaf = false;
    return 1;
}

/* lend(buffer) -> a view of its only entry, filled with zeros; until the buffer's numbers are taken. */
static int l_lend(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_check_argument(L, !t->storage->owner && t->ndim > 0 && t->shape[0] == 1, 1, "a buffer (1, ...)");
    memset(t->data, 0, t->count * sizeof *t->data);
    sv_push_view(L, 1, 0, t->ndim - 1, t->shape + 1);
    return 1;
}

/* take(t, i, buffer): the buffer's numbers become entry i of t along its first axis. The views that were lent of the
 * buffer are released, as with a tape. */
static int l_take(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1), *from = sv_check_tensor(L, 3);
    lua_Integer i = sv_check_integer(L, 2);
    sv_check_argument(L, t->ndim > 0 && i >= 1 && (uint64_t)i <= t->shape[0], 2, "no such entry");
    sv_check_argument(L, !from->storage->owner, 3, "a tensor of no tape");
    sv_check_argument(L, from->count == t->count / t->shape[0], 3, "another count of numbers");
    sv_check_argument(L, t->layout == SV_PLAIN && from->layout == SV_PLAIN, 1, "tensors that are laid out row by row");
    sv_check_writable(L, t);
    memcpy(t->data + (size_t)(i - 1) * from->count, from->data, from->count * sizeof *from->data);
    from->generation = ++from->storage->generation;
    return 0;
}

typedef struct {
    const sv_real *from, *order;
    sv_real *to;
    size_t each, rows, piece;
} picking;

static void pick_piece(void *arg, long i, int worker) {
    (void)worker;
    const picking *p = arg;
    for (size_t s = (size_t)i * p->piece; s < p->rows && s < ((size_t)i + 1) * p->piece; s++)
        memcpy(p->to + s * p->each, p->from + ((size_t)p->order[s] - 1) * p->each, p->each * sizeof *p->to);
}

/* pick(t, order, first, n): the n entries of t along its first axis whose numbers are order[first], … */
static int l_pick(lua_State *L) {
    sv_enter(L);
    const sv_tensor *t = sv_check_tensor(L, 1), *order = sv_check_tensor(L, 2);
    lua_Integer first = sv_check_integer(L, 3), n = sv_check_integer(L, 4);
    sv_check_argument(L, t->ndim > 0 && t->layout == SV_PLAIN, 1, "a tensor that is laid out row by row");
    sv_check_argument(L, first >= 1 && n >= 0 && (uint64_t)first - 1 + (uint64_t)n <= order->count, 4, "no such entry");
    const sv_real *at = order->data + first - 1;
    for (lua_Integer s = 0; s < n; s++)
        if (!(at[s] >= 1 && at[s] <= (sv_real)t->shape[0])) return luaL_error(L, "pick: entry %f", (lua_Number)at[s]);
    size_t shape[SV_MAX_DIM];
    memcpy(shape, t->shape, sizeof shape);
    shape[0] = (size_t)n;
    sv_trace_use(L, "read", "pick", 1, 0);
    picking p = {.from = t->data, .order = at, .rows = (size_t)n};
    p.each = t->shape[0] > 0 ? t->count / t->shape[0] : 0;
    p.to = sv_push_tensor(L, t->ndim, shape, SV_SCOPED)->data;
    p.piece = p.each < SV_CHUNK ? SV_CHUNK / (p.each + 1) + 1 : 1;
    sv_parallel(divide_up((long)n, (long)p.piece), pick_piece, &p);
    return 1;
}

/* ---- reading --------------------------------------------------------------- */

static int l_item(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_trace_use(L, "read", "item", 1, 0);
    if (t->count != 1) {
        char shape[SV_MESSAGE];
        sv_format_shape(shape, sizeof shape, t->ndim, t->shape);
        return luaL_error(L, "item: needs a tensor of one number; this has shape %s", shape);
    }
    lua_pushnumber(L, (double)t->data[0]);
    return 1;
}

static size_t push_nested(lua_State *L, const sv_tensor *t, int axis, size_t at) {
    if (axis == t->ndim) {
        lua_pushnumber(L, (double)t->data[place(t, at)]);
        return at + 1;
    }
    luaL_checkstack(L, 3, NULL);
    lua_createtable(L, (int)t->shape[axis], 0);
    for (size_t i = 0; i < t->shape[axis]; i++) {
        at = push_nested(L, t, axis + 1, at);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return at;
}

static int l_totable(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_trace_use(L, "read", "totable", 1, 0);
    push_nested(L, t, 0, 0);
    return 1;
}

/* Row-major index from whole numbers at stack positions first … (1-based, negative from the end). */
static size_t check_index(lua_State *L, const sv_tensor *t, int first) {
    size_t at = 0;
    for (int axis = 0; axis < t->ndim; axis++) {
        lua_Integer i = sv_check_integer(L, first + axis), n = (lua_Integer)t->shape[axis];
        if (i < 0) i += n + 1;
        if (i < 1 || i > n)
            luaL_error(L, "index %I is outside axis %d, which has %I entries", sv_check_integer(L, first + axis),
                       axis + 1, n);
        at = at * (size_t)n + (size_t)(i - 1);
    }
    return place(t, at);
}

static int l_get(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_trace_use(L, "read", "get", 1, 0);
    if (lua_gettop(L) != t->ndim + 1)
        return luaL_error(L, "get: %d indices for a tensor of %d axes", lua_gettop(L) - 1, t->ndim);
    lua_pushnumber(L, (double)t->data[check_index(L, t, 2)]);
    return 1;
}

/* t:set(value, i, j, …) */
static int l_set(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_check_writable(L, t);
    double value = sv_check_number(L, 2);
    if (lua_gettop(L) != t->ndim + 2)
        return luaL_error(L, "set: %d indices for a tensor of %d axes", lua_gettop(L) - 2, t->ndim);
    t->data[check_index(L, t, 3)] = (sv_real)value;
    sv_trace_use(L, "write", "set", 1, 1);
    lua_settop(L, 1);
    return 1;
}

static int l_fill(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_check_writable(L, t);
    sv_real v = (sv_real)sv_check_number(L, 2);
    for (size_t i = 0; i < t->count; i++) t->data[i] = v;
    sv_trace_use(L, "write", "fill", 1, 1);
    lua_settop(L, 1);
    return 1;
}

static void copy_values(sv_tensor *to, const sv_tensor *from) {
    if (to->layout == from->layout)
        memmove(to->data, from->data, to->count * sizeof(sv_real));
    else
        for (size_t i = 0; i < to->count; i++) to->data[place(to, i)] = from->data[place(from, i)];
}

static int l_copy(lua_State *L) {
    sv_tensor *to = sv_check_tensor(L, 1), *from = sv_check_tensor(L, 2);
    sv_check_writable(L, to);
    if (to->count != from->count) {
        char a[SV_MESSAGE], b[SV_MESSAGE];
        sv_format_shape(a, sizeof a, to->ndim, to->shape);
        sv_format_shape(b, sizeof b, from->ndim, from->shape);
        return luaL_error(L, "copy: %s cannot be filled from %s: different counts", a, b);
    }
    copy_values(to, from);
    sv_trace_use(L, "write", "copy", 2, 1);
    lua_settop(L, 1);
    return 1;
}

static int l_clone(lua_State *L) {
    sv_enter(L);
    sv_tensor *from = sv_check_tensor(L, 1);
    sv_tensor *to = sv_push_tensor(L, from->ndim, from->shape, SV_SCOPED);
    copy_values(to, from);
    sv_trace_use(L, "copy", "clone", 1, -1);
    return 1;
}

/* Same memory, no gradient. Channels-last ones are copied: two tensors that share
 * memory must agree on its layout. */
static int l_detach(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    if (t->layout != SV_PLAIN) return l_clone(L);
    sv_push_view(L, 1, 0, t->ndim, t->shape);
    sv_trace_use(L, "copy", "detach", 1, -1);
    return 1;
}

static int l_requires_grad(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    bool on = lua_isnoneornil(L, 2) ? true : lua_toboolean(L, 2);
    if (t->tape && t->node >= 0 && t->needs_grad)
        return luaL_error(L, "requires_grad: only a tensor that no op has made; detach it first");
    if (on && t->layout != SV_PLAIN) /* leaves are in row-major order, and so are their gradients */
        return luaL_error(L, "requires_grad: this tensor is channels-last in memory; clone it first");
    t->needs_grad = t->is_leaf = on;
    lua_settop(L, 1);
    return 1;
}

static int l_zero_grad(lua_State *L) {
    sv_check_tensor(L, 1)->grad_valid = false;
    return 0;
}

#define REAL_MAX (sv_real)(sizeof(sv_real) == sizeof(double) ? DBL_MAX : (double)FLT_MAX)

/* What a check of all numbers looks for: any below low or above high, or NaN. Pieces have no branch, so that they run
 * at memory bandwidth; the order of the numbers does not matter. */
typedef struct {
    const sv_real *x;
    size_t count;
    sv_real low, high;
    atomic_bool outside;
} scan;

static void scan_piece(void *arg, long piece, int worker) {
    (void)worker;
    scan *s = arg;
    size_t from, to;
    sv_chunk(s->count, piece, &from, &to);
    const sv_real *x = s->x, low = s->low, high = s->high;
    int outside = 0;
    for (size_t i = from; i < to; i++) outside |= !((x[i] >= low) & (x[i] <= high));
    if (outside) atomic_store_explicit(&s->outside, true, memory_order_relaxed);
}

static bool all_within(const sv_tensor *t, sv_real low, sv_real high) {
    scan s = {.x = t->data, .count = t->count, .low = low, .high = high};
    sv_parallel(sv_chunks(t->count), scan_piece, &s);
    return !s.outside;
}

/* finite(t) -> true, or false and the first index (row-major, from 1) that is not. */
static int l_finite(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_trace_use(L, "read", "finite", 1, 0);
    if (all_within(t, -REAL_MAX, REAL_MAX)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(t->data[place(t, i)])) {
            lua_pushboolean(L, 0);
            lua_pushinteger(L, (lua_Integer)i + 1);
            return 2;
        }
    lua_pushboolean(L, 1);
    return 1;
}

/* within(t, low, high) -> true, or false and the first index (row-major, from 1) that is not; NaN is not. */
static int l_within(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_trace_use(L, "read", "within", 1, 0);
    const sv_real low = (sv_real)sv_check_number(L, 2), high = (sv_real)sv_check_number(L, 3);
    bool within = all_within(t, low, high);
    lua_pushboolean(L, within);
    if (within) return 1;
    size_t first = 0;
    while (t->data[place(t, first)] >= low && t->data[place(t, first)] <= high) first++;
    lua_pushinteger(L, (lua_Integer)first + 1);
    return 2;
}

/* ---- indexing -------------------------------------------------------------- */

/* A list of whole numbers. Upvalue 2 of l_index is its metatable; lua/simvae/tensor/display.lua prints it. */
static void push_shape(lua_State *L, const sv_tensor *t) {
    lua_createtable(L, t->ndim, 0);
    for (int i = 0; i < t->ndim; i++) {
        lua_pushinteger(L, (lua_Integer)t->shape[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_setmetatable(L, -2);
}

/* Pushes a field; false: a tensor has none of that name. The switch is for speed: fields are read in every loop. */
static bool push_field(lua_State *L, sv_tensor *t, const char *key) {
    switch (key[0]) {
    case 's':
        if (strcmp(key, "shape") != 0) return false;
        push_shape(L, t);
        return true;
    case 'n':
        if (!strcmp(key, "ndim"))
            lua_pushinteger(L, t->ndim);
        else if (!strcmp(key, "needs_grad"))
            lua_pushboolean(L, t->needs_grad);
        else
            return false;
        return true;
    case 'c':
        if (strcmp(key, "count") != 0) return false;
        lua_pushinteger(L, (lua_Integer)t->count);
        return true;
    case 'g':
        if (strcmp(key, "grad") != 0) return false;
        if (t->grad && t->grad_valid)
            lua_getiuservalue(L, 1, SV_UV_GRAD);
        else
            lua_pushnil(L);
        return true;
    case 'a':
        if (strcmp(key, "alive") != 0) return false;
        lua_pushboolean(L, t->generation == t->storage->generation);
        return true;
    }
    return false;
}

/* t[i]: a number of a 1-d tensor, else a view of the i-th entry (an op, with a
 * gradient); t.name: a method or a field. Upvalues: the table of methods, the
 * metatable of shapes, that of tensors. */
static int l_index(lua_State *L) {
    sv_tensor *t = lua_touserdata(L, 1);
    if (!t || !lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(3))) sv_check_object(L, 1, SV_TENSOR);
    lua_settop(L, 2);
    if (lua_type(L, 2) == LUA_TSTRING) {
        if (push_field(L, t, lua_tostring(L, 2))) return 1;
        lua_gettable(L, lua_upvalueindex(1)); /* whose metatable tells the nearest name */
        return 1;
    }
    sv_check_alive(L, t);
    if (lua_istable(L, 2)) {
        int n = sv_check_length(L, 2, SV_MAX_DIM, "indices");
        lua_settop(L, 2);
        for (int i = 1; i <= n; i++) lua_rawgeti(L, 2, i);
        lua_remove(L, 2);
        return l_get(L);
    }
    if (t->ndim == 0) return luaL_error(L, "a tensor without axes has no entries; t:item() is its number");
    lua_Integer i = sv_check_integer(L, 2), n = (lua_Integer)t->shape[0];
    if (i < 0) i += n + 1;
    if (i < 1 || i > n) {
        lua_pushnil(L); /* lets ipairs and # agree */
        return 1;
    }
    if (t->ndim == 1) {
        sv_trace_use(L, "read", "an index", 1, 0);
        lua_pushnumber(L, (double)t->data[i - 1]);
        return 1;
    }
    lua_getfield(L, lua_upvalueindex(1), "select");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 1);
    lua_pushinteger(L, i);
    lua_call(L, 3, 1);
    return 1;
}

/* t[i] = number or tensor; t[{i, j}] = number. */
static int l_newindex(lua_State *L) {
    sv_tensor *t = sv_check_tensor(L, 1);
    sv_check_writable(L, t);
    if (lua_istable(L, 2)) {
        int n = sv_check_length(L, 2, SV_MAX_DIM, "indices");
        double v = sv_check_number(L, 3);
        lua_settop(L, 2);
        for (int i = 1; i <= n; i++) lua_rawgeti(L, 2, i);
        if (n != t->ndim) return luaL_error(L, "%d indices for a tensor of %d axes", n, t->ndim);
        t->data[check_index(L, t, 3)] = (sv_real)v;
        return 0;
    }
    if (lua_type(L, 2) == LUA_TSTRING) return luaL_error(L, "a tensor has no field '%s' to set", lua_tostring(L, 2));
    if (t->ndim == 0) return luaL_error(L, "a tensor without axes has no entries; t:fill(v) sets its number");
    lua_Integer i = sv_check_integer(L, 2), n = (lua_Integer)t->shape[0];
    if (i < 0) i += n + 1;
    if (i < 1 || i > n) return luaL_error(L, "index %I is outside axis 1, which has %I entries", i, n);
    size_t each = t->count / t->shape[0];
    size_t first = (size_t)(i - 1) * each;
    if (lua_isnumber(L, 3)) {
        sv_real v = (sv_real)lua_tonumber(L, 3);
        for (size_t k = 0; k < each; k++) t->data[place(t, first + k)] = v;
        return 0;
    }
    sv_tensor *from = sv_check_tensor(L, 3);
    if (from->count != each) return luaL_error(L, "entry %I takes %d numbers; got %d", i, (int)each, (int)from->count);
    for (size_t k = 0; k < each; k++) t->data[place(t, first + k)] = from->data[place(from, k)];
    return 0;
}

static int l_len(lua_State *L) {
    sv_tensor *t = sv_check_object(L, 1, SV_TENSOR);
    lua_pushinteger(L, t->ndim ? (lua_Integer)t->shape[0] : 0);
    return 1;
}

static const sv_row makers[] = {
    {"tensor", l_tensor,
     "A tensor from numbers in nested tables of equal length.\n"
     "@tparam number|table|tensor numbers a number, nested tables of numbers, or a tensor, which is returned as it is\n"
     "@treturn tensor of the tables' lengths: { { 1, 2, 3 }, { 4, 5, 6 } } is (2, 3)\n"
     "@raise rows of unequal length, an entry that is not a number\n"
     "@usage print(sv.tensor { { 1, 2, 3 }, { 4, 5, 6 } })"},
    {"zeros", l_zeros,
     "A tensor of zeros.\n"
     "@tparam integer|table ... the shape: whole numbers, or one list of them\n"
     "@treturn tensor of that shape\n"
     "@raise a shape that is not of whole numbers from 0\n"
     "@usage print(sv.zeros(2, 3))"},
    {"ones", l_ones,
     "A tensor of ones.\n"
     "@tparam integer|table ... the shape: whole numbers, or one list of them\n"
     "@treturn tensor of that shape\n"
     "@raise a shape that is not of whole numbers from 0\n"
     "@usage print(sv.ones { 2, 3 })"},
    {"full", l_full,
     "A tensor of one value.\n"
     "@tparam number value\n"
     "@tparam integer|table ... the shape: whole numbers, or one list of them\n"
     "@treturn tensor of that shape\n"
     "@raise a value that is not a number\n"
     "@usage print(sv.full(0.5, 2, 3))"},
    {"arange", l_arange,
     "The numbers first, first + step, … up to last; arange(n) counts from 1 to n.\n"
     "@tparam number first\n"
     "@tparam ?number last\n"
     "@tparam ?number step 1; negative: downwards\n"
     "@treturn tensor (N,)\n"
     "@raise a step of 0\n"
     "@usage print(sv.arange(5), sv.arange(0, 1, 0.25))"},
    {"parameter", l_parameter,
     "A copy that outlives every tape and collects a gradient.\n"
     "@tparam tensor|table t a tensor, or numbers in nested tables\n"
     "@treturn tensor a leaf with requires_grad\n"
     "@usage\n"
     "local w = sv.parameter { 1, 2, 3 }\n"
     "local tape <close> = sv.tape()\n"
     "tape:backward(sv.sum(w * w))\n"
     "print(w.grad)"},
    {"buffer", l_buffer,
     "A copy that outlives every tape, without gradient.\n"
     "@tparam tensor|table t a tensor, or numbers in nested tables\n"
     "@treturn tensor of the same shape\n"
     "@usage local running_mean = sv.buffer(sv.zeros(16))"},
    {0}};
static const luaL_Reg internal[] = {{"lend", l_lend}, {"take", l_take}, {"pick", l_pick}, {NULL, NULL}};
static const sv_row methods[] = {
    {"item", l_item,
     "The number of a tensor of one number.\n"
     "@treturn number\n"
     "@raise a tensor of more numbers, or of none\n"
     "@usage print(sv.mean(sv.tensor { 1, 2, 6 }):item())"},
    {"totable", l_totable,
     "The numbers in nested tables.\n"
     "@treturn table of tables … of numbers; of a tensor without axes, the number\n"
     "@usage print(sv.ones(2, 3):totable()[2][1])"},
    {"get", l_get,
     "One number.\n"
     "@tparam integer ... an index for each axis, from 1, or from -1 back\n"
     "@treturn number\n"
     "@raise another number of indices, an index outside its axis\n"
     "@usage print(sv.arange(6):reshape(2, 3):get(2, -1))"},
    {"set", l_set,
     "Sets one number in place.\n"
     "@tparam number value\n"
     "@tparam integer ... an index for each axis, from 1, or from -1 back\n"
     "@treturn tensor itself\n"
     "@raise an index outside its axis, a tensor that a tape still needs\n"
     "@usage print(sv.zeros(2, 3):set(5, 1, 3))"},
    {"fill", l_fill,
     "Sets every number in place.\n"
     "@tparam number value\n"
     "@treturn tensor itself\n"
     "@raise a tensor that a tape still needs\n"
     "@usage print(sv.zeros(2, 3):fill(0.5))"},
    {"copy", l_copy,
     "Takes the numbers of another tensor of equal count, in place.\n"
     "@tparam tensor from of any shape with as many numbers\n"
     "@treturn tensor itself\n"
     "@raise another count of numbers, a tensor that a tape still needs\n"
     "@usage print(sv.zeros(2, 3):copy(sv.arange(6)))"},
    {"clone", l_clone,
     "A copy with memory of its own, without gradient.\n"
     "@treturn tensor of the same shape\n"
     "@usage print(sv.ones(3):clone():fill(2))"},
    {"detach", l_detach,
     "The same numbers without a gradient; shares memory where it can.\n"
     "@treturn tensor of the same shape\n"
     "@usage print(sv.parameter { 1, 2 }:detach().needs_grad)"},
    {"requires_grad", l_requires_grad,
     "Makes a tensor that no op has made a leaf that collects a gradient.\n"
     "@tparam ?boolean on true; false: no longer\n"
     "@treturn tensor itself\n"
     "@raise a tensor that an op has made with a gradient\n"
     "@usage print(sv.zeros(3):requires_grad().needs_grad)"},
    {"zero_grad", l_zero_grad,
     "Forgets the gradient; the next backward writes a new one.\n"
     "@usage\n"
     "local w = sv.parameter { 1, 2, 3 }\n"
     "w:zero_grad()"},
    {"finite", l_finite,
     "Whether all numbers are finite.\n"
     "@treturn boolean\n"
     "@treturn ?integer where not: the row-major index of the first number that is infinite or not a number\n"
     "@usage print(sv.tensor { 1, 0 / 0 }:finite())"},
    {"within", l_within,
     "Whether all numbers lie in an interval.\n"
     "@tparam number low\n"
     "@tparam number high\n"
     "@treturn boolean\n"
     "@treturn ?integer where not: the row-major index of the first number outside [low, high]\n"
     "@usage print(sv.tensor { 0.2, 0.5, 1.5 }:within(0, 1))"},
    {0}};

void sv_open_tensor(lua_State *L, int core) {
    core = lua_absindex(L, core);
    luaL_newmetatable(L, SV_TENSOR);
    lua_newtable(L);
    sv_set_rows(L, core, "tensor", methods); /* call.c adds the ops, Lua files may add more */
    lua_pushvalue(L, -1);
    lua_setfield(L, core, "methods");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, core, "shape");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, l_index, 3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, l_len);
    lua_setfield(L, -2, "__len");
    lua_pushstring(L, "simvae.tensor");
    lua_setfield(L, -2, "__name");
    lua_setfield(L, core, "metatable");
    lua_pushvalue(L, core);
    sv_set_rows(L, core, "sv", makers);
    luaL_setfuncs(L, internal, 0);
    lua_pop(L, 1);
}
