/* engine.h: what Lua sees: tensors, tapes, and how ops are called.
 *
 * The engine in one page
 *
 *   storage  one full userdata that holds the numbers. Lua knows its true size,
 *            paces the collector by it and frees it; there is no finalizer and
 *            no malloc.
 *   tensor   a small userdata that describes a row-major block of a storage
 *            (SV_UV_STORAGE). Views are tensors that share a storage.
 *   tape     the ops recorded since sv.tape(), in order, for the backward pass,
 *            and the storages allocated since, which return to free lists when
 *            the tape closes. A tensor on such a storage is stale: using it
 *            raises.
 *   op       a row (struct sv_op) and its two or three functions. call.c makes
 *            the Lua function from the row's signature. Functions of an op see
 *            a struct sv_args, never Lua: they do not allocate or print;
 *            errors are reported by the shape function (sv_fail), or by forward where
 *            only the computation finds them: a singular matrix.
 *
 * Numbers are sv_real: float, or double with -DSV_DOUBLE. All tensors are
 * contiguous; a 4-d tensor may hold its pixels channels-last (struct sv_tensor,
 * layout), which only the ops that declare it see.
 */
#ifndef SV_ENGINE_H
#define SV_ENGINE_H

#include "../kernels/kernels.h"
#include "size.h"

#include <lauxlib.h>
#include <lua.h>

#define SV_MAX_DIM 8  /* axes of a tensor */
#define SV_MAX_IN 256 /* tensors an op takes (concat, stack) */
#define SV_MAX_OPT 12 /* options of an op; a list of whole numbers is one */
#define SV_MAX_AUX 3  /* buffers an op keeps from forward to backward */
#define SV_MESSAGE 256

/* ---- engine/storage.c ------------------------------------------------------ */

typedef struct sv_storage {
    sv_real *data;              /* 64-byte aligned; inside this userdata, or a mapped file */
    size_t count;               /* numbers that fit */
    uint64_t generation;        /* incremented when the storage returns to a free list */
    uint64_t version;           /* incremented with each write, or SV_FOREIGN */
    struct sv_tape *owner;      /* the open tape it belongs to, or NULL */
    int slot;                   /* of a leaf in a list of gradients (gradients.c), from 1; else 0 */
    struct sv_size_class *size; /* the free list that it returns to, if it has an owner */
    struct sv_storage *next;    /* in that list */
} sv_storage;

#define SV_FOREIGN UINT64_MAX /* other processes write it */
static inline void sv_note_write(sv_storage *s) {
    if (s->version != SV_FOREIGN) s->version++;
}

/* ---- engine/tensor.c ------------------------------------------------------- */

enum sv_layout {
    SV_PLAIN = 0,        /* row-major in the order of the shape */
    SV_CHANNELS_LAST = 1 /* shape (N, C, H, W), memory (N, H, W, C) */
};

/* Cached preprocessed weights (packed panels, Winograd transforms); valid while the weights' version and `key` are
 * unchanged. */
typedef struct sv_weight_cache {
    size_t count;
    uint64_t key, version; /* of the weights' storage */
    sv_real *numbers;
} sv_weight_cache;

typedef struct sv_tensor {
    sv_storage *storage; /* SV_UV_STORAGE keeps it alive */
    sv_real *data;
    uint64_t generation; /* storage->generation when made; another value: stale */
    size_t count;        /* numbers in all: the product of the shape */
    size_t shape[SV_MAX_DIM];
    int ndim; /* 0: a single number */
    enum sv_layout layout;
    bool needs_grad;                  /* a leaf that requires a gradient, or computed from one */
    bool is_leaf;                     /* a parameter: its gradient is kept in grad */
    bool grad_valid;                  /* grad holds a gradient (else: next one overwrites) */
    struct sv_tensor *grad;           /* SV_UV_GRAD; leaves only */
    struct sv_tape *tape;             /* the open tape whose node made it, or NULL */
    int node;                         /* index of that node */
    int slot;                         /* of a leaf in a list of gradients (gradients.c), from 1; else 0 */
    uint64_t weights_version;         /* weights' version + 1 at the last use (0: never) */
    sv_weight_cache *weight_cache[2]; /* of the forward and the backward pass: SV_UV_WEIGHT_CACHE */
    uint64_t converted_version;       /* version + 1 of which SV_UV_CONVERTED is a copy in the other layout (0: none) */
} sv_tensor;

/* What a tensor's userdata keeps alive. */
enum sv_tensor_user_values {
    SV_UV_STORAGE = 1,
    SV_UV_GRAD,
    SV_UV_WEIGHT_CACHE, /* and the next one: of the forward and the backward pass */
    SV_UV_CONVERTED = SV_UV_WEIGHT_CACHE + 2,
    SV_USER_VALUES = SV_UV_CONVERTED
};

#define SV_STORAGE "simvae.storage"
#define SV_TENSOR "simvae.tensor"
#define SV_TAPE "simvae.tape"

/* One per Lua state, in its registry. */
typedef struct sv_context {
    struct sv_tape *scopes;      /* open tapes and calls of no_grad, newest first */
    struct sv_tape *tape;        /* the tape that owns new tensors, or NULL; set by sv_enter */
    bool recording;              /* that tape records, and no no_grad is in effect; set by sv_enter */
    bool orphans;                /* a scope was collected while open */
    bool tracing;                /* core.trace runs: ops are listed */
    uint64_t closed;             /* tapes closed so far: the clock of the free lists */
    struct sv_size_class *sizes; /* free lists */
    size_t live, pooled, peak;   /* bytes: under open tapes, in free lists, peak of the sum */
} sv_context;

sv_context *sv_get_context(lua_State *L);
/* The safe point: every function that makes tensors calls it first, before it holds anything. Drops tapes that were
 * collected while open, and finds those in effect for this coroutine. */
sv_context *sv_enter(lua_State *L);
/* Is a finalizer (__gc) running? It may have interrupted an op at any allocation: what an op relies on (tapes,
 * precision) does not change in one. */
bool sv_in_finalizer(lua_State *L);

/* Push a storage of count numbers, not initialised. Scoped: it belongs to the
 * open tape (if any) and goes back to a free list with it; else it is ordinary
 * garbage-collected memory. */
enum sv_scope { SV_SCOPED, SV_PERSISTENT };
sv_storage *sv_push_storage(lua_State *L, sv_context *c, size_t count, enum sv_scope scope);
void sv_release_storage(sv_context *c, sv_storage *s);             /* to its free list; tensors on it become stale */
void sv_keep_storage(lua_State *L, sv_context *c, sv_storage *s);  /* takes it out of its tape, to be collected */
void sv_adopt_storage(lua_State *L, sv_context *c, int index);     /* gives one that no tape owns to the open one */
void sv_trim_storages(lua_State *L, sv_context *c, uint64_t idle); /* drops free ones unused for so many tapes */
void sv_open_storage(lua_State *L);

sv_tensor *sv_check_tensor(lua_State *L, int index); /* raises for another type and for a stale one */
sv_tensor *sv_test_tensor(lua_State *L, int index);  /* NULL for another type; may be stale */
void sv_check_alive(lua_State *L, const sv_tensor *t);
sv_tensor *sv_push_tensor(lua_State *L, int ndim, const size_t *shape, enum sv_scope scope);
sv_tensor *sv_push_view(lua_State *L, int of, size_t offset, int ndim,
                        const size_t *shape); /* of: stack index of a tensor */
sv_tensor *sv_push_tensor_on(lua_State *L, int storage, int ndim,
                             const size_t *shape);          /* a whole storage at that stack index */
sv_tensor *sv_ensure_grad(lua_State *L, int index);         /* the leaf's gradient tensor, made if need be */
void sv_check_writable(lua_State *L, const sv_tensor *t);   /* raises if an open tape needs its value; notes a write */
int sv_check_shape(lua_State *L, int first, size_t *shape); /* numbers from first on, or one table: -> ndim */
int sv_check_length(lua_State *L, int index, int maximum, const char *what); /* of a list: 0 … maximum, or raises */
void sv_format_shape(char *to, size_t room, int ndim, const size_t *shape);
void sv_open_tensor(lua_State *L, int core); /* core: stack index of the module's table */

/* ---- arguments of functions that Lua calls (engine/argument.c), in place of lauxlib's checks, whose messages do not
 * name what would do ---- */

const char *sv_function_name(lua_State *L); /* of the C function that runs; stays on the stack */
int sv_argument_error(lua_State *L, int index, const char *note);
lua_Integer sv_check_integer(lua_State *L, int index);
lua_Number sv_check_number(lua_State *L, int index);
const char *sv_check_text(lua_State *L, int index, size_t *length); /* length may be NULL */
const char *sv_optional_text(lua_State *L, int index, const char *otherwise);
lua_Integer sv_optional_integer(lua_State *L, int index, lua_Integer otherwise);
lua_Number sv_optional_number(lua_State *L, int index, lua_Number otherwise);
int sv_check_option(lua_State *L, int index, const char *const *options); /* number of the one given, from 0 */
void sv_check_type(lua_State *L, int index, int type);
void sv_check_any(lua_State *L, int index);
void *sv_check_object(lua_State *L, int index, const char *class);
static inline void sv_check_argument(lua_State *L, bool holds, int index, const char *note) {
    if (!holds) sv_argument_error(L, index, note);
}

/* ---- ops: rows, and the arguments of their functions ---------------------- */

typedef struct sv_op sv_op;

typedef struct sv_list {
    int n;
    long at[SV_MAX_DIM];
} sv_list;

typedef struct sv_args {
    const sv_op *op;
    int nin;
    sv_tensor **in; /* in[i] may be NULL for an optional tensor */
    sv_tensor *out;
    double opt[SV_MAX_OPT];   /* numbers, whole numbers, booleans, enum indices (from 0) and axes (0-based) */
    sv_list list[SV_MAX_OPT]; /* list options, by the same index; axes are 0-based here */

    /* set by the shape function */
    size_t shape[SV_MAX_DIM];
    int ndim;
    size_t aux_count[SV_MAX_AUX]; /* numbers kept from forward to backward */
    size_t work_count;            /* numbers of workspace of forward */
    size_t backward_work_count;   /* numbers of workspace of backward */
    size_t cache_count[2];        /* numbers of the weight cache of in[1], forward and backward */
    union {
        sv_conv_plan conv; /* of a convolution */
    } plan;
    bool wants_blas;          /* products of it: the engine loads OpenBLAS, then calls the shape function again */
    size_t view_offset;       /* SV_OP_VIEW: where out starts in in[0] */
    char message[SV_MESSAGE]; /* the error, if shape() returns false */

    /* set by the caller */
    sv_real *aux[SV_MAX_AUX];
    sv_real *work;
    bool training;         /* a gradient may be requested: aux must be filled */
    bool use_weight_cache; /* in[1] has not changed since the last call */

    /* backward only */
    sv_real *grad_out;      /* laid out as out; may be overwritten */
    sv_real **grad_in;      /* per input: NULL (not requested), or to be written in full, laid out as the input */
    bool again;             /* SV_OP_TWICE: the second call, with grad_out as the first one has left it */
    sv_real *sums_to;       /* SV_OP_SUMS: where the sums over this microbatch go, or NULL: */
    const sv_real *sums[2]; /* those over this microbatch, and over all, (2, channels of in[0]) each */
} sv_args;

enum {
    SV_OP_LAYOUT_FREE = 1,   /* works on either layout; all inputs of out's shape have the same one */
    SV_OP_CHANNELS_LAST = 2, /* in[0] and out are channels-last when 4-d */
    SV_OP_VIEW = 4,          /* out shares in[0]'s memory; of equal count, the gradient passes as it is */
    SV_OP_NO_GRAD = 8,       /* has no gradient (argmax, comparisons, …) */
    SV_OP_INTERNAL = 16,     /* not part of the public table */
    SV_OP_IN_PLACE = 32,     /* backward may be told to write grad_in[0], laid out as out, over grad_out */
    SV_OP_SUMS = 64,         /* backward takes sums over all microbatches: it is called for those over this one first */
    SV_OP_TWICE = 128        /* backward may be called for the gradients of all inputs but in[0], then for that one */
};

/* A row. The signature is what call.c parses and sv.help prints:
 *   "x, w, b?; stride:int=1, padding:int=0"
 * tensors before the semicolon (b? optional, xs* a list), options after it:
 * num, int, bool, axis, axes, ints, enum(a|b|c); "=v" a default, "?" optional
 * (axes: empty list; ints: empty list). */
struct sv_op {
    const char *name;
    const char *signature;
    bool (*shape)(sv_args *a);    /* checks; fills shape, ndim, aux_count, … or message */
    void (*forward)(sv_args *a);  /* writes all of out */
    void (*backward)(sv_args *a); /* writes all of each wanted grad_in */
    int flags;
    const char *doc;   /* one paragraph: what, shapes, source */
    const char *check; /* Lua: arguments of one call to check the gradient with; `r(...)` makes a random tensor */
};

bool sv_fail(sv_args *a, const char *format, ...);  /* sets message; false */
bool sv_same_shape(sv_args *a, const sv_tensor *t); /* out like t; true */

/* ---- ops/elementwise.c: activations that layers fuse ------------------------- */

/* The values of a signature's option of kind `fused`, in their order; the last row has no name. */
typedef struct sv_fused_activation {
    const char *name;
    sv_activation apply; /* NULL: none */
} sv_fused_activation;
extern const sv_fused_activation sv_fused_activations[];

/* ---- engine/apply.c, call.c, weight_cache.c, suggest.c ----------------------------------------------------------- */

/* The weight cache of in[1] for a pass: room for count numbers, or NULL without a cache. ready: they are valid, else
 * the caller writes them. key: what they depend on besides the weights. */
sv_real *sv_weight_cache_numbers(const sv_args *a, bool backward, size_t count, uint64_t key, bool *ready);
/* Applies an op to the nin tensors (or nils) at stack indices base, base + 1, … and
 * pushes out. opt and list may be NULL where the op has no options. */
sv_tensor *sv_apply(lua_State *L, const sv_op *op, int nin, int base, const double *opt, const sv_list *list);
void sv_open_ops(lua_State *L, int core, const sv_op *rows);               /* rows end with a NULL name */
void sv_open_suggest(lua_State *L, int core);                              /* suggest.c: core.nearest */
const char *sv_nearest(const char *word, const char *const *known, int n); /* closest spelling, or NULL */
extern const sv_op sv_ops_elementwise[], sv_ops_matmul[], sv_ops_conv[], sv_ops_norm[], sv_ops_reduce[], sv_ops_shape[],
    sv_ops_pool[], sv_ops_softmax[], sv_ops_loss[], sv_ops_dropout[], sv_ops_sort[], sv_ops_distribution[],
    sv_ops_linalg[], sv_ops_linalg_factor[], sv_ops_spline[], sv_ops_conditioner[], sv_ops_piecewise[],
    sv_ops_location_scale[], sv_ops_recurrent[];
extern const sv_op sv_op_to_plain, sv_op_to_channels_last, sv_op_relabel; /* ops/shape.c */

/* ---- engine/trace.c ------------------------------------------------------------- */

/* Lists an op whose inputs lie at stack indices base … and whose result at out. */
void sv_trace_op(lua_State *L, const sv_args *a, int base, int out);
/* While a trace runs: lists a "read", "write" or "copy" by a function other than an op, of the tensor at stack index
 * from; to: that of the copy, or of what it is written to (0: none). */
void sv_trace_use(lua_State *L, const char *use, const char *by, int from, int to);
void sv_open_trace(lua_State *L, int core);

/* ---- engine/blas.c ------------------------------------------------------------- */

const struct sv_blas *sv_blas_now(void); /* OpenBLAS (csrc/blas/blas.h), or NULL: not loaded */
bool sv_load_blas(lua_State *L);         /* once; raises where SV_BLAS asks for it and it is missing */
void sv_open_blas(lua_State *L, int core);

/* ---- engine/tape.c ----------------------------------------------------------- */

typedef struct sv_tape {
    struct sv_tape *older;   /* the scope opened before this one */
    lua_State *thread;       /* the coroutine that opened it; NULL: collected while open */
    struct sv_tape **handle; /* where Lua's userdata points to it */
    bool recording;
    bool no_grad; /* a call of sv.no_grad: owns nothing */
    bool running; /* backward is running, or ended in an error */
    int count, room;
    struct sv_node **nodes;
    int storages, storage_room;
    sv_storage **storage;          /* every storage it owns */
    struct sv_collected *collects; /* during backward: where gradients go instead of the leaves, or NULL */
} sv_tape;
typedef struct sv_node {
    sv_args args;
    sv_storage *aux[SV_MAX_AUX];
    sv_storage *grad;               /* of out, during backward */
    int settings;                   /* in forward: the sizes of an op's work depend on them */
    uint64_t wants[SV_MAX_IN / 64]; /* a bit an input: it needed a gradient in forward */
    bool half;                      /* all inputs but in[0] have their gradients */
    bool passed;                    /* visited by backward */
    sv_tensor *in[];                /* args.in */
} sv_node;
/* Adds a node for a; its inputs lie at stack indices base …, out on top; all are anchored. */
void sv_record(lua_State *L, sv_context *c, const sv_args *a, int base, sv_storage *const aux[SV_MAX_AUX]);
void sv_reserve_owned(lua_State *L, sv_tape *t);     /* room for one more, or raises */
void sv_own(sv_tape *t, sv_storage *s);              /* after sv_reserve_owned */
void sv_free_scopes(sv_context *c);                  /* when the state closes */
sv_tape *sv_check_tape(lua_State *L, int index);     /* raises for another object and a closed one */
void sv_push_record(lua_State *L, const sv_tape *t); /* the tensors of its nodes, by address */
int sv_tape_settings(void); /* what the sizes of an op's work depend on besides its arguments */
void sv_open_tape(lua_State *L, int core);

/* ---- engine/backward.c, gradients.c -------------------------------------------- */

int sv_backward(lua_State *L);
void sv_open_gradients(lua_State *L, int core); /* core.gradients, core.tree */

/* ---- engine/class.c ------------------------------------------------------------ */

/* Makes the metatable of a userdata: methods (NULL: none), finalizer (__gc and __close; NULL: none), __tostring (NULL:
 * Lua's default). */
void sv_new_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction end, lua_CFunction tostring);
/* A public function with its documentation: text, then lines "@tparam TYPE NAME text", "@treturn TYPE text",
 * "@raise text" and "@usage code", as in the comments above Lua functions. */
typedef struct sv_row {
    const char *name;
    lua_CFunction call;
    const char *doc;
} sv_row;
/* Adds rows to the table on top, and their texts to core.docs[owner]. */
void sv_set_rows(lua_State *L, int core, const char *owner, const sv_row *rows);
/* Makes the rows the methods of a class. */
void sv_set_methods(lua_State *L, int core, const char *class, const char *owner, const sv_row *rows);
void sv_push_weak_table(lua_State *L); /* a new table that does not keep its values alive */

/* ---- engine/rng.c ------------------------------------------------------------ */

/* Philox4x32-10 (Salmon et al., 2011): number i of stream s under a seed is a
 * pure function of (seed, s, i). */
typedef struct sv_rng {
    uint64_t seed;
    uint64_t stream; /* sample index, or a user's stream */
    uint64_t next;   /* numbers drawn so far */
    uint64_t born;   /* number of calls of rng:call before it was made */
} sv_rng;
#define SV_RNG "simvae.rng"
double sv_rng_uniform(sv_rng *r); /* (0, 1), 53 bits */
double sv_rng_normal(sv_rng *r);
void sv_open_rng(lua_State *L, int core);
void sv_open_distribution(lua_State *L, int core); /* distribution.c: core.distribution */

/* ---- engine/rng_call.c: random numbers of one sample -------------------------- */

uint64_t sv_rng_born(void);
void sv_rng_check_stream(lua_State *L, const sv_rng *r); /* raises if the running rng:call may not draw from it */
uint64_t sv_rng_sample_seed(const sv_rng *r); /* seed of the samples drawn by it, different for each stream */
int sv_rng_call(lua_State *L);
void sv_open_rng_call(lua_State *L, int core);

/* ---- engine/shared.c: memory that processes share -------------------------- */

void sv_open_shared(lua_State *L, int core);

#endif
