/* simvae.h: every struct and every function that crosses a file of the C core.
 *
 * The core in one page
 *
 *   storage  one full userdata that holds the numbers themselves. Lua sees its
 *            true size, paces the collector by it and frees it; there is no
 *            finalizer and no malloc behind it.
 *   tensor   a small userdata that describes a row-major block of a storage
 *            (user value 1). Views are tensors that share a storage.
 *   tape     what was computed since sv.tape(): the ops in order, for the
 *            gradient, and the storages, which go back to free lists when the
 *            tape is closed. A tensor whose storage went back is stale: using
 *            it raises.
 *   op       a row (struct sv_op) and its two or three functions. call.c makes
 *            the Lua function from the row's signature. Functions of an op see
 *            a struct sv_args, never Lua: they do not allocate or print;
 *            what can be wrong is said by the shape function (sv_fail), or by forward
 *            where only computing tells: a matrix that is singular.
 *
 * Numbers are sv_real: float, or double with -DSV_DOUBLE. All tensors are
 * contiguous; a 4-d tensor may hold its pixels channels-last (struct sv_tensor,
 * layout), which only the ops that ask for it ever see.
 */
#ifndef SIMVAE_H
#define SIMVAE_H

#include "core/size.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "version.h"

#ifdef SV_DOUBLE
typedef double sv_real;
#define SV_REAL_NAME "double"
#else
typedef float sv_real;
#define SV_REAL_NAME "float"
#endif

#define SV_MAX_DIM 8  /* axes of a tensor */
#define SV_MAX_IN 256 /* tensors an op takes (concat, stack) */
#define SV_MAX_OPT 12 /* options of an op; a list of whole numbers is one */
#define SV_MAX_AUX 3  /* buffers an op keeps from forward to backward */
#define SV_MESSAGE 256

/* ---- core/storage.c ------------------------------------------------------ */

typedef struct sv_storage {
    sv_real *data;              /* 64-byte aligned; inside this userdata, or a mapped file */
    size_t count;               /* numbers that fit */
    uint64_t generation;        /* grows each time the storage goes back to a free list */
    uint64_t version;           /* grows with each write to what an op or a user made, or SV_FOREIGN */
    struct sv_tape *owner;      /* the open tape it belongs to, or NULL */
    int slot;                   /* owner->storage[slot] is this one */
    struct sv_size_class *size; /* of an owner's: the free list it goes back to */
    struct sv_storage *next;    /* in that list */
} sv_storage;

#define SV_FOREIGN UINT64_MAX /* other processes write it as well */
static inline void sv_note_write(sv_storage *s) {
    if (s->version != SV_FOREIGN) s->version++;
}

/* ---- core/tensor.c ------------------------------------------------------- */

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
    sv_storage *storage; /* user value 1 keeps it alive */
    sv_real *data;
    uint64_t generation; /* storage->generation when made; another value: stale */
    size_t count;        /* numbers in all: the product of the shape */
    size_t shape[SV_MAX_DIM];
    int ndim; /* 0: a single number */
    enum sv_layout layout;
    bool needs_grad;                  /* a leaf that asks for a gradient, or made from one */
    bool is_leaf;                     /* a parameter: its gradient is kept in grad */
    bool grad_valid;                  /* grad holds a gradient (else: next one overwrites) */
    struct sv_tensor *grad;           /* user value 2; leaves only */
    struct sv_tape *tape;             /* the open tape whose node made it, or NULL */
    int node;                         /* index of that node */
    uint64_t weights_version;         /* weights' version + 1 at the last use (0: never) */
    sv_weight_cache *weight_cache[2]; /* of the forward and the backward pass: user values 3 and 4 */
    uint64_t converted_version;       /* version + 1 of which user value 5 is a copy in the other layout (0: none) */
} sv_tensor;

#define SV_STORAGE "simvae.storage"
#define SV_TENSOR "simvae.tensor"
#define SV_TAPE "simvae.tape"

/* One per Lua state, in its registry. */
typedef struct sv_context {
    struct sv_tape *scopes;      /* open tapes and calls of no_grad, newest first */
    struct sv_tape *tape;        /* the one that what is made now belongs to, or NULL: as of sv_enter */
    bool recording;              /* that tape records, and no no_grad is in effect: as of sv_enter */
    bool orphans;                /* a scope was collected while open */
    uint64_t closed;             /* tapes closed so far: the clock of the free lists */
    struct sv_size_class *sizes; /* free lists */
    size_t live, pooled, peak;   /* bytes: under open tapes, in free lists, the most of both */
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
int sv_check_length(lua_State *L, int index, int most, const char *what); /* of a list: 0 … most, or raises */
void sv_format_shape(char *to, size_t room, int ndim, const size_t *shape);
void sv_to_channels_last(long n, long c, long hw, const sv_real *plain, sv_real *last);
void sv_to_plain(long n, long c, long hw, const sv_real *last, sv_real *plain);
void sv_open_tensor(lua_State *L, int core); /* core: stack index of the module's table */

/* ---- arguments of functions that Lua calls (core/argument.c) ----------------- */

const char *sv_function_name(lua_State *L); /* of the C function that runs; stays on the stack */
int sv_argument_error(lua_State *L, int index, const char *note);
lua_Integer sv_check_integer(lua_State *L, int index);
lua_Number sv_check_number(lua_State *L, int index);
const char *sv_check_text(lua_State *L, int index, size_t *length);
lua_Integer sv_optional_integer(lua_State *L, int index, lua_Integer otherwise);
lua_Number sv_optional_number(lua_State *L, int index, lua_Number otherwise);
void sv_check_type(lua_State *L, int index, int type);
void sv_check_any(lua_State *L, int index);
void *sv_check_object(lua_State *L, int index, const char *class);

#ifndef SV_ARGUMENT_C /* in place of lauxlib's, whose messages do not name what would do */
#define luaL_argerror sv_argument_error
#define luaL_checkinteger sv_check_integer
#define luaL_checknumber sv_check_number
#define luaL_checklstring sv_check_text
#define luaL_optinteger sv_optional_integer
#define luaL_optnumber sv_optional_number
#define luaL_checktype sv_check_type
#define luaL_checkany sv_check_any
#define luaL_checkudata sv_check_object
#endif

/* ---- ops: what a row says and what its functions see --------------------- */

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
    size_t work_count;            /* numbers of scratch during forward */
    size_t backward_work_count;   /* numbers of scratch during backward */
    size_t cache_count[2];        /* numbers of the weight cache of in[1], forward and backward */
    size_t view_offset;           /* SV_OP_VIEW: where out starts in in[0] */
    char message[SV_MESSAGE];     /* what is wrong, if shape() returns false */

    /* set by the caller */
    sv_real *aux[SV_MAX_AUX];
    sv_real *work;
    bool training;         /* a gradient will be asked for: aux must be filled */
    bool use_weight_cache; /* in[1] has not changed since the last call */

    /* backward only */
    sv_real *grad_out; /* laid out as out; may be spoilt */
    sv_real **grad_in; /* per input: NULL (not wanted), or to be written in full, laid out as the input */
} sv_args;

enum {
    SV_OP_LAYOUT_FREE = 1,   /* works on either layout; all inputs of out's shape have the same one */
    SV_OP_CHANNELS_LAST = 2, /* in[0] and out are channels-last when 4-d */
    SV_OP_VIEW = 4,          /* out shares in[0]'s memory; of equal count, the gradient passes as it is */
    SV_OP_NO_GRAD = 8,       /* has no gradient (argmax, comparisons, …) */
    SV_OP_INTERNAL = 16,     /* not part of the public table */
    SV_OP_IN_PLACE = 32      /* backward may be told to write grad_in[0], laid out as out, over grad_out */
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

/* ---- ops/elementwise.c: activations that a layer takes into its own pass ---- */

/* The option of such an op's signature, and one function for each of its values (none: NULL): x to
 * act(x) where it lies, and, unless slopes is NULL, act'(x) to slopes. opt[0]: that of leaky_relu. */
#define SV_ACTIVATION "activation:enum(none|relu|leaky_relu|tanh|sigmoid|softplus|silu|gelu)=none"
typedef void (*sv_activation)(size_t n, sv_real *x, sv_real *slopes, const double *opt);
extern const sv_activation sv_activations[];

/* ---- core/call.c ----------------------------------------------------------- */

/* The weight cache of in[1] for a pass: room for count numbers, or NULL without a cache. ready: they are valid, else
 * the caller writes them. key: what they depend on besides the weights. */
sv_real *sv_weight_cache_numbers(const sv_args *a, bool backward, size_t count, uint64_t key, bool *ready);
/* Applies an op to the nin tensors (or nils) at stack indices base, base + 1, … and
 * pushes out. opt and list may be NULL where the op has no options. */
sv_tensor *sv_apply(lua_State *L, const sv_op *op, int nin, int base, const double *opt, const sv_list *list);
void sv_open_ops(lua_State *L, int core, const sv_op *rows);               /* rows end with a NULL name */
const char *sv_nearest(const char *word, const char *const *known, int n); /* closest spelling, or NULL */
extern const sv_op sv_ops_elementwise[], sv_ops_matmul[], sv_ops_conv[], sv_ops_norm[], sv_ops_reduce[], sv_ops_shape[],
    sv_ops_pool[], sv_ops_softmax[], sv_ops_loss[], sv_ops_dropout[], sv_ops_sort[], sv_ops_linalg[],
    sv_ops_linalg_factor[];
extern const sv_op sv_op_to_plain, sv_op_to_channels_last, sv_op_relabel; /* ops/shape.c */

void sv_open_linalg(lua_State *L, int core); /* ops/linalg.c: core.use_blas */

/* ---- core/tape.c ----------------------------------------------------------- */

typedef struct sv_tape {
    struct sv_tape *older;   /* the scope opened before this one */
    lua_State *thread;       /* the coroutine that opened it; NULL: collected while open */
    struct sv_tape **handle; /* where Lua's userdata points to it */
    bool recording;
    bool no_grad; /* a call of sv.no_grad: owns nothing */
    bool running; /* backward is on its way, or ended in an error */
    int count, room;
    struct sv_node **nodes;
    int storages, storage_room;
    sv_storage **storage; /* every storage it owns */
} sv_tape;
typedef struct sv_node {
    sv_args args;
    sv_storage *aux[SV_MAX_AUX];
    sv_storage *grad;               /* of out, while backward is on its way */
    int settings;                   /* as they were in forward */
    uint64_t wants[SV_MAX_IN / 64]; /* a bit an input: it needed a gradient in forward */
    bool passed;                    /* backward has been here */
    sv_tensor *in[];                /* args.in */
} sv_node;
/* Adds a node for a; its inputs lie at stack indices base …, out on top; all are anchored. */
void sv_record(lua_State *L, sv_context *c, const sv_args *a, int base, sv_storage *const aux[SV_MAX_AUX]);
void sv_reserve_owned(lua_State *L, sv_tape *t); /* room for one more, or raises */
void sv_own(sv_tape *t, sv_storage *s);          /* after sv_reserve_owned */
void sv_free_scopes(sv_context *c);              /* when the state closes */
void sv_open_tape(lua_State *L, int core);

/* ---- optim/ ------------------------------------------------------------------ */

void sv_open_optim(lua_State *L, int core); /* core.optim: adam, sgd, grad_norm, scale_grads */

/* ---- kernels/parallel.c ------------------------------------------------------ */

/* Runs body(arg, i, worker) for i in 0 … n-1, each i once, in any order, on the
 * pool; worker (0 …) names a thread, for sv_scratch. Work must not depend on
 * which thread does it, nor its cut on their number: results stay identical.
 * A call from inside a body runs in line. */
typedef void (*sv_body)(void *arg, long i, int worker);
void sv_parallel(long n, sv_body body, void *arg);
int sv_threads(void);
bool sv_set_threads(int n);    /* false: more than SV_MAX_THREADS */
void *sv_scratch(int worker);  /* SV_SCRATCH_BYTES, 64-byte aligned, of this worker alone */
bool sv_reserve_scratch(void); /* before sv_parallel with bodies that use it; false: no memory */
#define SV_MAX_THREADS 64
#define SV_SCRATCH_BYTES (4u << 20)
#define SV_SCRATCH_PRODUCTS (3u << 20) /* of which sv_products uses these */

/* ---- core/class.c ------------------------------------------------------------ */

/* Makes the metatable of a userdata: its methods (NULL: none), what ends it (__gc
 * and __close; NULL: nothing) and what prints it (NULL: Lua's way). */
void sv_new_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction end, lua_CFunction tostring);

/* ---- core/system.c ---------------------------------------------------------- */

void sv_open_system(lua_State *L, int core);
void sv_open_signals(lua_State *L, int core);

/* ---- core/process.c, shared.c: programs, forked workers, memory they share ----- */

void sv_open_process(lua_State *L, int core);
void sv_open_shared(lua_State *L, int core);

/* ---- core/rng.c ------------------------------------------------------------ */

/* Philox4x32-10 (Salmon et al., 2011): number i of stream s under a seed is a
 * pure function of (seed, s, i). */
typedef struct sv_rng {
    uint64_t seed;
    uint64_t stream; /* sample index, or a user's stream */
    uint64_t next;   /* numbers drawn so far */
    uint64_t born;   /* calls of rng:call before it was made */
} sv_rng;
#define SV_RNG "simvae.rng"
void sv_rng_block(uint64_t seed, uint64_t stream, uint64_t block, uint32_t words[4]);
uint32_t sv_rng_u32(uint64_t seed, uint64_t stream, uint64_t index);
double sv_rng_uniform(sv_rng *r); /* (0, 1), 53 bits */
double sv_rng_normal(sv_rng *r);
void sv_open_rng(lua_State *L, int core);

/* ---- core/rng_call.c: random numbers of one sample -------------------------- */

uint64_t sv_rng_born(void);
void sv_rng_check_stream(lua_State *L, const sv_rng *r); /* raises if the running call may not draw from it */
uint64_t sv_rng_sample_seed(const sv_rng *r);            /* of the samples drawn by it: another one for each stream */
int sv_rng_call(lua_State *L);
void sv_open_rng_call(lua_State *L, int core);

/* ---- sim/raster.c: exact area coverage ------------------------------------ */

/* Pictures are rows from the top; geometry is in pixels, origin at the lower
 * left corner, y up: pixel (row r, column c) covers x in [c, c+1] and
 * y in [height-1-r, height-r]. */

#define SV_RASTER_SIDE 128      /* pixels; larger pictures are drawn in tiles */
#define SV_RASTER_ONE (1 << 24) /* a pixel's full coverage */
#define SV_OUTLINE_EDGES 8192

typedef struct sv_raster {
    int width, height, stride;
    uint32_t cell[SV_RASTER_SIDE * (SV_RASTER_SIDE + 2)]; /* used as far as needed */
} sv_raster;

enum sv_fill_rule { SV_NON_ZERO, SV_EVEN_ODD };

typedef struct sv_edge {
    double x0, y0, x1, y1; /* x0 < x1 */
    double slope;
    int winding;      /* +1 if the contour runs from x0 to x1, else -1 */
    int role;         /* sweep: +1 lower side of what is filled, -1 upper side, 0 neither */
    double since;     /* sweep: the x from which it has that role */
    double now, next; /* sweep: its y at either end of the slab */
} sv_edge;

/* Closed contours as a bag of edges: 600 KB, so one at a time on the stack. */
typedef struct sv_outline {
    int count;
    bool full; /* an edge did not fit */
    sv_edge edge[SV_OUTLINE_EDGES];
} sv_outline;

void sv_raster_start(sv_raster *r, int width, int height); /* empty; sides 1 … SV_RASTER_SIDE */
void sv_raster_edge(sv_raster *r, double x0, double y0, double x1, double y1, int sign);
void sv_raster_strip(sv_raster *r, int column, double x0, double y0, double x1, double y1, int sign);
void sv_raster_contour(sv_raster *r, const double *xy, int n, int sign); /* n points, closed */
void sv_raster_coverage(const sv_raster *r, sv_real *out);               /* (height, width), 0 … 1 */
void sv_raster_ink(const sv_raster *r, sv_real *out);                    /* 1 - coverage: black on white */
/* Edges of closed contours, each from exactly where another one ends. */
void sv_outline_edge(sv_outline *o, double x0, double y0, double x1, double y1);
void sv_outline_contour(sv_outline *o, const double *xy, int n);
/* The exact area of any contours; (x, y): the lower left corner of r among them. */
void sv_raster_fill(sv_raster *r, sv_outline *o, enum sv_fill_rule rule, double x, double y);

/* ---- sim/box.c, polygon.c, curve.c, sprite.c: the simulators in C ---------- */

typedef struct sv_sim {
    const char *name;
    int nparams;
    int channels, height, width;
    void (*draw)(const double *z, sv_real *out); /* any z at all; writes all of (C, H, W) */
    const char *doc;
} sv_sim;

extern const sv_sim sv_sim_box, sv_sim_polygon, sv_sim_fourier, sv_sim_dsprites, sv_sim_rlc;

void sv_open_builtin(lua_State *L, int core); /* sim/builtin.c */
void sv_open_spice(lua_State *L, int core);   /* sim/spice.c: circuits, through ngspice */
int sv_enter_folder(lua_State *L);            /* sim/confine.c: limits of the process that runs ngspice */
int sv_confine(lua_State *L);

/* ---- sim/canvas.c: shapes on a picture of any size ------------------------- */

#define SV_CANVAS_CHANNELS 16

typedef struct sv_canvas {
    sv_real *pixels; /* (channels, height, width), drawn over: out*(1-a) + colour*a */
    int channels, height, width;
} sv_canvas;

typedef struct sv_pen {
    double colour[SV_CANVAS_CHANNELS]; /* one value a channel */
    double opacity;                    /* 0 … 1, times the coverage */
    double width;                      /* of a stroke, px; 0: fill the shape */
    bool round_caps;                   /* ends of open strokes: round, else butt */
    bool bevel_joins;                  /* corners of strokes: bevel, else round */
    enum sv_fill_rule rule;            /* of filled polygons */
} sv_pen;

/* False: the shape takes more than SV_OUTLINE_EDGES edges, and is not drawn (a
 * stroke takes about 4 a point). Numbers that are not finite draw nothing. */
bool sv_draw_rect(const sv_canvas *c, const sv_pen *pen, double x, double y, double w, double h);
bool sv_draw_polygon(const sv_canvas *c, const sv_pen *pen, const double *xy, int n);
bool sv_draw_line(const sv_canvas *c, const sv_pen *pen, double x0, double y0, double x1, double y1);
bool sv_draw_polyline(const sv_canvas *c, const sv_pen *pen, const double *xy, int n);
bool sv_draw_circle(const sv_canvas *c, const sv_pen *pen, double x, double y, double r);
/* Half-axes a and b, the first turned counter-clockwise by angle (radians). */
bool sv_draw_ellipse(const sv_canvas *c, const sv_pen *pen, double x, double y, double a, double b, double angle);
/* A smooth curve through all points, at most 1024. */
bool sv_draw_curve(const sv_canvas *c, const sv_pen *pen, const double *xy, int n);

void sv_open_canvas(lua_State *L, int core); /* sim/canvas_lua.c: core.canvas, for lua/simvae/draw.lua */

/* ---- kernels/gemm_portable.c: the innermost loop of every product, one per kind of CPU -- */

#define SV_MR 8      /* rows of C that a tile call computes */
#define SV_NR 32     /* columns of a panel of B; the last panel of a matrix may have 16 */
#define SV_DOT_MAX 4 /* this many columns or fewer: sv_kernel.dot */

/* C[8][cols] (+)= A[8][k] B[k][cols] (+ bias). A's rows are
 * `segs` runs of `run` numbers (the last one `last`), `step` apart in memory;
 * row r of run s starts at a[s * SV_MR + r]. */
typedef struct sv_tile {
    long rows, cols; /* rows and columns to store; a[] is always full */
    long segs, run, last, step;
    const sv_real *const *a;
    const sv_real *b;    /* tile: row k at b + k * ldb, readable up to 16 or 32 columns */
    long ldb;            /* dot: column j at b + j * ldb */
    sv_real *const *c;   /* SV_MR rows */
    long a_skip, c_skip; /* tile: added to each of a and of c, which products that lie alike then share */
    bool add;            /* to what C holds */
    const sv_real *bias; /* per column, or NULL */
} sv_tile;

typedef struct sv_kernel {
    const char *name;
    int vector;           /* bytes in a vector: 64, 32, 16 */
    bool (*usable)(void); /* on this CPU */
    void (*tile)(const sv_tile *t);
    void (*dot)(const sv_tile *t); /* step 1, at most SV_DOT_MAX columns */
    /* For r < n <= SV_MR and p < count: len (<= SV_NR) numbers from
     * from[r] + offset + p * len to to + r * ld + p * stride. */
    void (*gather)(long n, const sv_real *const *from, long offset, long len, long count, sv_real *to, long ld,
                   long stride);
    /* to[c * ld_to + r] = from[r * ld + c] */
    void (*turn)(long rows, long cols, const sv_real *from, long ld, sv_real *to, long ld_to);
} sv_kernel;

extern const sv_kernel sv_kernel_portable, sv_kernel_avx2, sv_kernel_avx512;
const sv_kernel *sv_kernel_now(void);
bool sv_kernel_choose(const char *name); /* false: no such kernel here; NULL: the best */

/* Tiles of pairs of bfloat16 (kernels/gemm_bf16.c). The k of a tile counts pairs,
 * which stand in place of its floats: one segment. */
typedef struct sv_pairs {
    bool (*usable)(void);
    void (*tile)(const sv_tile *t);
    /* (depth, width) floats to (ceil(depth / 2), width) pairs, where they lie; width 8, 16 or 32. */
    void (*rows)(long depth, long width, sv_real *x);
    /* The runs of SV_MR rows, as in sv_tile.a, to pairs: row r at to + r * ld. A number of
     * slack behind each row. */
    void (*runs)(long segs, long run, long last, const sv_real *const *at, sv_real *to, long ld);
} sv_pairs;

extern const sv_pairs sv_pairs_bf16;
const sv_pairs *sv_pairs_now(void); /* NULL: full precision */
bool sv_pairs_offered(void);        /* by this CPU, build and kernel */
bool sv_choose_pairs(bool on);      /* false: not offered */

/* ---- kernels/gemm.c: products of matrices given by where their rows lie ---------- */

/* A matrix whose every row is `segs` runs of `run` adjacent numbers (the last
 * run may be shorter: the product knows the length of a row). find() tells
 * where runs seg … seg+nseg-1 of rows row … row+n-1 (n <= SV_MR) start:
 * at[(s - seg) * SV_MR + r]. A run that lies nowhere as such, say because it
 * crosses the border of an image, is put together in spare, which has room for
 * all of them. NULL stands for a dense matrix, row r at base + r * ld. */
typedef struct sv_rows {
    long segs, run;
    void (*find)(const void *arg, long row, long n, long seg, long nseg, const sv_real **at, sv_real *spare);
    const void *arg;
    const sv_real *base;
    long ld;
} sv_rows;

/* C[m][n] (+)= op(A)[m][k] op(B)[k][n] (+ bias[n], then finish). */
typedef struct sv_product {
    long m, n, k;
    sv_rows a; /* m rows of k; flip_a: k rows of m */
    sv_rows b; /* k rows of n; flip_b: n rows of k */
    bool flip_a, flip_b;
    long b_from;           /* b's first row that takes part */
    const sv_real *panels; /* B packed beforehand (sv_panel_…); then b is not used */
    void (*place)(const void *arg, long row, long n, sv_real **at); /* where rows of C lie */
    const void *place_arg;                                          /* place NULL: row r at c + r * ldc */
    sv_real *c;
    long ldc;
    bool add;
    const sv_real *bias;
    /* What is done with a stretch of a row of C once it is computed, or NULL: n numbers from column col on. */
    void (*finish)(const void *arg, long row, long col, long n, sv_real *c);
    const void *finish_arg;
    bool half; /* factors in pairs of bfloat16: only where sv_pairs_now() */
} sv_product;

/* All of them in one parallel region; none may write what another touches. */
void sv_products(const sv_product *p, long count);

/* A packed B of k rows, n columns: panels of 32 columns (the last one of 16 if
 * that is enough), each k rows of that width, missing columns 0. With at most
 * SV_DOT_MAX columns and !flip_a: n columns of k numbers. */
size_t sv_panels_size(long k, long n);
void sv_pair_panels(sv_real *panels, long k, long n); /* what a half product takes as panels; n > SV_DOT_MAX */
static inline long sv_panel_width(long n, long panel) { return n - panel * SV_NR > SV_NR / 2 ? SV_NR : SV_NR / 2; }

/* Row-major dense product with leading dimensions; flip: the matrix is stored
 * transposed. The first leaves where C lies, and the rest, to be filled in. */
sv_product sv_dense_product(bool flip_a, bool flip_b, long m, long n, long k, const sv_real *a, long lda,
                            const sv_real *b, long ldb);
void sv_gemm(bool flip_a, bool flip_b, long m, long n, long k, const sv_real *a, long lda, const sv_real *b, long ldb,
             bool add, const sv_real *bias, sv_real *c, long ldc);
/* count products of dense matrices, stride_ numbers apart (0: the same one each time). */
void sv_gemm_batch(long count, bool flip_a, bool flip_b, long m, long n, long k, const sv_real *a, long stride_a,
                   const sv_real *b, long stride_b, bool add, sv_real *c, long stride_c);

/* ---- kernels/linear.c: linear layers whose weights fit into the cache --------- */

/* y (rows, out) = act(x (rows, in) w' + bias), w (out, in). slopes (rows, out): of the activation,
 * written by forward unless NULL, read by backward if there is one. */
typedef struct sv_linear {
    long rows, in, out;
    sv_activation act; /* or NULL */
    const double *opt; /* of act */
    sv_real *slopes;
} sv_linear;

bool sv_linear_small(const sv_linear *l); /* are these for it? */
void sv_linear_forward(const sv_linear *l, const sv_real *x, const sv_real *w, const sv_real *bias, sv_real *y);
size_t sv_linear_work(const sv_linear *l); /* numbers that backward's work must hold */
/* From the gradient of y; gx, gw, gb, bias may each be NULL. */
void sv_linear_backward(const sv_linear *l, const sv_real *g, const sv_real *x, const sv_real *w, sv_real *gx,
                        sv_real *gw, sv_real *gb, sv_real *work);

/* ---- kernels/epilogue.c: what follows a convolution in the same pass -------------- */

/* y = act(gain * v + bias) of what a convolution makes, v; act as in sv_norm. In place of a
 * pointer to one, NULL: y = v. */
typedef struct sv_after {
    const sv_real *bias, *gain; /* for each channel, or NULL: 0, 1 */
    sv_real slope;              /* 1: no activation; never negative */
} sv_after;

bool sv_after_plain(const sv_after *a);                                  /* nothing but a bias */
const sv_real *sv_after_bias(const sv_after *a);                         /* if that is all that follows; or NULL */
void sv_after_product(const sv_after *a, sv_product *p);                 /* makes it the end of a product */
void sv_after_rows(const sv_after *a, long rows, long cols, sv_real *y); /* applies it to rows of pixels */
/* g: the gradient of y becomes that of v. */
void sv_after_gradient(const sv_after *a, long rows, long cols, const sv_real *y, sv_real *g);

/* ---- kernels/conv_gemm.c: convolutions on channels-last images ------------------ */

/* y (n, oh, ow, cout) = conv(x (n, h, w, cin)), square kernel. weight is
 * (cout, cin, kernel, kernel). A transposed convolution is the same struct seen
 * from the other side: its input is y, its output x, its forward grad_x, its
 * weight PyTorch's (Cin, Cout, K, K) = (cout, cin, kernel, kernel). */
typedef struct sv_conv {
    long n, h, w, cin, oh, ow, cout, kernel, stride, pad;
    sv_real *kept; /* room for the weights as panels, or NULL: in work */
    bool ready;    /* they are there */
} sv_conv;

/* Numbers that the weights' panels take, of forward or back, where they are dear beside the
 * product itself and so worth keeping; else 0. key: what they depend on besides the weights. */
size_t sv_conv_kept(const sv_conv *c, bool back, uint64_t *key);

size_t sv_conv_work(const sv_conv *c); /* numbers that `work` must hold, for any of these */
void sv_conv_forward(const sv_conv *c, const sv_real *x, const sv_real *weight, const sv_after *after, sv_real *y,
                     sv_real *work);
void sv_conv_grad_x(const sv_conv *c, const sv_real *gy, const sv_real *weight, const sv_after *after, sv_real *gx,
                    sv_real *work);
void sv_conv_grad_w(const sv_conv *c, const sv_real *x, const sv_real *gy, sv_real *gw, sv_real *work);
/* grad_x towards few channels (kernels/conv_small_channels.c), where sv_conv_few says so. */
bool sv_conv_few(const sv_conv *c);
size_t sv_conv_few_work(const sv_conv *c);
void sv_conv_grad_x_few(const sv_conv *c, const sv_real *gy, const sv_real *weight, const sv_after *after, sv_real *gx,
                        sv_real *work);
/* From few channels, in full precision (the same file): forward with packed weights, more columns than SV_DOT_MAX,
 * where sv_conv_from_few says so; grad_w where it suits. */
bool sv_conv_from_few(const sv_conv *c);
void sv_conv_forward_few(const sv_conv *c, const sv_real *x, const sv_real *panels, const sv_after *after, sv_real *y);
bool sv_conv_few_weight_suits(const sv_conv *c);
size_t sv_conv_few_weight_work(const sv_conv *c); /* 0: never */
void sv_conv_few_weight(const sv_conv *c, const sv_real *x, const sv_real *gy, sv_real *gw, sv_real *work);
/* Forward, or back: grad_x, with fewer multiplications (kernels/conv_winograd.c), where sv_conv_fast
 * says so. zeros: as many as there are channels on either side. */
bool sv_conv_fast(const sv_conv *c);
size_t sv_conv_fast_work(const sv_conv *c);                           /* 0: never */
size_t sv_conv_fast_kept(const sv_conv *c, bool back, uint64_t *key); /* as sv_conv_kept */
void sv_conv_run_fast(const sv_conv *c, bool back, const sv_real *x, const sv_real *weight, const sv_after *after,
                      const sv_real *zeros, sv_real *y, sv_real *work);
size_t sv_conv_fast_weight_work(const sv_conv *c); /* grad_w, likewise (kernels/conv_winograd_weight.c) */
void sv_conv_fast_weight(const sv_conv *c, const sv_real *x, const sv_real *gy, const sv_real *zeros, sv_real *gw,
                         sv_real *work);
void sv_add_row(long n, const sv_real *x, sv_real *to); /* to += x */
/* Sums over rows of a (rows, cols) matrix: the gradient of a bias. */
size_t sv_column_sums_work(long rows, long cols);
void sv_column_sums(long rows, long cols, const sv_real *x, sv_real *sums, sv_real *work);
/* The same of scaled = x * factor, entry by entry; sums may be NULL. */
void sv_scaled_column_sums(long rows, long cols, const sv_real *x, const sv_real *factor, sv_real *scaled,
                           sv_real *sums, sv_real *work);

/* ---- kernels/batch_norm.c: batch normalisation, channels last -------------------- */

/* y = act(scale * (x - mean) / sqrt(var + eps) + shift) over the rows of a
 * (rows, cols) matrix, act(v) = max(v, 0) + slope * min(v, 0): slope 1 none,
 * 0 relu, else leaky relu. */
typedef struct sv_norm {
    long rows, cols;
    sv_real eps, momentum, slope;
} sv_norm;

size_t sv_norm_work(const sv_norm *b);
/* Batch statistics; mean and inverse (1 / sqrt(biased var + eps)) are kept for
 * the gradient; running_* (either NULL or both given) move by momentum towards
 * the batch mean and the unbiased variance. */
void sv_norm_train(const sv_norm *b, const sv_real *x, const sv_real *scale, const sv_real *shift,
                   sv_real *running_mean, sv_real *running_var, sv_real *mean, sv_real *inverse, sv_real *y,
                   sv_real *work);
void sv_norm_eval(const sv_norm *b, const sv_real *x, const sv_real *scale, const sv_real *shift,
                  const sv_real *running_mean, const sv_real *running_var, sv_real *y, sv_real *work);
/* gx, gscale, gshift may each be NULL. train: the statistics depend on x (mean
 * and inverse from sv_norm_train); else they are constants (mean and inverse
 * from sv_norm_inverse of the running ones). */
void sv_norm_backward(const sv_norm *b, bool train, const sv_real *x, const sv_real *gy, const sv_real *scale,
                      const sv_real *shift, const sv_real *mean, const sv_real *inverse, sv_real *gx, sv_real *gscale,
                      sv_real *gshift, sv_real *work);
void sv_norm_inverse(const sv_norm *b, const sv_real *var, sv_real *inverse);

/* ---- io/: files ------------------------------------------------------------ */

/* kind: f2 f4 f8 bf2 i1 i2 i4 i8 u1 u2 u4 u8 b1, the digit being its bytes; swapped: not in this machine's order. */
size_t sv_number_size(const char *kind); /* 0: unknown */
void sv_read_numbers(const char *kind, bool swapped, const unsigned char *from, size_t count, sv_real *to);
void sv_write_numbers(const sv_real *from, size_t count, unsigned char *to); /* little-endian, of the build's kind */
/* Row-major numbers of the tensor at index, whatever its layout, which stays; pushes what keeps them alive. */
const sv_real *sv_plain_data(lua_State *L, int index);
int sv_encode_png(lua_State *L);
void sv_open_png(lua_State *L, int io);
void sv_open_write(lua_State *L, int io);
/* Locks a whole file for this process; false: errno, and the process that holds it, where the system knows. */
bool sv_lock_file(int fd, long *holder);
void sv_open_lock(lua_State *L, int io);
void sv_open_number(lua_State *L, int core); /* io/number_text.c: core.number */
void sv_open_store(lua_State *L, int io);
void sv_open_io(lua_State *L, int core); /* core.io, for lua/simvae/io.lua */

/* ---- metrics/information.c ------------------------------------------------- */

void sv_open_metrics(lua_State *L, int core); /* mutual_information: see the file */
void sv_open_trees(lua_State *L, int core);   /* metrics/trees.c: boosted_trees */

#endif
