/* float_text.c: numbers as literals of C's type float, the shortest of 6 to 9 digits that read back as the same float.
 *
 *   core.number.float_literal(v) -> text: "0.1f", "1e+06f", "HUGE_VALF" and, of NaN, "(0.0f / 0.0f)"
 *   core.number.float_lines(list, width) -> text: the literals with commas between them, in lines of at most `width`
 *       columns that are indented by four */
#include "../simvae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST = 6, MOST = 9, EXACT = 22, ROOM = 40 };

/* Powers of ten that a double holds exactly. */
static const double powers[EXACT + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                         1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* x * 10^k, k from -EXACT to EXACT, rounded once. */
static double scaled(double x, int k) { return k < 0 ? x / powers[-k] : x * powers[k]; }

/* v > 0 as *m * 10^(e - n + 1), rounded to n digits; false: it is too near to the middle of two for certainty. */
static bool rounded(double v, int n, int e, double *m) {
    double x = scaled(v, n - 1 - e), rest = x - floor(x);
    *m = floor(x) + (rest > 0.5);
    return fabs(rest - 0.5) > 1e-6;
}

/* The digits of v > 0: *m without zeros at its end, *e the exponent of the first one, *n how many it was rounded to.
 * False: they have to be found by the C library. Scaling m back rounds once, exact numbers, so it gives what strtod
 * does (Clinger 1990, "How to read floating point numbers accurately"). */
static bool shortest(double v, long *m, int *e, int *n) {
    if (v < 1e-12 || v > 1e12) return false;
    *e = (int)floor(log10(v));
    double leading = scaled(v, -*e);
    if (leading < 1 + 1e-12 || leading > 10 - 1e-8) return false;
    for (*n = FEWEST; *n <= MOST; ++*n) {
        double whole;
        if (!rounded(v, *n, *e, &whole)) return false;
        if (*n < MOST && (float)scaled(whole, *e - *n + 1) != (float)v) continue;
        *m = (long)whole;
        if (whole >= powers[*n]) return false; /* 9.999… became 10 */
        while (*m % 10 == 0) *m /= 10;
        return true;
    }
    return false;
}

/* As printf's %g with a precision of n writes digits m, of which the first stands for 10^e. */
static int write_digits(char *to, long m, int e, int n) {
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%ld", m), at = 0;
    if (e < -4 || e >= n) {
        to[at++] = digits[0];
        if (count > 1) to[at++] = '.';
        memcpy(to + at, digits + 1, (size_t)count - 1);
        at += count - 1;
        return at + snprintf(to + at, ROOM - (size_t)at, "e%c%02d", e < 0 ? '-' : '+', abs(e));
    }
    if (e < 0) {
        memcpy(to, "0.0000", 6);
        at = 1 - e;
        memcpy(to + at, digits, (size_t)count);
        return at + count;
    }
    for (int i = 0; i <= e || i < count; i++) {
        if (i == e + 1) to[at++] = '.';
        to[at++] = i < count ? digits[i] : '0';
    }
    return at;
}

/* Writes a literal; returns its length. */
static int literal(char to[ROOM], double v) {
    if (isnan(v)) return snprintf(to, ROOM, "(0.0f / 0.0f)");
    if (isinf(v)) return snprintf(to, ROOM, v > 0 ? "HUGE_VALF" : "(-HUGE_VALF)");
    long m = 0;
    int e = 0, n = 0, length = 0;
    if (v < 0) to[length++] = '-';
    if (shortest(fabs(v), &m, &e, &n)) {
        length += write_digits(to + length, m, e, n);
    } else {
        for (n = FEWEST; n <= MOST; n++) {
            length = snprintf(to, ROOM, "%.*g", n, v);
            if ((float)strtod(to, NULL) == (float)v) break;
        }
    }
    if (!memchr(to, '.', (size_t)length) && !memchr(to, 'e', (size_t)length)) {
        memcpy(to + length, ".0", 2);
        length += 2;
    }
    to[length] = 'f';
    return length + 1;
}

static int l_float_literal(lua_State *L) {
    char text[ROOM];
    double v = sv_check_number(L, 1);
    lua_pushlstring(L, text, (size_t)literal(text, v));
    return 1;
}

static int l_float_lines(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    lua_Integer width = sv_check_integer(L, 2), column = 3;
    size_t n = lua_rawlen(L, 1);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, "   ", 3);
    for (size_t i = 1; i <= n; i++) {
        char text[ROOM + 2];
        int is_number;
        lua_rawgeti(L, 1, (lua_Integer)i);
        double v = lua_tonumberx(L, -1, &is_number);
        lua_pop(L, 1);
        sv_check_argument(L, is_number, 1, "takes a list of numbers");
        text[0] = ' ';
        int length = 1 + literal(text + 1, v);
        if (i < n) text[length++] = ',';
        if (column + length > width) {
            luaL_addlstring(&b, "\n   ", 4);
            column = 3;
        }
        luaL_addlstring(&b, text, (size_t)length);
        column += length;
    }
    luaL_pushresult(&b);
    return 1;
}

void sv_open_float_text(lua_State *L, int number) {
    static const luaL_Reg functions[] = {
        {"float_literal", l_float_literal}, {"float_lines", l_float_lines}, {NULL, NULL}};
    lua_pushvalue(L, number);
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
