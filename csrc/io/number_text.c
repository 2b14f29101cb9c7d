/* number_text.c: the parser of numbers in text.
 *
 *   core.number.read(text) -> number, or nil, reason
 *   core.number.read_all(text, tensor) -> true: all numbers of a text fill the tensor, or
 *       nil, "form", reason, what is wrong with which number | nil, "count", numbers read | nil, "nan"
 *   core.number.trim(text) -> text without the blanks at both ends
 *
 * Accepted are: decimal numbers (1.5, .5, 5., 1e-3), Fortran's (0.15D+01, 1.5Q3, and 1.5+300, whose letter is omitted
 * where the exponent has three digits), C's hexadecimal ones (0x1.8p+1), a sign (+, -, or U+2212), infinity (inf,
 * infinity, 1.#INF) and missing values (nan, nan(...), 1.#IND, null, none, NA), in any case. Other forms are
 * errors that name the form: a decimal comma, thousands separators, booleans, complex numbers, numbers beyond the range
 * of the type. Nothing here depends on the process's locale.
 *
 * Loading the core sets the C locale's decimal point for the calling thread (uselocale), whatever the process's locale
 * is then or later: Lua formats and reads numbers through the C library, in every file that the library writes. */
#define _GNU_SOURCE
#include "../simvae.h"

#include <ctype.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

enum { MAX_LENGTH = 1100 }; /* bytes of a number: the longest exact decimal of a double has 1077 */

static locale_t c_locale;

/* strtod of a copy that holds only ASCII digits, sign, point and exponent. */
static double convert(const char *text) { return c_locale ? strtod_l(text, NULL, c_locale) : strtod(text, NULL); }

static bool is_word(const char *s, size_t n, const char *word) {
    return n == strlen(word) && strncasecmp(s, word, n) == 0;
}

/* The value of a word such as inf or nan in *v; or false. */
static bool read_word(const char *s, size_t n, double *v) {
    static const char *const none[] = {"nan", "null", "none", "na", "1.#ind", "1.#qnan", "1.#snan"};
    static const char *const infinite[] = {"inf", "infinity", "1.#inf"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (is_word(s, n, none[i])) return *v = NAN, true;
    for (size_t i = 0; i < sizeof infinite / sizeof *infinite; i++)
        if (is_word(s, n, infinite[i])) return *v = HUGE_VAL, true;
    if (n > 4 && strncasecmp(s, "nan(", 4) == 0 && s[n - 1] == ')') return *v = NAN, true;
    return false;
}

static size_t digits(const char *s, size_t n, size_t at, bool hex) {
    while (at < n && (hex ? isxdigit((unsigned char)s[at]) != 0 : s[at] >= '0' && s[at] <= '9')) at++;
    return at;
}

/* Copies the exponent at an offset in C's form; 0 if there is none, else the offset of its end. */
static size_t exponent(const char *s, size_t n, size_t at, bool hex, bool point, char *to) {
    bool letter = at < n && (hex ? strchr("pP", s[at]) : strchr("eEdDqQ", s[at])) != NULL && s[at];
    size_t from = at + letter, sign = from < n && (s[from] == '+' || s[from] == '-');
    if (!letter && (hex || !point || !sign)) return 0;
    size_t end = digits(s, n, from + sign, false);
    if (end == from + sign || (!letter && end != from + 4)) return 0;
    *to++ = hex ? 'p' : 'e';
    memcpy(to, s + from, end - from);
    to[end - from] = '\0';
    return end;
}

/* The kind of a text that is not a number, for a message. */
static const char *form_of(const char *s, size_t n) {
    bool has_digit = false, all = true;
    for (size_t i = 0; i < n; i++) {
        has_digit = has_digit || isdigit((unsigned char)s[i]);
        all = all && strchr("0123456789.,'_+-", s[i]) && s[i];
    }
    if (n == 0) return "is empty";
    if (is_word(s, n, "true") || is_word(s, n, "false")) return "is a boolean: 1 and 0 are numbers";
    if (has_digit && all && memchr(s, ',', n))
        return "has a comma, of a decimal number or between thousands: the decimal sign is a point, and thousands are "
               "not separated (LC_ALL=C has a program write so)";
    if (has_digit && all && (memchr(s, '\'', n) || memchr(s, '_', n)))
        return "separates its thousands, which is not read";
    if (has_digit && (s[n - 1] == 'j' || s[n - 1] == 'i' || s[0] == '('))
        return "is a complex number: write two columns";
    if (strspn(s, "*") == n) return "is a field that Fortran found too narrow for its number";
    return "is not a number";
}

/* NULL, or the error in the text of a number. */
static const char *read_number(const char *text, size_t length, double *v) {
    const char *s = text;
    size_t n = length;
    bool negative = false;
    if (n > MAX_LENGTH) return "is too long for a number";
    if (n > 0 && (*s == '+' || *s == '-'))
        negative = *s == '-', s++, n--;
    else if (n > 2 && !memcmp(s, "\xe2\x88\x92", 3)) /* U+2212, the minus sign */
        negative = true, s += 3, n -= 3;
    if (!read_word(s, n, v)) {
        char copy[MAX_LENGTH + 8];
        bool hex = n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
        size_t from = hex ? 2 : 0, at = digits(s, n, from, hex);
        bool point = at < n && s[at] == '.';
        size_t end = point ? digits(s, n, at + 1, hex) : at;
        if (end - from - point == 0) return form_of(text, length);
        memcpy(copy, s, end);
        copy[end] = '\0';
        size_t after = end < n ? exponent(s, n, end, hex, point, copy + end) : end;
        if (after != n) return form_of(text, length);
        *v = convert(copy);
        if (isinf(*v)) return "is beyond the range of double precision";
    }
    if (negative) *v = -*v;
    return NULL;
}

/* ---- the numbers of a text --------------------------------------------------------- */

typedef struct {
    const char *at, *end;
    int depth;          /* of brackets */
    bool touching;      /* the line has a comma between two numbers, without a blank */
    bool blank_between; /* and two numbers with a blank or a semicolon between them, without a comma */
} scanner;

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_separator(char c) { return is_blank(c) || c == ',' || c == ';' || c == '[' || c == ']'; }

/* Skips to the next number, or the end; NULL, or the error in the separators. */
static const char *next_number(scanner *t, bool first) {
    int commas = 0, semicolons = 0, blanks = 0;
    bool fresh = first; /* first on its line or in its brackets */
    for (; t->at < t->end && is_separator(*t->at); t->at++) {
        char c = *t->at;
        bool opens = c == '[', closes = c == ']', ends = c == '\n';
        if ((c == ',' || c == ';') && (fresh || commas + semicolons > 0)) return "an empty cell";
        commas += c == ',';
        semicolons += c == ';';
        blanks += is_blank(c);
        t->depth += opens - closes;
        if (t->depth < 0) return "a ] without its [";
        if (ends) t->touching = t->blank_between = false;
        if (opens || ends) fresh = true;
        if (opens || closes || ends) commas = semicolons = blanks = 0;
        if (closes) fresh = false;
    }
    if (fresh || t->at == t->end) return NULL;
    if (commas && !blanks) t->touching = true;
    if (!commas && (blanks || semicolons)) t->blank_between = true;
    if (t->touching && t->blank_between)
        return "numbers separated by blanks or semicolons, and commas within them: is the decimal sign a comma? It has "
               "to be a point (LC_ALL=C has a program write so)";
    return NULL;
}

static int not_read(lua_State *L, const char *kind, const char *format, ...) {
    va_list list;
    va_start(list, format);
    lua_pushnil(L);
    lua_pushstring(L, kind);
    lua_pushvfstring(L, format, list);
    va_end(list);
    return 3;
}

/* A word of a text, shortened for a message. */
static const char *shown(const char *s, size_t n, char to[64]) {
    size_t i = 0;
    for (; i < n && i < 40; i++) to[i] = (unsigned char)s[i] < ' ' || s[i] == 127 ? '?' : s[i];
    strcpy(to + i, i < n ? "..." : "");
    return to;
}

static int l_read_all(lua_State *L) {
    size_t length, count = 0;
    const char *text = sv_check_text(L, 1, &length);
    sv_tensor *out = sv_check_object(L, 2, SV_TENSOR);
    sv_check_alive(L, out);
    sv_check_writable(L, out);
    sv_check_argument(L, out->layout == SV_PLAIN, 2, "must be in row-major order: clone it");
    scanner t = {.at = text, .end = text + length};
    char word[64];
    bool failed = false;
    if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) t.at += 3; /* UTF-8 byte-order mark */
    for (;; count++) {
        const char *why = next_number(&t, count == 0);
        if (why) return not_read(L, "form", "after number %d: %s", (int)count, why);
        if (t.at == t.end) break;
        const char *from = t.at;
        while (t.at < t.end && !is_separator(*t.at)) t.at++;
        size_t n = (size_t)(t.at - from);
        double v = 0;
        why = read_number(from, n, &v);
        if (!why && isfinite(v) && !isfinite((sv_real)v)) why = "is beyond the range of single precision (3.4e38)";
        if (why) return not_read(L, "form", "number %d, '%s', %s", (int)count + 1, shown(from, n, word), why);
        failed = failed || isnan(v);
        if (count < out->count) out->data[count] = (sv_real)v;
    }
    if (t.depth != 0) return not_read(L, "form", "a [ without its ]");
    if (failed) return not_read(L, "nan", "");
    if (count != out->count) {
        lua_pushnil(L);
        lua_pushliteral(L, "count");
        lua_pushinteger(L, (lua_Integer)count);
        return 3;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static void trim(const char **s, size_t *n) {
    while (*n > 0 && is_blank(**s)) ++*s, --*n;
    while (*n > 0 && is_blank((*s)[*n - 1])) --*n;
}

static int l_read(lua_State *L) {
    size_t n;
    const char *s = sv_check_text(L, 1, &n);
    double v = 0;
    trim(&s, &n);
    const char *why = read_number(s, n, &v);
    if (!why) {
        lua_pushnumber(L, v);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_trim(lua_State *L) {
    size_t n;
    const char *s = sv_check_text(L, 1, &n);
    trim(&s, &n);
    lua_pushlstring(L, s, n);
    return 1;
}

void sv_open_number(lua_State *L, int core) {
    static const luaL_Reg functions[] = {{"read", l_read}, {"read_all", l_read_all}, {"trim", l_trim}, {NULL, NULL}};
    core = lua_absindex(L, core);
    if (!c_locale) c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t numeric = duplocale(LC_GLOBAL_LOCALE);
    if (numeric) numeric = newlocale(LC_NUMERIC_MASK, "C", numeric);
    if (numeric) uselocale(numeric);
    luaL_newlib(L, functions);
    sv_open_float_text(L, lua_gettop(L));
    lua_setfield(L, core, "number");
}
