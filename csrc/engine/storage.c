/* storage.c: storages and their free lists.
 *
 * A storage is one full userdata that holds its numbers, over-allocated so that they
 * start at a multiple of 64 bytes. It has no finalizer: Lua frees it like a string and
 * accounts for its size.
 *
 * A storage made under a tape is anchored in a table of the registry
 * (anchors[address] = userdata) until the tape closes; it then enters the free list of
 * its exact size, still anchored. If that list is empty, a storage of the next larger
 * size is used, up to twice the requested size, so that the total is bounded by the peak
 * of live memory instead of the sum of the peaks of all sizes. A training loop requests
 * the same sizes in every step and allocates nothing after a few steps. Sizes that no
 * tape has requested recently are released. */
#define _GNU_SOURCE /* madvise */
#include "../kernels/loops.h"
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { ALIGNMENT = 64 };
#define LARGE ((size_t)16 << 20) /* bytes: allocations of this size are likely to fail */
#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_MIN ((size_t)3 << 19) /* so that at most a quarter of its pages is unused */

typedef struct sv_size_class {
    struct sv_size_class *next;
    size_t count;  /* capacity of each, in numbers */
    uint64_t used; /* context->closed when last taken from */
    size_t lent;   /* storages of this size owned by tapes */
    sv_storage *free;
} sv_size_class;

static const char context_key = 'c', anchors_key = 'a';

static size_t bytes_of(const sv_storage *s) { return s->count * sizeof(sv_real); }

sv_context *sv_get_context(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &context_key);
    sv_context *c = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return c;
}

static sv_size_class *class_of(lua_State *L, sv_context *c, size_t count) {
    for (sv_size_class *k = c->sizes; k; k = k->next)
        if (k->count == count) return k;
    sv_size_class *k = calloc(1, sizeof *k);
    if (!k) luaL_error(L, "not enough memory");
    k->count = count;
    k->used = c->closed;
    k->next = c->sizes;
    c->sizes = k;
    return k;
}

/* The free list to take from: the smallest sufficient size that is not empty. */
static sv_size_class *lender(sv_context *c, size_t count) {
    sv_size_class *best = NULL;
    for (sv_size_class *k = c->sizes; k; k = k->next)
        if (k->free && k->count >= count && k->count / 2 <= count && (!best || k->count < best->count)) best = k;
    return best;
}

static void note_peak(sv_context *c) {
    if (c->live + c->pooled > c->peak) c->peak = c->live + c->pooled;
}

/* Large storages are aligned to huge pages where the system has them: tensors of a few megabytes in 4 KB pages exceed
 * the TLB. */
static size_t alignment_for(size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes >= HUGE_MIN) return HUGE_PAGE;
#endif
    return ALIGNMENT;
}

static int new_userdata(lua_State *L) {
    lua_newuserdatauv(L, *(const size_t *)lua_touserdata(L, 1), 0);
    return 1;
}

/* A userdata of that size; where memory is short, the error states the requested size. */
static void *new_large_userdata(lua_State *L, size_t bytes) {
    lua_pushcfunction(L, new_userdata);
    lua_pushlightuserdata(L, &bytes);
    int status = lua_pcall(L, 1, 1, 0);
    if (status == LUA_ERRMEM) {
        char size[32];
        snprintf(size, sizeof size, "%.3g", (double)bytes / ((size_t)1 << 30));
        luaL_error(L, "not enough memory for a tensor of %s GiB", size);
    }
    if (status != LUA_OK) lua_error(L); /* a hook's: Ctrl-C */
    return lua_touserdata(L, -1);
}

static sv_storage *new_storage(lua_State *L, size_t count) {
    if (count > SIZE_MAX / 4 / sizeof(sv_real)) luaL_error(L, "not enough memory: the address space is smaller");
    size_t alignment = alignment_for(count * sizeof(sv_real)),
           bytes = (size_t)round_up((long)(count * sizeof(sv_real)), (long)alignment);
    size_t whole = sizeof(sv_storage) + alignment - 1 + bytes;
    sv_storage *s = whole < LARGE ? lua_newuserdatauv(L, whole, 0) : new_large_userdata(L, whole);
    memset(s, 0, sizeof *s);
    s->data = (sv_real *)round_up((intptr_t)(s + 1), (long)alignment);
    s->count = count;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == HUGE_PAGE) madvise(s->data, bytes, MADV_HUGEPAGE);
#endif
    luaL_setmetatable(L, SV_STORAGE);
    return s;
}

static void set_anchor(lua_State *L, sv_storage *s, bool anchored) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &anchors_key);
    if (anchored)
        lua_pushvalue(L, -2);
    else
        lua_pushnil(L);
    lua_rawsetp(L, -2, s);
    lua_pop(L, 1);
}

static void push_anchored(lua_State *L, sv_storage *s) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &anchors_key);
    lua_rawgetp(L, -1, s);
    lua_remove(L, -2);
}

/* Gives the storage on top of the stack, which no tape owns, to the open one, and to the free list of its size. */
static void enrol(lua_State *L, sv_context *c, sv_storage *s) {
    s->size = class_of(L, c, s->count);
    set_anchor(L, s, true);
    sv_reserve_owned(L, c->tape); /* a finalizer may have used the reserved room */
}

static void lend(sv_context *c, sv_storage *s) {
    s->size->lent++;
    sv_own(c->tape, s);
    c->live += bytes_of(s);
    note_peak(c);
}

sv_storage *sv_push_storage(lua_State *L, sv_context *c, size_t count, enum sv_scope scope) {
    luaL_checkstack(L, 4, NULL);
    sv_tape *tape = scope == SV_SCOPED && !c->tracing ? c->tape : NULL;
    if (!tape) return new_storage(L, count);
    sv_reserve_owned(L, tape);
    sv_size_class *k = lender(c, count);
    sv_storage *s;
    if (k) {
        s = k->free;
        k->free = s->next;
        k->used = c->closed;
        c->pooled -= bytes_of(s);
        push_anchored(L, s);
    } else {
        s = new_storage(L, count);
        enrol(L, c, s);
    }
    lend(c, s);
    return s;
}

/* Removes it from its tape's list, which must not point to memory that Lua may free. */
static void disown(sv_context *c, sv_storage *s) {
    sv_tape *t = s->owner;
    sv_storage *last = t->storage[--t->storages];
    t->storage[s->slot] = last;
    last->slot = s->slot;
    s->owner = NULL;
    s->size->lent--;
    c->live -= bytes_of(s);
}

void sv_release_storage(sv_context *c, sv_storage *s) {
    if (!s->owner) return;
    disown(c, s);
    s->generation++;
    s->next = s->size->free;
    s->size->free = s;
    c->pooled += bytes_of(s);
}

void sv_keep_storage(lua_State *L, sv_context *c, sv_storage *s) {
    if (!s->owner) return;
    disown(c, s);
    set_anchor(L, s, false);
}

void sv_adopt_storage(lua_State *L, sv_context *c, int index) {
    sv_storage *s = lua_touserdata(L, index);
    if (!c->tape || c->tracing || s->owner) return;
    luaL_checkstack(L, 4, NULL);
    sv_reserve_owned(L, c->tape);
    lua_pushvalue(L, index);
    enrol(L, c, s);
    lua_pop(L, 1);
    lend(c, s);
}

void sv_trim_storages(lua_State *L, sv_context *c, uint64_t idle) {
    for (sv_size_class **at = &c->sizes; *at;) {
        sv_size_class *k = *at;
        if (c->closed - k->used < idle) {
            at = &k->next;
            continue;
        }
        while (k->free) {
            sv_storage *s = k->free;
            k->free = s->next;
            c->pooled -= bytes_of(s);
            set_anchor(L, s, false);
        }
        if (k->lent > 0) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        free(k);
    }
}

static int context_gc(lua_State *L) {
    sv_context *c = lua_touserdata(L, 1);
    sv_free_scopes(c);
    while (c->sizes) {
        sv_size_class *k = c->sizes;
        c->sizes = k->next;
        free(k);
    }
    return 0;
}

void sv_open_storage(lua_State *L) {
    sv_new_class(L, SV_STORAGE, NULL, NULL, NULL);

    sv_context *c = lua_newuserdatauv(L, sizeof *c, 0);
    memset(c, 0, sizeof *c);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, context_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &context_key);

    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &anchors_key);
}
