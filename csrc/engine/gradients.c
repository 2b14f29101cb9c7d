/* gradients.c: the gradients of a batch in microbatches.
 *
 *     local g = core.gradients { w1, b1, … }     -- the leaves, in an order near that in which backward completes them
 *     local flat = core.buffer(core.zeros(g:count()))
 *     tape:backward(loss, { gradients = g, into = flat })    -- in a coroutine: backward.c
 *     core.tree.add(flat, other, first, count)   -- a node of the tree (tree_sum.h), of a part of the flat tensor
 *     g:set(flat, 1 / microbatches)              -- to the leaves, for an optimizer
 *
 * Each leaf's part starts at a multiple of 16 numbers. */
#include "gradients.h"
#include "../kernels/loops.h"
#include "../kernels/tree_sum.h"

#include <stdlib.h>
#include <string.h>

#define GRADIENTS "simvae.gradients"

enum { UV_LEAVES = 1, USER_VALUES = 1 };
enum { LINE = 16 }; /* numbers */

struct sv_collected {
    const sv_gradients *list;
    sv_real *flat;
    int ready, first; /* leaves that are complete, and how many of them were taken */
    struct {
        int uses;  /* in nodes that are not visited yet */
        bool seen; /* its gradient was written */
    } * leaf;
    int *queue; /* numbers of complete leaves, from 0 */
};

/* ---- core.gradients --------------------------------------------------------------- */

/* gradients{leaf, …} -> the list */
static int l_gradients(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    int n = sv_check_length(L, 1, 1 << 20, "leaves");
    sv_gradients *g = lua_newuserdatauv(L, sizeof *g + (size_t)n * sizeof g->at[0], USER_VALUES);
    g->n = 0;
    g->count = 0;
    luaL_setmetatable(L, GRADIENTS);
    lua_createtable(L, n, 0);
    for (int k = 0; k < n; k++) {
        lua_rawgeti(L, 1, k + 1);
        sv_tensor *t = sv_check_tensor(L, -1);
        if (!t->is_leaf) return luaL_error(L, "gradients: tensor %d is not a parameter (sv.parameter)", k + 1);
        lua_rawseti(L, -2, k + 1);
        t->slot = k + 1;
        g->at[k].leaf = t;
        g->at[k].from = g->count;
        g->count += (t->count + LINE - 1) / LINE * LINE;
    }
    g->n = n;
    lua_setiuservalue(L, -2, UV_LEAVES);
    return 1;
}

static int l_count(lua_State *L) {
    const sv_gradients *g = sv_check_object(L, 1, GRADIENTS);
    lua_pushinteger(L, (lua_Integer)g->count);
    return 1;
}

/* g:from(k): where leaf k starts, from 0; #leaves + 1: the end. */
static int l_from(lua_State *L) {
    const sv_gradients *g = sv_check_object(L, 1, GRADIENTS);
    lua_Integer k = sv_check_integer(L, 2);
    sv_check_argument(L, k >= 1 && k <= g->n + 1, 2, "there is no such leaf");
    lua_pushinteger(L, (lua_Integer)(k <= g->n ? g->at[k - 1].from : g->count));
    return 1;
}

static sv_tensor *check_flat(lua_State *L, int index, const sv_gradients *g) {
    sv_tensor *flat = sv_check_tensor(L, index);
    if (flat->count != g->count)
        luaL_error(L, "gradients: the flat tensor has %I numbers, not %I", (lua_Integer)flat->count,
                   (lua_Integer)g->count);
    return flat;
}

typedef struct {
    sv_real *to;
    const sv_real *from;
    size_t count;
    sv_real factor;
} scaling;

static void scale_piece(void *arg, long i, int worker) {
    (void)worker;
    const scaling *s = arg;
    size_t from, to;
    sv_stripe(s->count, i, &from, &to);
    for (size_t k = from; k < to; k++) s->to[k] = s->from[k] * s->factor;
}

/* g:set(flat, factor, unused): the gradient of every leaf is its part of flat, times a factor; a leaf whose number is
 * a key of unused has none. */
static int l_set(lua_State *L) {
    const sv_gradients *g = sv_check_object(L, 1, GRADIENTS);
    const sv_tensor *flat = check_flat(L, 2, g);
    sv_real factor = (sv_real)sv_check_number(L, 3);
    sv_check_type(L, 4, LUA_TTABLE);
    lua_getiuservalue(L, 1, UV_LEAVES);
    for (int k = 0; k < g->n; k++) {
        bool unused = lua_rawgeti(L, 4, k + 1) != LUA_TNIL;
        lua_pop(L, 1);
        if (unused) continue;
        lua_rawgeti(L, -1, k + 1);
        sv_tensor *leaf = sv_check_tensor(L, -1);
        sv_ensure_grad(L, -1);
        leaf->grad_valid = true;
        scaling s = {leaf->grad->data, flat->data + g->at[k].from, leaf->count, factor};
        sv_parallel(SV_STRIPES, scale_piece, &s);
        lua_pop(L, 1);
    }
    return 0;
}

/* g:store(flat): the numbers of the leaves themselves; g:load(flat): sets them. */
static int copy_leaves(lua_State *L, bool load) {
    const sv_gradients *g = sv_check_object(L, 1, GRADIENTS);
    sv_tensor *flat = check_flat(L, 2, g);
    if (!load) sv_note_write(flat->storage);
    for (int k = 0; k < g->n; k++) {
        sv_tensor *leaf = g->at[k].leaf;
        sv_real *there = flat->data + g->at[k].from;
        if (load) sv_note_write(leaf->storage);
        memcpy(load ? leaf->data : there, load ? there : leaf->data, leaf->count * sizeof(sv_real));
    }
    return 0;
}

static int l_store(lua_State *L) { return copy_leaves(L, false); }
static int l_load(lua_State *L) { return copy_leaves(L, true); }

/* ---- of one backward pass ------------------------------------------------------------ */

void sv_collect(lua_State *L, sv_tape *tape, int options) {
    if (!lua_isyieldable(L)) luaL_error(L, "backward: with gradients it yields, and has to run in a coroutine");
    sv_drop_collected(tape);
    lua_getfield(L, options, "gradients");
    const sv_gradients *g = sv_check_object(L, -1, GRADIENTS);
    lua_getfield(L, options, "into");
    const sv_tensor *flat = check_flat(L, -1, g);
    size_t n = (size_t)g->n;
    sv_collected *c = calloc(1, sizeof *c);
    if (c) {
        c->leaf = calloc(n + 1, sizeof *c->leaf);
        c->queue = calloc(n + 1, sizeof *c->queue);
    }
    tape->collects = c;
    if (!c || !c->leaf || !c->queue) {
        sv_drop_collected(tape);
        luaL_error(L, "backward: not enough memory");
    }
    c->list = g;
    c->flat = flat->data;
    sv_note_write(flat->storage);
    lua_pop(L, 2);
}

void sv_drop_collected(sv_tape *tape) {
    sv_collected *c = tape->collects;
    tape->collects = NULL;
    if (!c) return;
    free(c->leaf);
    free(c->queue);
    free(c);
}

/* Its number in the list, from 0, or -1. */
static int number_of(const sv_collected *c, const sv_tensor *leaf) {
    int k = leaf->slot - 1;
    return k >= 0 && k < c->list->n && c->list->at[k].leaf == leaf ? k : -1;
}

void sv_collected_expect(lua_State *L, sv_collected *c, const sv_tensor *leaf) {
    int k = number_of(c, leaf);
    if (k < 0) luaL_error(L, "backward: the loss depends on a parameter that is not in the list of gradients");
    c->leaf[k].uses++;
}

static void complete(sv_collected *c, int k) {
    size_t from = c->list->at[k].from, to = k + 1 < c->list->n ? c->list->at[k + 1].from : c->list->count;
    size_t own = c->leaf[k].seen ? c->list->at[k].leaf->count : 0;
    memset(c->flat + from + own, 0, (to - from - own) * sizeof(sv_real));
    c->queue[c->ready++] = k;
}

void sv_collected_start(sv_collected *c) {
    for (int k = 0; k < c->list->n; k++)
        if (c->leaf[k].uses == 0) complete(c, k);
}

sv_real *sv_collected_destination(lua_State *L, sv_collected *c, const sv_tensor *leaf, bool *added) {
    int k = number_of(c, leaf);
    if (k < 0) luaL_error(L, "backward: the loss depends on a parameter that is not in the list of gradients");
    *added = c->leaf[k].seen;
    c->leaf[k].seen = true;
    return c->flat + c->list->at[k].from;
}

void sv_collected_use(sv_collected *c, const sv_tensor *leaf) {
    int k = number_of(c, leaf);
    if (--c->leaf[k].uses == 0) complete(c, k);
}

int sv_collected_next(sv_collected *c, bool *used) {
    if (c->first == c->ready) return 0;
    int k = c->queue[c->first++];
    *used = c->leaf[k].seen;
    return k + 1;
}

/* ---- core.tree: nodes of the tree (tree_sum.h) ------------------------------------------ */

typedef struct {
    sv_real *to;
    const sv_real *from; /* NULL: rounds */
    size_t count;
    bool bf16;
} addition;

static void add_piece(void *arg, long i, int worker) {
    (void)worker;
    const addition *a = arg;
    size_t from, to;
    sv_chunk(a->count, i, &from, &to);
    if (!a->from)
        for (size_t k = from; k < to; k++) a->to[k] = sv_bf16_rounded(a->to[k]);
    else if (a->bf16)
        sv_tree_add_bf16(to - from, a->to + from, a->from + from);
    else
        sv_tree_add(to - from, a->to + from, a->from + from);
}

/* The numbers first … first+count-1 (from 0) of a tensor. */
static sv_real *part_of(lua_State *L, int index, size_t first, size_t count) {
    const sv_tensor *t = sv_check_tensor(L, index);
    if (first > t->count || count > t->count - first)
        luaL_error(L, "tree: the tensor has %I numbers, not %I from number %I on", (lua_Integer)t->count,
                   (lua_Integer)count, (lua_Integer)first);
    return t->data + first;
}

/* add(to, from, first, count, bf16): to = to + from; from nil: rounds to bfloat16. */
static int l_add(lua_State *L) {
    size_t first = (size_t)sv_check_integer(L, 3), count = (size_t)sv_check_integer(L, 4);
    addition a = {.to = part_of(L, 1, first, count), .count = count, .bf16 = lua_toboolean(L, 5)};
    if (!lua_isnil(L, 2)) a.from = part_of(L, 2, first, count);
    sv_note_write(sv_check_tensor(L, 1)->storage);
    sv_parallel(sv_chunks(count), add_piece, &a);
    return 0;
}

/* moments(to, from, rows): the moments (2, C) of twice as many rows. */
static int l_moments(lua_State *L) {
    sv_tensor *to = sv_check_tensor(L, 1);
    const sv_tensor *from = sv_check_tensor(L, 2);
    if (to->count != from->count || to->count % 2) return luaL_error(L, "tree: moments are (2, C), of equal C");
    sv_note_write(to->storage);
    sv_tree_moments(to->count / 2, sv_check_number(L, 3), to->data, from->data);
    return 0;
}

static const luaL_Reg methods[] = {{"count", l_count}, {"from", l_from}, {"set", l_set},
                                   {"store", l_store}, {"load", l_load}, {NULL, NULL}};
static const luaL_Reg tree[] = {{"add", l_add}, {"moments", l_moments}, {NULL, NULL}};

void sv_open_gradients(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, GRADIENTS, methods, NULL, NULL);
    lua_pushcfunction(L, l_gradients);
    lua_setfield(L, core, "gradients");
    luaL_newlib(L, tree);
    lua_setfield(L, core, "tree");
}
