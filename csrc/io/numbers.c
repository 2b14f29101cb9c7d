/* numbers.c: binary number types of files, to and from sv_real. */
#include "../simvae.h"

#include <string.h>

enum { F2, F4, F8, BF2, I1, I2, I4, I8, U1, U2, U4, U8, B1, KINDS };

static const struct {
    const char *name;
    size_t size;
} kinds[KINDS] = {{"f2", 2}, {"f4", 4}, {"f8", 8}, {"bf2", 2}, {"i1", 1}, {"i2", 2}, {"i4", 4},
                  {"i8", 8}, {"u1", 1}, {"u2", 2}, {"u4", 4},  {"u8", 8}, {"b1", 1}};

static int kind_of(const char *name) {
    for (int k = 0; k < KINDS; k++)
        if (!strcmp(kinds[k].name, name)) return k;
    return KINDS;
}

size_t sv_number_size(const char *kind) {
    int k = kind_of(kind);
    return k < KINDS ? kinds[k].size : 0;
}

/* core.io.number_sizes: bytes of a number by its kind */
void sv_open_numbers(lua_State *L, int io) {
    lua_createtable(L, 0, KINDS);
    for (int k = 0; k < KINDS; k++) {
        lua_pushinteger(L, (lua_Integer)kinds[k].size);
        lua_setfield(L, -2, kinds[k].name);
    }
    lua_setfield(L, io, "number_sizes");
}

/* IEEE 754 binary32 with these bits. */
static double from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static double from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31) return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent > 0) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    double tiny = fraction / 16777216.0; /* fraction * 2^-24 */
    return sign ? -tiny : tiny;
}

#define EACH(type, expression)                                                                \
    for (size_t i = 0; i < count; i++, from += size) {                                        \
        type v;                                                                               \
        unsigned char byte[sizeof v];                                                         \
        for (size_t b = 0; b < sizeof v; b++) byte[b] = from[swapped ? sizeof v - 1 - b : b]; \
        memcpy(&v, byte, sizeof v);                                                           \
        to[i] = (sv_real)(expression);                                                        \
    }                                                                                         \
    break

void sv_read_numbers(const char *kind, bool swapped, const unsigned char *from, size_t count, sv_real *to) {
    int k = kind_of(kind);
    if (k == KINDS) return;
    size_t size = kinds[k].size;
    if (k == (sizeof(sv_real) == 4 ? F4 : F8) && !swapped) {
        memcpy(to, from, count * size);
        return;
    }
    switch (k) {
    case F2:
        EACH(uint16_t, from_half(v));
    case F4:
        EACH(float, v);
    case F8:
        EACH(double, v);
    case BF2:
        EACH(uint16_t, from_bits((uint32_t)v << 16)); /* bfloat16: the upper half of a binary32 */
    case I1:
        EACH(int8_t, v);
    case I2:
        EACH(int16_t, v);
    case I4:
        EACH(int32_t, v);
    case I8:
        EACH(int64_t, v);
    case U1:
        EACH(uint8_t, v);
    case U2:
        EACH(uint16_t, v);
    case U4:
        EACH(uint32_t, v);
    case U8:
        EACH(uint64_t, v);
    case B1:
        EACH(uint8_t, v != 0);
    }
}

/* core.io.fill(tensor, at, kind, text): the numbers of a text, in this machine's byte order, become elements at + 1 and
 * following of a row-major tensor. */
static int l_fill(lua_State *L) {
    sv_tensor *to = sv_check_object(L, 1, SV_TENSOR);
    lua_Integer at = sv_check_integer(L, 2);
    const char *kind = sv_check_text(L, 3, NULL);
    size_t length;
    const char *text = sv_check_text(L, 4, &length);
    size_t each = sv_number_size(kind), count = each ? length / each : 0;
    sv_check_alive(L, to);
    sv_check_writable(L, to);
    sv_check_argument(L, to->layout == SV_PLAIN, 1, "must be in row-major order: clone it");
    sv_check_argument(L, each != 0, 3, "an unknown kind of numbers");
    sv_check_argument(L, at >= 0 && (size_t)at <= to->count && count <= to->count - (size_t)at, 2,
                      "the numbers do not fit the tensor");
    sv_read_numbers(kind, false, (const unsigned char *)text, count, to->data + at);
    return 0;
}

void sv_open_fill(lua_State *L, int io) {
    io = lua_absindex(L, io);
    lua_pushcfunction(L, l_fill);
    lua_setfield(L, io, "fill");
}

void sv_write_numbers(const sv_real *from, size_t count, unsigned char *to) {
    memcpy(to, from, count * sizeof *from);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (size_t i = 0; i < count; i++, to += sizeof *from)
        for (size_t a = 0, b = sizeof *from - 1; a < b; a++, b--) {
            unsigned char swap = to[a];
            to[a] = to[b];
            to[b] = swap;
        }
#endif
}
