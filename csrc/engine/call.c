/* From a row to a Lua function.
 *
 * A row's signature names its tensors and options; this file reads it once, when
 * the module is opened, and makes a closure that takes
 *
 *     sv.conv2d(x, w, b, 2, 1)                          options by position
 *     sv.conv2d(x, w, b, {stride = 2, padding = 1})     or by name
 *     x:conv2d(w, b, {stride = 2})                      as a method of its first tensor
 *
 * then checks the arguments, brings the layouts together, asks the row's shape
 * function, allocates, runs forward, and records the node if a gradient may be
 * wanted. Everything that can be wrong is raised here, with the op's name and
 * all shapes. */
#include "../simvae.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 32, MAX_ENUM = 8 };

enum kind { NUM, INT, BOOL, AXIS, AXES, INTS, ENUM };

typedef struct {
    char name[NAME];
    enum kind kind;
    bool optional;
    double value; /* default */
    int choices;
    char choice[MAX_ENUM][NAME];
} option;

typedef struct {
    int nin;
    struct {
        char name[NAME];
        bool optional, list;
    } in[8];
    int nopt;
    option opt[SV_MAX_OPT];
} signature;

/* ---- messages ---------------------------------------------------------------- */

bool sv_fail(sv_args *a, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(a->message, sizeof a->message, format, list);
    va_end(list);
    return false;
}

bool sv_same_shape(sv_args *a, const sv_tensor *t) {
    a->ndim = t->ndim;
    memcpy(a->shape, t->shape, sizeof a->shape);
    return true;
}

/* Edits from one short word to another: a letter added, left out or replaced, or two neighbours exchanged (optimal
 * string alignment distance). */
static int distance(const char *a, const char *b) {
    int rows[3][NAME + 1], n = (int)strlen(b);
    if (n > NAME || strlen(a) > NAME) return NAME;
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (int j = 0; j <= n; j++) last[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int least = last[j] < row[j - 1] ? last[j] + 1 : row[j - 1] + 1;
            int replaced = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (replaced < least) least = replaced;
            bool exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (exchanged && before[j - 2] + 1 < least) least = before[j - 2] + 1;
            row[j] = least;
        }
        int *free = before;
        before = last;
        last = row;
        row = free;
    }
    return last[n];
}

const char *sv_nearest(const char *word, const char *const *known, int n) {
    const char *best = NULL;
    int least = (int)strlen(word) / 2 + 2;
    for (int i = 0; i < n; i++) {
        int d = distance(word, known[i]);
        if (d < least) {
            least = d;
            best = known[i];
        }
    }
    return best;
}

/* nearest(word, {known, …}, most) -> the closest spelling, or nil; most: edits that it may be away */
static int l_nearest(lua_State *L) {
    const char *word = luaL_checkstring(L, 1), *best = NULL;
    luaL_checktype(L, 2, LUA_TTABLE);
    int least = (int)luaL_optinteger(L, 3, (int)strlen(word) / 2 + 1) + 1, n = (int)luaL_len(L, 2);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        const char *known = luaL_checkstring(L, -1);
        int d = distance(word, known);
        if (d < least) {
            least = d;
            best = known;
        }
        lua_pop(L, 1); /* the list holds it */
    }
    lua_pushstring(L, best);
    return 1;
}

static int raise(lua_State *L, const sv_args *a) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, a->op->name);
    luaL_addstring(&b, ": ");
    luaL_addstring(&b, a->message);
    luaL_addstring(&b, " [");
    for (int k = 0; k < a->nin && k < 8; k++) {
        char shape[SV_MESSAGE] = "none";
        if (a->in[k]) sv_format_shape(shape, sizeof shape, a->in[k]->ndim, a->in[k]->shape);
        if (k) luaL_addstring(&b, ", ");
        luaL_addstring(&b, shape);
    }
    luaL_addstring(&b, a->nin > 8 ? ", …]" : "]");
    luaL_pushresult(&b);
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
    return lua_error(L);
}

/* ---- applying an op ---------------------------------------------------------- */

enum { WEIGHT_CACHE = 3, CONVERTED = 5 }; /* user values of a tensor */

/* Replaces the tensor at a stack slot by one of the wanted layout. Under a tape the copy of a constant is
 * stored with it for the next op that takes it: an image goes into the encoder and into the loss. */
static void convert(lua_State *L, sv_args *a, int base, int k, enum sv_layout layout) {
    sv_tensor *t = a->in[k];
    if (!t || t->ndim != 4 || t->layout == layout) return;
    uint64_t version = t->storage->version;
    bool cacheable = !t->needs_grad && version != SV_FOREIGN && sv_get_context(L)->tape;
    if (cacheable && t->converted_version == version + 1) {
        lua_getiuservalue(L, base + k, CONVERTED);
        sv_tensor *there = lua_touserdata(L, -1);
        if (there->layout == layout && there->generation == there->storage->generation) {
            a->in[k] = there;
            lua_replace(L, base + k);
            return;
        }
        lua_pop(L, 1);
    }
    bool same_memory = t->shape[1] == 1 || t->shape[2] * t->shape[3] == 1;
    const sv_op *op = same_memory ? &sv_op_relabel : layout == SV_PLAIN ? &sv_op_to_plain : &sv_op_to_channels_last;
    a->in[k] = sv_apply(L, op, 1, base + k, NULL, NULL);
    if (cacheable && !same_memory) {
        t->converted_version = version + 1;
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, base + k, CONVERTED);
    }
    lua_replace(L, base + k);
}

/* Brings the inputs' layouts together; returns that of a 4-d out. */
static enum sv_layout settle_layout(lua_State *L, sv_args *a, int base) {
    const sv_op *op = a->op;
    if (op == &sv_op_to_plain) return SV_PLAIN;
    if (op == &sv_op_relabel) return a->in[0]->layout == SV_PLAIN ? SV_CHANNELS_LAST : SV_PLAIN;
    if (op == &sv_op_to_channels_last) return SV_CHANNELS_LAST;
    if (op->flags & SV_OP_CHANNELS_LAST) {
        convert(L, a, base, 0, SV_CHANNELS_LAST);
        for (int k = 1; k < a->nin; k++) convert(L, a, base, k, SV_PLAIN);
        return SV_CHANNELS_LAST;
    }
    bool last = false;
    for (int k = 0; k < a->nin; k++) last |= a->in[k] && a->in[k]->layout == SV_CHANNELS_LAST;
    if (!last) return SV_PLAIN;
    bool alike = (op->flags & SV_OP_LAYOUT_FREE) != 0;
    for (int k = 0; k < a->nin && alike; k++)
        if (a->in[k] && (a->in[k]->count != 1 || a->in[k]->ndim > 4))
            alike = a->in[k]->ndim == 4 && a->in[0]->ndim == 4 &&
                    !memcmp(a->in[k]->shape, a->in[0]->shape, 4 * sizeof(size_t));
    enum sv_layout layout = alike ? SV_CHANNELS_LAST : SV_PLAIN;
    for (int k = 0; k < a->nin; k++)
        if (!alike || a->in[k]->count != 1) convert(L, a, base, k, layout);
    return layout;
}

enum { CACHE_ALIGNMENT = 64 };

/* Trainable weights change every step and are packed anew in every call. For constant weights, the second call with
 * the same values allocates the cache and fills it; later calls use it. A view made for one call gets no cache. */
static void make_weight_cache(lua_State *L, const sv_context *c, sv_args *a, int weights) {
    sv_tensor *w = a->in[1];
    uint64_t version = w->storage->version;
    if ((w->needs_grad && c->recording) || w->storage->owner || version == SV_FOREIGN) return;
    a->use_weight_cache = w->weights_version == version + 1;
    w->weights_version = version + 1;
    if (!a->use_weight_cache) return;
    for (int pass = 0; pass < 2; pass++) {
        size_t count = a->cache_count[pass];
        if (count == 0 || (w->weight_cache[pass] && w->weight_cache[pass]->count == count)) continue;
        if (pass > 0 && !(a->training && a->in[0]->needs_grad)) continue;
        sv_weight_cache *k = lua_newuserdatauv(L, sizeof *k + CACHE_ALIGNMENT - 1 + count * sizeof(sv_real), 0);
        uintptr_t numbers = ((uintptr_t)(k + 1) + CACHE_ALIGNMENT - 1) & ~(uintptr_t)(CACHE_ALIGNMENT - 1);
        *k = (sv_weight_cache){.count = count, .version = SV_FOREIGN, .numbers = (sv_real *)numbers};
        lua_setiuservalue(L, weights, WEIGHT_CACHE + pass);
        w->weight_cache[pass] = k;
    }
}

sv_real *sv_weight_cache_numbers(const sv_args *a, bool backward, size_t count, uint64_t key, bool *ready) {
    sv_weight_cache *k = a->use_weight_cache ? a->in[1]->weight_cache[backward] : NULL;
    if (!k || k->count != count) return NULL;
    uint64_t version = a->in[1]->storage->version;
    *ready = k->version == version && k->key == key;
    k->version = version;
    k->key = key;
    return k->numbers;
}

sv_tensor *sv_apply(lua_State *L, const sv_op *op, int nin, int base, const double *opt, const sv_list *list) {
    sv_context *c = sv_get_context(L);
    sv_tensor *in[SV_MAX_IN];
    sv_args a;
    memset(&a, 0, sizeof a);
    a.op = op;
    a.nin = nin;
    a.in = in;
    base = lua_absindex(L, base);
    luaL_checkstack(L, 8, NULL);
    bool needs_grad = false;
    for (int k = 0; k < nin; k++) {
        in[k] = lua_isnil(L, base + k) ? NULL : sv_check_tensor(L, base + k);
        needs_grad |= in[k] && in[k]->needs_grad;
    }
    if (opt) memcpy(a.opt, opt, sizeof a.opt);
    if (list) memcpy(a.list, list, sizeof a.list);
    enum sv_layout layout = settle_layout(L, &a, base);
    if (!op->shape(&a)) raise(L, &a);
    size_t count;
    if (!sv_count_shape(a.ndim, a.shape, &count)) {
        sv_fail(&a, "the result would have more than 2^48 numbers");
        raise(L, &a);
    }
    if (!sv_reserve_scratch()) luaL_error(L, "%s: not enough memory", op->name);
    a.training = needs_grad && c->recording && !(op->flags & SV_OP_NO_GRAD);

    if (op->flags & SV_OP_VIEW)
        a.out = sv_push_view(L, base, a.view_offset, a.ndim, a.shape);
    else
        a.out = sv_push_tensor(L, a.ndim, a.shape, SV_SCOPED);
    int out = lua_gettop(L);
    a.out->layout = a.ndim == 4 ? layout : SV_PLAIN;

    sv_storage *aux[SV_MAX_AUX] = {NULL}, *work = NULL;
    for (int k = 0; k < SV_MAX_AUX; k++)
        if (a.aux_count[k]) {
            aux[k] = sv_push_storage(L, c, a.aux_count[k], SV_SCOPED);
            a.aux[k] = aux[k]->data;
        }
    if (a.work_count) {
        work = sv_push_storage(L, c, a.work_count, SV_SCOPED);
        a.work = work->data;
    }
    if (a.cache_count[0] || a.cache_count[1]) make_weight_cache(L, c, &a, base + 1);
    if (!(op->flags & SV_OP_VIEW) && count > 0) op->forward(&a);
    if (a.message[0]) raise(L, &a);
    if (work) sv_release_storage(c, work);
    lua_settop(L, out);
    if (a.training)
        sv_record(L, c, &a, base, aux);
    else
        for (int k = 0; k < SV_MAX_AUX; k++)
            if (aux[k]) sv_release_storage(c, aux[k]);
    return a.out;
}

/* ---- reading a signature ----------------------------------------------------- */

static const char *word(const char *p, char *to) {
    int n = 0;
    while (*p == ' ' || *p == ',') p++;
    while (isalnum((unsigned char)*p) || *p == '_') {
        if (n < NAME - 1) to[n++] = *p;
        p++;
    }
    to[n] = '\0';
    return p;
}

static const char *read_kind(lua_State *L, const char *p, option *o) {
    static const char *const names[] = {"num", "int", "bool", "axis", "axes", "ints", "enum"};
    char kind[NAME];
    p = word(p + 1, kind);
    int k = 0;
    while (k <= ENUM && strcmp(kind, names[k]) != 0) k++;
    if (k > ENUM) luaL_error(L, "signature: unknown kind '%s'", kind);
    o->kind = (enum kind)k;
    if (o->kind == ENUM)
        while (*p == '(' || *p == '|') {
            p = word(p + 1, o->choice[o->choices++]);
            if (*p == ')') p++;
        }
    if (*p == '?') {
        o->optional = true;
        p++;
    }
    if (*p == '=') {
        char value[NAME];
        o->optional = true;
        if (o->kind == ENUM || o->kind == BOOL) {
            p = word(p + 1, value);
            if (o->kind == BOOL) o->value = !strcmp(value, "true");
            for (int i = 0; i < o->choices; i++)
                if (!strcmp(o->choice[i], value)) o->value = i;
        } else {
            char *end;
            o->value = strtod(p + 1, &end);
            if (o->kind == AXIS && o->value > 0) o->value -= 1;
            p = end;
        }
    }
    return p;
}

static void read_signature(lua_State *L, const char *p, signature *s) {
    memset(s, 0, sizeof *s);
    while (*p && *p != ';') {
        p = word(p, s->in[s->nin].name);
        if (*p == '?') s->in[s->nin].optional = true, p++;
        if (*p == '*') s->in[s->nin].list = true, p++;
        s->nin++;
        while (*p == ' ') p++;
    }
    if (*p == ';') p++;
    while (*p) {
        option *o = &s->opt[s->nopt++];
        p = word(p, o->name);
        p = read_kind(L, p, o);
        while (*p == ' ' || *p == ',') p++;
    }
}

/* ---- arguments --------------------------------------------------------------- */

static bool is_empty(lua_State *L, int index) {
    if (!lua_istable(L, index)) return false;
    lua_pushnil(L);
    if (!lua_next(L, index)) return true;
    lua_pop(L, 2);
    return false;
}

static bool is_options(lua_State *L, int index) {
    if (!lua_istable(L, index)) return false;
    lua_rawgeti(L, index, 1);
    bool list = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return !list && !is_empty(L, index);
}

static lua_Integer check_range(lua_State *L, const char *op, const option *o, lua_Integer v) {
    if (!sv_fits_integer(v)) luaL_error(L, "%s: %s must be from -2^53 to 2^53; got %I", op, o->name, v);
    return v;
}

static void read_list(lua_State *L, const char *op, const option *o, int from, int to, sv_list *list) {
    bool table = lua_istable(L, from);
    int n = table ? sv_check_length(L, from, INT_MAX, op) : to - from + 1;
    if (n > SV_MAX_DIM) luaL_error(L, "%s: %s takes at most %d entries; got %d", op, o->name, SV_MAX_DIM, n);
    list->n = n;
    for (int i = 0; i < n; i++) {
        if (table)
            lua_rawgeti(L, from, i + 1);
        else
            lua_pushvalue(L, from + i);
        int ok;
        lua_Integer v = lua_tointegerx(L, -1, &ok);
        if (!ok) luaL_error(L, "%s: %s takes whole numbers; got %s", op, o->name, luaL_tolstring(L, -1, NULL));
        list->at[i] = (long)check_range(L, op, o, v);
        lua_pop(L, 1);
    }
}

static double read_enum(lua_State *L, const char *op, const option *o, int index) {
    const char *given = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
    for (int i = 0; given && i < o->choices; i++)
        if (!strcmp(given, o->choice[i])) return i;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; i < o->choices; i++) {
        if (i) luaL_addstring(&b, ", ");
        luaL_addstring(&b, o->choice[i]);
    }
    luaL_pushresult(&b);
    const char *choices = lua_tostring(L, -1), *got = luaL_tolstring(L, index, NULL);
    return luaL_error(L, "%s: %s is one of %s; got %s", op, o->name, choices, got);
}

/* Axes to count from 0; negative ones stay: -1 is the last. */
static void from_one(lua_State *L, const char *op, const option *o, sv_list *list) {
    for (int i = 0; i < list->n; i++) {
        if (list->at[i] == 0) luaL_error(L, "%s: %s counts from 1 (or from -1, the last); got 0", op, o->name);
        if (list->at[i] > 0) list->at[i]--;
    }
}

static void read_option(lua_State *L, const char *op, const option *o, int index, double *value, sv_list *list) {
    int ok = 1;
    switch (o->kind) {
    case NUM:
        *value = lua_tonumberx(L, index, &ok);
        break;
    case INT:
        *value = (double)check_range(L, op, o, lua_tointegerx(L, index, &ok));
        break;
    case AXIS: /* 1-based in Lua; -1 stays the last */
        *value = (double)check_range(L, op, o, lua_tointegerx(L, index, &ok));
        if (ok && *value == 0) luaL_error(L, "%s: %s counts from 1 (or from -1, the last); got 0", op, o->name);
        if (*value > 0) *value -= 1;
        break;
    case BOOL:
        if (!lua_isboolean(L, index))
            luaL_error(L, "%s: %s takes true or false; got %s", op, o->name, luaL_tolstring(L, index, NULL));
        *value = lua_toboolean(L, index);
        break;
    case ENUM:
        *value = read_enum(L, op, o, index);
        break;
    case AXES:
        read_list(L, op, o, index, index, list);
        from_one(L, op, o, list);
        break;
    case INTS:
        read_list(L, op, o, index, index, list);
        break;
    }
    if (!ok)
        luaL_error(L, "%s: %s takes a %s; got %s", op, o->name, o->kind == NUM ? "number" : "whole number",
                   luaL_tolstring(L, index, NULL));
}

static void read_named(lua_State *L, const char *op, const signature *s, int table, double *opt, sv_list *list,
                       bool *given) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        int i = 0;
        while (i < s->nopt && strcmp(key, s->opt[i].name) != 0) i++;
        if (i == s->nopt) {
            const char *known[SV_MAX_OPT];
            for (int k = 0; k < s->nopt; k++) known[k] = s->opt[k].name;
            const char *near = sv_nearest(key, known, s->nopt);
            luaL_error(L, near ? "%s: unknown option '%s'; did you mean '%s'?" : "%s: unknown option '%s'", op, key,
                       near);
        }
        read_option(L, op, &s->opt[i], lua_gettop(L), &opt[i], &list[i]);
        given[i] = true;
        lua_pop(L, 1);
    }
}

/* A number where a tensor is due becomes a tensor without axes. */
static void to_tensor(lua_State *L, const char *op, const char *name, int index) {
    if (sv_test_tensor(L, index)) {
        sv_check_alive(L, lua_touserdata(L, index));
        return;
    }
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "%s: %s must be a tensor; got %s", op, name, luaL_typename(L, index));
    sv_real v = (sv_real)lua_tonumber(L, index);
    sv_push_tensor(L, 0, NULL, SV_SCOPED)->data[0] = v;
    lua_replace(L, index);
}

/* Upvalues: the row, its signature. */
static int call_op(lua_State *L) {
    const sv_op *op = lua_touserdata(L, lua_upvalueindex(1));
    const signature *s = lua_touserdata(L, lua_upvalueindex(2));
    double opt[SV_MAX_OPT];
    sv_list list[SV_MAX_OPT];
    bool given[SV_MAX_OPT] = {false};
    sv_enter(L);
    memset(list, 0, sizeof list);
    for (int i = 0; i < SV_MAX_OPT; i++) opt[i] = i < s->nopt ? s->opt[i].value : 0;

    int top = lua_gettop(L), at = 1;
    if (top > 1 && s->nopt > 0 && is_options(L, top)) read_named(L, op->name, s, top, opt, list, given), top--;

    int nin = 0, base;
    if (s->nin == 1 && s->in[0].list) { /* concat{a, b, …} */
        luaL_checktype(L, 1, LUA_TTABLE);
        nin = sv_check_length(L, 1, SV_MAX_IN, op->name);
        if (nin < 1) return luaL_error(L, "%s: takes a list of 1 to %d tensors; got none", op->name, SV_MAX_IN);
        luaL_checkstack(L, nin + 16, NULL);
        base = lua_gettop(L) + 1;
        for (int k = 0; k < nin; k++) {
            lua_rawgeti(L, 1, k + 1);
            to_tensor(L, op->name, s->in[0].name, base + k);
        }
        at = 2;
    } else {
        base = lua_gettop(L) + 1;
        for (; nin < s->nin; nin++) {
            bool none = at > top || lua_isnil(L, at);
            bool skipped = s->in[nin].optional && !none && !sv_test_tensor(L, at); /* options follow at once */
            if (none || skipped) {
                if (!s->in[nin].optional)
                    return luaL_error(L, "%s: %s is missing; the arguments are (%s)", op->name, s->in[nin].name,
                                      op->signature);
                lua_pushnil(L);
                if (none) at++;
                continue;
            }
            lua_pushvalue(L, at++);
            to_tensor(L, op->name, s->in[nin].name, base + nin);
        }
    }
    for (int i = 0; i < s->nopt && at <= top; i++, at++) {
        bool takes_list = s->opt[i].kind == INTS || s->opt[i].kind == AXES;
        if (lua_isnil(L, at) || (!takes_list && is_empty(L, at))) continue;
        bool rest = s->opt[i].kind == INTS || (s->opt[i].kind == AXES && i == s->nopt - 1);
        if (rest && !lua_istable(L, at)) { /* reshape(2, 3), permute(3, 1, 2): the rest of the numbers */
            read_list(L, op->name, &s->opt[i], at, top, &list[i]);
            if (s->opt[i].kind == AXES) from_one(L, op->name, &s->opt[i], &list[i]);
            at = top;
        } else if (s->opt[i].kind == AXES && !lua_istable(L, at)) {
            list[i].n = 1;
            read_option(L, op->name, &(option){.kind = AXIS, .name = "axes"}, at, &opt[i], &list[i]);
            list[i].at[0] = (long)opt[i];
        } else
            read_option(L, op->name, &s->opt[i], at, &opt[i], &list[i]);
        given[i] = true;
    }
    if (at <= top) return luaL_error(L, "%s: too many arguments; they are (%s)", op->name, op->signature);
    for (int i = 0; i < s->nopt; i++)
        if (!given[i] && !s->opt[i].optional)
            return luaL_error(L, "%s: %s is missing; the arguments are (%s)", op->name, s->opt[i].name, op->signature);
    sv_apply(L, op, nin, base, opt, list);
    return 1;
}

void sv_open_ops(lua_State *L, int core, const sv_op *rows) {
    core = lua_absindex(L, core);
    lua_getfield(L, core, "methods");
    lua_getfield(L, core, "ops");
    for (const sv_op *op = rows; op->name; op++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)op);
        read_signature(L, op->signature, lua_newuserdatauv(L, sizeof(signature), 0));
        lua_pushcclosure(L, call_op, 2);
        if (!(op->flags & SV_OP_INTERNAL)) {
            lua_pushvalue(L, -1);
            lua_setfield(L, core, op->name);
            lua_pushvalue(L, -1);
            lua_setfield(L, -4, op->name);
        }
        lua_createtable(L, 0, 6); /* ops[name] = {…}: for sv.help and the specs */
        lua_insert(L, -2);
        lua_setfield(L, -2, "call");
        lua_pushstring(L, op->signature);
        lua_setfield(L, -2, "signature");
        lua_pushstring(L, op->doc);
        lua_setfield(L, -2, "doc");
        lua_pushstring(L, op->check);
        lua_setfield(L, -2, "check");
        lua_pushboolean(L, op->backward != NULL);
        lua_setfield(L, -2, "backward");
        lua_pushboolean(L, op->flags & SV_OP_NO_GRAD);
        lua_setfield(L, -2, "no_grad");
        lua_setfield(L, -2, op->name);
    }
    lua_pop(L, 2);
    lua_pushcfunction(L, l_nearest);
    lua_setfield(L, core, "nearest");
}
