/* backward.c: the backward pass of a tape.
 *
 * It visits the nodes from the loss to the first. An op writes each requested gradient in full; where a tensor was used
 * more than once, later gradients go to a buffer and are added here, so that ops need no accumulation. A node's memory
 * returns to the free lists when it has been visited.
 *
 * With {gradients = list, into = flat} (gradients.c) the gradients of the leaves in the list are written to a flat
 * tensor instead of the leaves. The pass then runs in a coroutine, and yields
 *
 *     "gradient", k, used     the gradient of leaf k is complete; not used: it is 0, as the loss does not depend on it
 *     "sums", t               for an op whose gradient takes sums over all microbatches (SV_OP_SUMS): t holds those
 * over this one; to be resumed with the sums over all
 *
 * so that the caller can send gradients while the pass goes on, and can let several tapes exchange sums. */
#include "engine.h"
#include "gradients.h"

#include <stdlib.h>
#include <string.h>

enum { TAPE = 1, LOSS, OPTIONS, LOCAL, GLOBAL }; /* on the stack of backward */

static sv_storage *take(lua_State *L, sv_context *c, size_t count) {
    sv_storage *s = sv_push_storage(L, c, count, SV_SCOPED);
    lua_pop(L, 1); /* the tape anchors it */
    return s;
}

static void add_into(sv_real *to, const sv_real *from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

/* Where the gradient of input t goes. *added: it must go to a buffer of its own
 * first and be added to the result; else it is written there directly. */
static sv_real *destination(lua_State *L, sv_context *c, sv_tape *tape, sv_tensor *t, bool *added) {
    if (t->is_leaf && tape->collects) return sv_collected_destination(L, tape->collects, t, added);
    if (t->is_leaf) {
        if (!t->grad) {
            sv_push_record(L, tape); /* recovers the userdata */
            lua_rawgetp(L, -1, t);
            sv_ensure_grad(L, -1);
            lua_pop(L, 2);
        }
        *added = t->grad_valid;
        t->grad_valid = true;
        return t->grad->data;
    }
    sv_node *n = tape->nodes[t->node];
    *added = n->grad != NULL;
    if (!n->grad) n->grad = take(L, c, t->count);
    return n->grad->data;
}

static void check_input(lua_State *L, const sv_tape *tape, const sv_node *n, const sv_tensor *t) {
    if (!t->is_leaf && t->tape != tape)
        luaL_error(L, "backward: an input of %s was computed under another tape", n->args.op->name);
    if (!t->is_leaf && tape->nodes[t->node]->passed)
        luaL_error(L,
                   "backward: an input of %s was already passed by an earlier backward; add the losses, "
                   "or give {retain = true} to all but the last",
                   n->args.op->name);
    sv_check_alive(L, t);
}

/* Needed now and in forward: requires_grad may have changed in between. */
static bool wants(const sv_node *n, int k) {
    return n->in[k] && n->in[k]->needs_grad && (n->wants[k / 64] >> k % 64 & 1);
}

static void pass_view(lua_State *L, sv_context *c, sv_tape *tape, sv_node *n) {
    sv_tensor *t = n->in[0];
    if (!t->is_leaf && !tape->nodes[t->node]->grad) {
        tape->nodes[t->node]->grad = n->grad;
        n->grad = NULL;
        return;
    }
    bool added;
    sv_real *to = destination(L, c, tape, t, &added);
    if (added)
        add_into(to, n->grad->data, t->count);
    else
        memcpy(to, n->grad->data, t->count * sizeof(sv_real));
}

/* The gradients of inputs first … last-1. */
static void pass_node(lua_State *L, sv_context *c, sv_tape *tape, sv_node *n, int first, int last) {
    sv_args *a = &n->args;
    sv_real *wanted[SV_MAX_IN], *result[SV_MAX_IN];
    sv_storage *beside[SV_MAX_IN], *own = n->grad;
    a->grad_out = own->data;
    a->again = n->half;
    for (int k = 0; k < a->nin; k++) {
        sv_tensor *t = n->in[k];
        wanted[k] = result[k] = NULL;
        beside[k] = NULL;
        if (k < first || k >= last || !wants(n, k)) continue;
        if (k == 0 && (a->op->flags & SV_OP_IN_PLACE) && !t->is_leaf && !tape->nodes[t->node]->grad) {
            tape->nodes[t->node]->grad = own; /* memory that is in the cache already */
            wanted[0] = own->data;
            n->grad = NULL;
            continue;
        }
        bool added;
        result[k] = wanted[k] = destination(L, c, tape, t, &added);
        if (added) {
            beside[k] = take(L, c, t->count);
            wanted[k] = beside[k]->data;
        }
    }
    if (n->settings != sv_tape_settings() && !a->op->shape(a))
        luaL_error(L, "backward: %s: %s", a->op->name, a->message);
    sv_storage *work = a->backward_work_count ? take(L, c, a->backward_work_count) : NULL;
    for (int k = 0; k < SV_MAX_AUX; k++) a->aux[k] = n->aux[k] ? n->aux[k]->data : NULL;
    a->work = work ? work->data : NULL;
    a->grad_in = wanted;
    if (a->out->count > 0)
        a->op->backward(a);
    else
        for (int k = first; k < last; k++) /* nothing depends on them */
            if (wanted[k]) memset(wanted[k], 0, n->in[k]->count * sizeof(sv_real));
    a->grad_in = NULL;
    for (int k = 0; k < a->nin; k++)
        if (beside[k]) {
            add_into(result[k], beside[k]->data, n->in[k]->count);
            sv_release_storage(c, beside[k]);
        }
    if (work) sv_release_storage(c, work);
}

/* The storage of out, if this node made it and it is not shared. */
static void release_value(sv_context *c, sv_node *n) {
    if (n->args.op->flags & SV_OP_VIEW) return;
    sv_release_storage(c, n->args.out->storage);
}

static void release_node(sv_context *c, sv_node *n, bool value) {
    for (int k = 0; k < SV_MAX_AUX; k++)
        if (n->aux[k]) sv_release_storage(c, n->aux[k]);
    memset(n->aux, 0, sizeof n->aux);
    if (value) release_value(c, n);
    n->passed = true;
}

/* ---- the pass -------------------------------------------------------------------- */

static bool option(lua_State *L, int index, const char *name) {
    if (!lua_istable(L, index)) return false;
    lua_getfield(L, index, name);
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* Pushes the sums of a node over this microbatch. */
static void push_sums(lua_State *L, sv_context *c, sv_node *n) {
    sv_args *a = &n->args;
    sv_tensor *t = sv_push_tensor(L, 2, (size_t[]){2, a->in[0]->shape[1]}, SV_SCOPED);
    if (n->settings != sv_tape_settings() && !a->op->shape(a))
        luaL_error(L, "backward: %s: %s", a->op->name, a->message);
    sv_storage *work = a->backward_work_count ? take(L, c, a->backward_work_count) : NULL;
    for (int k = 0; k < SV_MAX_AUX; k++) a->aux[k] = n->aux[k] ? n->aux[k]->data : NULL;
    a->work = work ? work->data : NULL;
    a->grad_out = n->grad->data;
    a->sums_to = t->data;
    a->op->backward(a);
    a->sums_to = NULL;
    if (work) sv_release_storage(c, work);
}

static void visit(lua_State *L, sv_context *c, sv_tape *tape, sv_node *n) {
    for (int k = 0; k < n->args.nin; k++)
        if (wants(n, k)) check_input(L, tape, n, n->in[k]);
    bool same = (n->args.op->flags & SV_OP_VIEW) && n->args.out->count == n->in[0]->count;
    if (!same)
        pass_node(L, c, tape, n, 0, n->half ? 1 : n->args.nin);
    else if (wants(n, 0))
        pass_view(L, c, tape, n);
    if (n->grad) sv_release_storage(c, n->grad);
    n->grad = NULL;
}

/* Notes that inputs of a node from one on have their gradients, or are not on the way to the loss. */
static void note_uses(sv_tape *tape, const sv_node *n, int first, int last) {
    for (int k = first; tape->collects && k < last; k++)
        if (wants(n, k) && n->in[k]->is_leaf) sv_collected_use(tape->collects, n->in[k]);
}

/* The gradients of weights first, so that they can be sent while that of x is computed. */
static bool visit_weights(lua_State *L, sv_context *c, sv_tape *tape, sv_node *n) {
    if (!tape->collects || !n->grad || n->half || !(n->args.op->flags & SV_OP_TWICE) || !wants(n, 0)) return false;
    for (int k = 0; k < n->args.nin; k++)
        if (wants(n, k)) check_input(L, tape, n, n->in[k]);
    pass_node(L, c, tape, n, 1, n->args.nin);
    note_uses(tape, n, 1, n->args.nin);
    n->half = true;
    return true;
}

/* The nodes from i down; continues where it has yielded. */
static int pass_nodes(lua_State *L, int status, lua_KContext i) {
    sv_context *c = sv_enter(L);
    sv_tape *tape = sv_check_tape(L, TAPE);
    sv_tensor *loss = sv_check_tensor(L, LOSS);
    bool retain = option(L, OPTIONS, "retain");
    bool summed = status == LUA_YIELD && lua_gettop(L) >= GLOBAL; /* resumed with the sums of node i */
    if (tape != c->tape) return luaL_error(L, "backward: a tape opened later is still open");
    luaL_checkstack(L, 8, NULL);
    for (;;) {
        bool used;
        int leaf = tape->collects ? sv_collected_next(tape->collects, &used) : 0;
        if (leaf) {
            lua_settop(L, OPTIONS);
            lua_pushliteral(L, "gradient");
            lua_pushinteger(L, leaf);
            lua_pushboolean(L, used);
            return lua_yieldk(L, 3, i, pass_nodes);
        }
        if (i < 0) break;
        sv_node *n = tape->nodes[i];
        if (visit_weights(L, c, tape, n)) continue;
        if (n->grad && (n->args.op->flags & SV_OP_SUMS)) {
            if (!summed) {
                lua_settop(L, OPTIONS);
                push_sums(L, c, n);
                lua_pushvalue(L, LOCAL);
                if (tape->collects) {
                    lua_pushliteral(L, "sums");
                    lua_insert(L, -2);
                    return lua_yieldk(L, 2, i, pass_nodes);
                }
            }
            n->args.sums[0] = sv_check_tensor(L, LOCAL)->data;
            n->args.sums[1] = sv_check_tensor(L, GLOBAL)->data;
            summed = false;
        }
        if (n->grad) {
            visit(L, c, tape, n);
            if (!retain) release_node(c, n, n->args.out->storage != loss->storage); /* the loss can still be read */
        }
        note_uses(tape, n, 0, n->half ? 1 : n->args.nin);
        i--;
    }
    sv_drop_collected(tape);
    tape->running = false;
    return 0;
}

/* tape:backward(loss, {retain = false}): gradients of every leaf that loss depends on. */
int sv_backward(lua_State *L) {
    sv_context *c = sv_enter(L);
    sv_tape *tape = sv_check_tape(L, TAPE);
    sv_tensor *loss = sv_check_tensor(L, LOSS);
    if (sv_in_finalizer(L)) return luaL_error(L, "backward: not within a finalizer (__gc)");
    if (tape->running) return luaL_error(L, "backward: an earlier one of this tape ended in an error; open a new tape");
    if (tape != c->tape) return luaL_error(L, "backward: a tape opened later is still open");
    if (loss->count != 1) {
        char shape[SV_MESSAGE];
        sv_format_shape(shape, sizeof shape, loss->ndim, loss->shape);
        return luaL_error(L, "backward: the loss must be one number; this has shape %s (sum or mean it)", shape);
    }
    if (!loss->needs_grad || loss->is_leaf || loss->tape != tape)
        return luaL_error(L, "backward: the loss was not computed under this tape from a tensor that needs a gradient");
    int root = loss->node;
    if (tape->nodes[root]->passed) return luaL_error(L, "backward: was already run for this loss");
    luaL_checkstack(L, 8, NULL);
    if (!sv_reserve_scratch()) return luaL_error(L, "backward: not enough memory");
    lua_settop(L, OPTIONS);
    if (option(L, OPTIONS, "gradients")) {
        sv_collect(L, tape, OPTIONS);
        for (int i = root; i >= 0; i--) {
            const sv_node *n = tape->nodes[i];
            for (int k = 0; k < n->args.nin; k++)
                if (wants(n, k) && n->in[k]->is_leaf) sv_collected_expect(L, tape->collects, n->in[k]);
        }
        sv_collected_start(tape->collects);
    }
    tape->running = true;
    tape->nodes[root]->grad = take(L, c, 1);
    tape->nodes[root]->grad->data[0] = 1;
    return pass_nodes(L, LUA_OK, root);
}
