/* canvas_lua.c: Lua interface of canvas.c, for lua/simvae/simulator/draw.lua:
 *
 *   core.canvas(shape, out, numbers, colour, width, opacity, round_caps, bevel_joins, even_odd)
 *
 * shape: one of the names below; out: (C, H, W); numbers: a list in the order of the C
 * function's arguments, or of x, y, x, y, … for those that take points; colour: a
 * list of C numbers; width: of the stroke, 0 to fill. */
#include "../simvae.h"

#include <stdarg.h>
#include <string.h>

enum shape { RECT, POLYGON, LINE, POLYLINE, CIRCLE, ELLIPSE, CURVE };
static const char *const shapes[] = {"rect", "polygon", "line", "polyline", "circle", "ellipse", "curve", NULL};
static const int counts[] = {4, 0, 4, 0, 3, 5, 0}; /* 0: pairs */

static bool draw(enum shape shape, const sv_canvas *c, const sv_pen *p, const double *v, int n) {
    switch (shape) {
    case RECT:
        return sv_draw_rect(c, p, v[0], v[1], v[2], v[3]);
    case POLYGON:
        return sv_draw_polygon(c, p, v, n / 2);
    case LINE:
        return sv_draw_line(c, p, v[0], v[1], v[2], v[3]);
    case POLYLINE:
        return sv_draw_polyline(c, p, v, n / 2);
    case CIRCLE:
        return sv_draw_circle(c, p, v[0], v[1], v[2]);
    case ELLIPSE:
        return sv_draw_ellipse(c, p, v[0], v[1], v[2], v[3], v[4]);
    case CURVE:
        return sv_draw_curve(c, p, v, n / 2);
    }
    return true;
}

/* An error at the line of the user's script, which called the method that called draw.lua's paint by a tail call. */
static int raise(lua_State *L, const char *format, ...) {
    va_list list;
    luaL_where(L, 2);
    va_start(list, format);
    lua_pushvfstring(L, format, list);
    va_end(list);
    lua_concat(L, 2);
    return lua_error(L);
}

static double number_at(lua_State *L, int list, int i, const char *what, const char *of) {
    int ok;
    lua_rawgeti(L, list, i);
    double v = lua_tonumberx(L, -1, &ok);
    if (!ok) raise(L, "%s: %s takes numbers; entry %d is a %s", of, what, i, luaL_typename(L, -1));
    lua_pop(L, 1);
    return v;
}

static int l_canvas(lua_State *L) {
    enum shape shape = (enum shape)sv_check_option(L, 1, shapes);
    sv_tensor *out = sv_check_tensor(L, 2);
    sv_check_type(L, 3, LUA_TTABLE);
    sv_check_type(L, 4, LUA_TTABLE);
    if (out->ndim != 3 || out->shape[0] < 1 || out->shape[0] > SV_CANVAS_CHANNELS)
        return raise(L, "%s: draws on a tensor of (channels, height, width), 1 to %d channels", shapes[shape],
                     SV_CANVAS_CHANNELS);
    sv_check_writable(L, out);
    sv_canvas c = {out->data, (int)out->shape[0], (int)out->shape[1], (int)out->shape[2]};
    sv_pen pen;
    memset(&pen, 0, sizeof pen);
    for (int k = 0; k < c.channels; k++) pen.colour[k] = number_at(L, 4, k + 1, "a colour", shapes[shape]);
    pen.width = sv_check_number(L, 5);
    pen.opacity = sv_check_number(L, 6);
    pen.round_caps = lua_toboolean(L, 7);
    pen.bevel_joins = lua_toboolean(L, 8);
    pen.rule = lua_toboolean(L, 9) ? SV_EVEN_ODD : SV_NON_ZERO;

    int n = (int)luaL_len(L, 3);
    if (counts[shape] ? n != counts[shape] : n < 2 || n % 2)
        return raise(L, counts[shape] ? "%s: takes %d numbers; got %d" : "%s: takes points as x, y pairs",
                     shapes[shape], counts[shape], n);
    double few[64], *v = few;
    if (n > 64) v = lua_newuserdatauv(L, (size_t)n * sizeof *v, 0);
    for (int i = 0; i < n; i++) v[i] = number_at(L, 3, i + 1, "a shape", shapes[shape]);
    if (!draw(shape, &c, &pen, v, n))
        return raise(L, "%s: %d points are more than a shape can have", shapes[shape], n / 2);
    return 0;
}

void sv_open_canvas(lua_State *L, int core) {
    core = lua_absindex(L, core);
    lua_pushcfunction(L, l_canvas);
    lua_setfield(L, core, "canvas");
}
