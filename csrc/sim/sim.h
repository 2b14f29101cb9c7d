/* sim.h: simulators in C, and exact rendering of shapes. */
#ifndef SV_SIM_H
#define SV_SIM_H

#include "../engine/engine.h"

/* ---- sim/raster.c: exact area coverage ------------------------------------ */

/* Images are stored by rows, the top row first; geometry is in pixels, origin at the
 * lower left corner, y up: pixel (row r, column c) covers x in [c, c+1] and
 * y in [height-1-r, height-r]. */

#define SV_RASTER_SIDE 128      /* pixels; larger images are drawn in tiles */
#define SV_RASTER_ONE (1 << 24) /* a pixel's full coverage */
#define SV_OUTLINE_EDGES 8192

typedef struct sv_raster {
    int width, height, stride;
    uint32_t cell[SV_RASTER_SIDE * (SV_RASTER_SIDE + 2)]; /* height * stride of them are in use */
} sv_raster;

enum sv_fill_rule { SV_NON_ZERO, SV_EVEN_ODD };

typedef struct sv_edge {
    double x0, y0, x1, y1; /* x0 < x1 */
    double slope;
    int winding;      /* +1 if the contour runs from x0 to x1, else -1 */
    int role;         /* sweep: +1 lower boundary of the filled region, -1 upper boundary, 0 neither */
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

/* ---- csrc/simulators/NAME.c: the simulators in C ----------------------------- */

/* A simulator in C is csrc/simulators/NAME.c, which defines `const sv_sim sv_sim_NAME`, and simulators/NAME.lua; the
 * Makefile lists the folder for builtin.c. */
typedef struct sv_sim {
    const char *name;
    int nparams;
    int channels, height, width;
    void (*draw)(const double *z, sv_real *out); /* accepts any z; writes all of (C, H, W) */
    void (*prior)(sv_rng *r, double *z);         /* draws parameters that depend on each other; NULL: they do not */
    const char *doc;
} sv_sim;

void sv_open_builtin(lua_State *L, int core);    /* sim/builtin.c */
void sv_open_parameters(lua_State *L, int core); /* sim/parameters.c */
void sv_open_spice(lua_State *L, int core);      /* sim/spice.c: circuits, through ngspice */
int sv_enter_folder(lua_State *L);               /* sim/confine.c: limits of the process that runs ngspice */
int sv_confine(lua_State *L);

/* ---- sim/canvas.c: shapes on an image of any size --------------------------- */

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
/* Half-axes a and b, the first rotated counter-clockwise by angle (radians). */
bool sv_draw_ellipse(const sv_canvas *c, const sv_pen *pen, double x, double y, double a, double b, double angle);
/* A smooth curve through all points, at most 1024. */
bool sv_draw_curve(const sv_canvas *c, const sv_pen *pen, const double *xy, int n);

void sv_open_canvas(lua_State *L, int core); /* sim/canvas_lua.c: core.canvas, for lua/simvae/simulator/draw.lua */

#endif
