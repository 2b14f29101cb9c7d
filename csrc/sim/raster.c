/* raster.c: exact area coverage of polygons.
 *
 * The value of a pixel is its covered area, so that an image is a continuous
 * function of the figure's parameters. The method is the accumulation buffer of
 * font rasterisers (R. Levien's LibArt and font-rs,
 * 2016; D. Turner's "smooth" rasteriser of FreeType): the signed area under
 * each edge is added to the few cells that the edge crosses, and one running
 * sum over the buffer gives the coverage of every pixel. Two points differ.
 *
 *  - Areas accumulate down the columns, not along the rows. The running sum then
 *    adds whole rows, which a compiler vectorises, and vertical sides of a figure
 *    cost nothing.
 *  - Areas are integers, 2^24 per pixel. The edges of a closed contour intersect
 *    each column at the same rounded positions, so their sum beyond the contour is
 *    exactly zero: white is 1 and black is 0, without rounding errors.
 *
 * The sum is of signed areas, clamped to 0 … 1: contours that overlap in
 * opposite directions cancel. sv_raster_contour is for simple contours that do
 * not overlap, each added counter-clockwise (sign -1 for clockwise ones);
 * sv_raster_fill accepts any contours, by a sweep that divides the figure into
 * disjoint pieces.
 */
#include "../simvae.h"

#include <math.h>
#include <string.h>

/* Beyond any image, and small enough to represent heights to 1e-9 px. */
#define FAR 1e6

static double near_enough(double v) { return v < -FAR ? -FAR : v > FAR ? FAR : v; }

void sv_raster_start(sv_raster *r, int width, int height) {
    r->width = width;
    r->height = height;
    r->stride = (width + 15) & ~15;
    memset(r->cell, 0, sizeof r->cell[0] * (size_t)r->stride * (size_t)(height + 2));
}

/* Adds to one cell, and to the one below it, a piece of edge that is run wide
 * (24-bit fixed point, signed) and lies on average at `down` (0 … 1) of the
 * cell's height from its top: the part below the edge, then all of the rest. */
static inline void add_piece(uint32_t *cell, int stride, int run, double down, uint32_t sign) {
    uint32_t below = (uint32_t)(int)(run * down + 0.5);
    cell[0] += sign * ((uint32_t)run - below);
    cell[stride] += sign * below;
}

/* An edge within one column, from (a, ya) to (b, yb), a <= b in fixed point
 * from the column's left side, y downward from the top of the image. Parts
 * above the image count in full, parts below it not at all. */
static inline void add_in_column(uint32_t *cell, int stride, int height, int a, double ya, int b, double yb,
                                 uint32_t sign) {
    if (a == b) return;
    double bottom = height;
    if ((ya <= 0 && yb <= 0) || (ya >= bottom && yb >= bottom)) {
        if (ya <= 0) cell[0] += sign * (uint32_t)(b - a);
        return;
    }
    double steep = (b - a) / (yb - ya); /* infinite for horizontal edges, which do not use it */
    if (ya < 0) {
        int m = a + (int)(-ya * steep);
        cell[0] += sign * (uint32_t)(m - a);
        a = m;
        ya = 0;
    } else if (ya > bottom) {
        a += (int)((bottom - ya) * steep);
        ya = bottom;
    }
    if (yb < 0) {
        int m = b + (int)(-yb * steep);
        cell[0] += sign * (uint32_t)(b - m);
        b = m;
        yb = 0;
    } else if (yb > bottom) {
        b += (int)((bottom - yb) * steep);
        yb = bottom;
    }

    int i = (int)ya, last = (int)yb;
    if (i == last) {
        add_piece(cell + i * stride, stride, b - a, (ya + yb) / 2 - i, sign);
    } else if (i < last) {
        double x = a + (i + 1 - ya) * steep;
        double down = (ya - i + 1) / 2;
        for (; i < last; i++, x += steep, down = 0.5) {
            int m = (int)x < b ? (int)x : b;
            add_piece(cell + i * stride, stride, m - a, down, sign);
            a = m;
        }
        add_piece(cell + i * stride, stride, b - a, (yb - i) / 2, sign);
    } else {
        double x = a + (i - ya) * steep;
        double down = (ya - i) / 2;
        for (; i > last; i--, x -= steep, down = 0.5) {
            int m = (int)x < b ? (int)x : b;
            add_piece(cell + i * stride, stride, m - a, down, sign);
            a = m;
        }
        add_piece(cell + i * stride, stride, b - a, (yb - i + 1) / 2, sign);
    }
}

/* An edge known to lie in one column of the image, x0 <= x1; sign as below. */
void sv_raster_strip(sv_raster *r, int column, double x0, double y0, double x1, double y1, int sign) {
    int a = (int)((x0 - column) * SV_RASTER_ONE), b = (int)((x1 - column) * SV_RASTER_ONE);
    add_in_column(r->cell + column, r->stride, r->height, a, r->height - y0, b, r->height - y1, (uint32_t)-sign);
}

/* Any edge, clipped to the image. With sign 1 the figure lies to the left of
 * it, so that a contour that runs counter-clockwise adds the area inside it. */
void sv_raster_edge(sv_raster *r, double x0, double y0, double x1, double y1, int sign) {
    if (x0 > x1) {
        double t = x0;
        x0 = x1, x1 = t;
        t = y0;
        y0 = y1, y1 = t;
        sign = -sign;
    }
    if (!(x0 < x1) || x1 <= 0 || x0 >= r->width) return;
    /* y is downward from here on; edges narrower than the rounding of x have no slope */
    double slope = x1 - x0 > 1e-12 ? (y0 - y1) / (x1 - x0) : 0;
    double top = r->height - y0;
    double left = x0 > 0 ? x0 : 0;
    double right = x1 < r->width ? x1 : r->width;
    double y = x0 > 0 ? top : top - x0 * slope;
    double end = x1 < r->width ? r->height - y1 : top + (right - x0) * slope;
    int column = (int)left, last = (int)right;
    int a = (int)((left - column) * SV_RASTER_ONE);
    for (; column < last; column++) {
        double next = top + (column + 1 - x0) * slope;
        add_in_column(r->cell + column, r->stride, r->height, a, y, SV_RASTER_ONE, next, (uint32_t)-sign);
        a = 0;
        y = next;
    }
    if (column < r->width) {
        int b = (int)((right - column) * SV_RASTER_ONE);
        add_in_column(r->cell + column, r->stride, r->height, a, y, b, end, (uint32_t)-sign);
    }
}

void sv_raster_contour(sv_raster *r, const double *xy, int n, int sign) {
    for (int i = 0; i < 2 * n; i++)
        if (isnan(xy[i])) return;
    double x = near_enough(xy[2 * n - 2]), y = near_enough(xy[2 * n - 1]);
    for (int i = 0; i < n; i++) {
        double nx = near_enough(xy[2 * i]), ny = near_enough(xy[2 * i + 1]);
        sv_raster_edge(r, x, y, nx, ny, sign);
        x = nx;
        y = ny;
    }
}

/* The running sum, 16 columns at a time: out = offset + gain * area. The clamp is for
 * the last bit of rounded areas, and in whole numbers because compilers only
 * vectorise that without -ffast-math. */
static inline void resolve(const sv_raster *r, sv_real *out, sv_real offset, sv_real gain) {
    uint32_t sum[SV_RASTER_SIDE] = {0};
    for (int row = 0; row < r->height; row++) {
        const uint32_t *cell = r->cell + row * r->stride;
        for (int c = 0; c < r->stride; c += 16) {
            sv_real value[16];
            for (int i = 0; i < 16; i++) {
                int32_t area = (int32_t)(sum[c + i] += cell[c + i]);
                area = area > 0 ? area : 0;
                area = area < SV_RASTER_ONE ? area : SV_RASTER_ONE;
                value[i] = offset + gain * (sv_real)area;
            }
            int rest = r->width - c;
            if (rest >= 16)
                memcpy(out + c, value, sizeof value);
            else
                memcpy(out + c, value, sizeof value[0] * (size_t)rest);
        }
        out += r->width;
    }
}

void sv_raster_coverage(const sv_raster *r, sv_real *out) { resolve(r, out, 0, (sv_real)1 / SV_RASTER_ONE); }

void sv_raster_ink(const sv_raster *r, sv_real *out) { resolve(r, out, 1, (sv_real)-1 / SV_RASTER_ONE); }

/* ---- the sweep: contours that cross themselves or each other ---------------
 *
 * Plane sweep from left to right (Bentley and Ottmann, 1979), in slabs between
 * ends and crossings of edges. Within a slab edges do not cross, so that their
 * order from bottom to top and the winding number determine which of them bound the
 * figure; only those are added to the raster, each once for the range of x over which
 * it does. The pieces are disjoint, and their sum is the exact area.
 */

/* Slabs and edges narrower than SLIVER (px) are skipped, and crossings closer than
 * that to the slab's start are moved to it: the error of the area is below 1e-7 per
 * row, and the sweep always advances. */
#define SLIVER 1e-9
#define STEP 1e-7

/* Edges may be in any order, as long as the contours are closed. */
void sv_outline_edge(sv_outline *o, double x0, double y0, double x1, double y1) {
    if (o->count == SV_OUTLINE_EDGES) {
        o->full = true;
        return;
    }
    bool onward = x0 < x1;
    sv_edge *e = &o->edge[o->count];
    e->winding = onward ? 1 : -1;
    e->x0 = near_enough(onward ? x0 : x1);
    e->y0 = near_enough(onward ? y0 : y1);
    e->x1 = near_enough(onward ? x1 : x0);
    e->y1 = near_enough(onward ? y1 : y0);
    if (!(e->x1 - e->x0 >= SLIVER)) return;
    e->slope = (e->y1 - e->y0) / (e->x1 - e->x0);
    o->count++;
}

void sv_outline_contour(sv_outline *o, const double *xy, int n) {
    for (int i = 0; i < 2 * n; i++)
        if (isnan(xy[i])) return;
    for (int i = 0, j = n - 1; i < n; j = i++) sv_outline_edge(o, xy[2 * j], xy[2 * j + 1], xy[2 * i], xy[2 * i + 1]);
}

static double height_at(const sv_edge *e, double x) {
    return x <= e->x0 ? e->y0 : x >= e->x1 ? e->y1 : e->y0 + (x - e->x0) * e->slope;
}

/* Sets an edge's role from x on, and adds the part that it bounded before. */
static void change_role(sv_raster *r, sv_edge *e, int role, double x, double ox, double oy) {
    if (role == e->role) return;
    if (e->role != 0)
        sv_raster_edge(r, e->since - ox, height_at(e, e->since) - oy, x - ox, height_at(e, x) - oy, e->role);
    e->role = role;
    e->since = x;
}

/* Shell sort by the left end: no memory, no recursion. */
static void sort_by_start(sv_edge *edge, int n) {
    int gap = 1;
    while (gap < n / 3) gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (int i = gap; i < n; i++) {
            sv_edge e = edge[i];
            int j = i;
            for (; j >= gap && edge[j - gap].x0 > e.x0; j -= gap) edge[j] = edge[j - gap];
            edge[j] = e;
        }
}

static bool lies_above(const sv_edge *p, const sv_edge *q) {
    double d = p->now - q->now;
    return d > SLIVER || (d > -SLIVER && p->next > q->next);
}

/* Orders the active edges at x from bottom to top, and returns the end of the
 * slab: `end`, or the first crossing before it. */
static double order_slab(sv_outline *o, int *active, int n, double x, double end) {
    for (int i = 0; i < n; i++) {
        sv_edge *e = &o->edge[active[i]];
        e->now = height_at(e, x);
        e->next = height_at(e, end);
        int k = active[i], j = i;
        for (; j > 0 && lies_above(&o->edge[active[j - 1]], e); j--) active[j] = active[j - 1];
        active[j] = k;
    }
    double width = end - x, first = end;
    for (int i = 0; i + 1 < n; i++) {
        const sv_edge *p = &o->edge[active[i]], *q = &o->edge[active[i + 1]];
        double before = q->now - p->now, after = p->next - q->next;
        if (before <= SLIVER || after <= STEP) continue;
        double cross = x + width * (before / (before + after));
        first = cross < first ? cross : first;
    }
    return first < end && first < x + STEP ? x + STEP : first;
}

void sv_raster_fill(sv_raster *r, sv_outline *o, enum sv_fill_rule rule, double ox, double oy) {
    int active[SV_OUTLINE_EDGES];
    int n = 0, next = 0;
    double x = ox, stop = ox + r->width;
    sort_by_start(o->edge, o->count);
    while (x < stop) {
        int kept = 0;
        for (int i = 0; i < n; i++) {
            sv_edge *e = &o->edge[active[i]];
            if (e->x1 <= x)
                change_role(r, e, 0, e->x1, ox, oy);
            else
                active[kept++] = active[i];
        }
        n = kept;
        for (; next < o->count && o->edge[next].x0 <= x; next++) {
            o->edge[next].role = 0;
            if (o->edge[next].x1 > x) active[n++] = next;
        }
        double end = stop;
        if (next < o->count && o->edge[next].x0 < end) end = o->edge[next].x0;
        for (int i = 0; i < n; i++)
            if (o->edge[active[i]].x1 < end) end = o->edge[active[i]].x1;
        end = order_slab(o, active, n, x, end);
        int winding = 0;
        for (int i = 0; i < n; i++) {
            sv_edge *e = &o->edge[active[i]];
            int after = winding + e->winding;
            bool was = rule == SV_EVEN_ODD ? winding & 1 : winding != 0;
            bool is = rule == SV_EVEN_ODD ? after & 1 : after != 0;
            change_role(r, e, (int)is - (int)was, x, ox, oy);
            winding = after;
        }
        x = end;
    }
    for (int i = 0; i < n; i++) {
        sv_edge *e = &o->edge[active[i]];
        change_role(r, e, 0, e->x1 < stop ? e->x1 : stop, ox, oy);
    }
}
