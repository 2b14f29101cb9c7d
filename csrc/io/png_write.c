/* png_write.c: tensors to PNG, one image or an animation.
 *
 * The chunks are written here rather than by libpng, which does not support animations:
 * signature, IHDR, for an animation acTL and before each frame fcTL, the rows
 * (filtered, deflated) as IDAT, or fdAT from the second frame on, and IEND
 * (PNG Specification, 3rd edition, W3C 2025, sections 5, 9.2, 11 and 4.9). A
 * reader without support for animations shows the first frame. */
#include "../simvae.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAX_SIDE 32768

typedef struct {
    size_t channels, height, width, scale;
    size_t stride;       /* bytes of an enlarged row, without its filter byte */
    unsigned char *rows; /* filtered, each after its filter byte */
    unsigned char *line; /* the row above, this row, and one trial */
    unsigned char *packed;
    size_t room;
} picture;

static unsigned char to_byte(sv_real v) { return v > 0 ? v < 1 ? (unsigned char)(v * 255 + (sv_real)0.5) : 255 : 0; }

static int paeth(int a, int b, int c) {
    int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* Filter type 0 … 4 (section 9.2); the sum of absolute values estimates how well the row compresses. */
static size_t filter(int type, size_t n, size_t bpp, const unsigned char *up, const unsigned char *row,
                     unsigned char *to) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        int a = i >= bpp ? row[i - bpp] : 0, b = up[i], c = i >= bpp ? up[i - bpp] : 0;
        int guess = type == 0 ? 0 : type == 1 ? a : type == 2 ? b : type == 3 ? (a + b) / 2 : paeth(a, b, c);
        to[i] = (unsigned char)(row[i] - guess);
        sum += to[i] < 128 ? to[i] : 256u - to[i];
    }
    return sum;
}

/* One frame (channels, height, width) into p->packed: -> bytes, 0 if zlib fails. */
static size_t pack(picture *p, const sv_real *from) {
    unsigned char *up = p->line, *row = up + p->stride, *trial = row + p->stride;
    size_t hw = p->height * p->width;
    memset(up, 0, p->stride);
    for (size_t y = 0; y < p->height * p->scale; y++) {
        unsigned char *at = row;
        for (size_t x = 0; x < p->width; x++) {
            const sv_real *pixel = from + y / p->scale * p->width + x;
            for (size_t s = 0; s < p->scale; s++)
                for (size_t k = 0; k < p->channels; k++) *at++ = to_byte(pixel[k * hw]);
        }
        unsigned char *to = p->rows + y * (p->stride + 1);
        size_t minimum = SIZE_MAX;
        for (int type = 0; type < 5; type++) {
            size_t sum = filter(type, p->stride, p->channels, up, row, trial);
            if (sum >= minimum) continue;
            minimum = sum;
            to[0] = (unsigned char)type;
            memcpy(to + 1, trial, p->stride);
        }
        memcpy(up, row, p->stride);
    }
    uLongf n = (uLongf)p->room;
    if (compress2(p->packed, &n, p->rows, (uLong)(p->height * p->scale * (p->stride + 1)), 6) != Z_OK) return 0;
    return (size_t)n;
}

static void put32(unsigned char *to, size_t v) {
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* A chunk: length, type, data (head then body), CRC of type and data. */
static void chunk(luaL_Buffer *b, const char *type, const unsigned char *head, size_t nhead, const unsigned char *body,
                  size_t nbody) {
    unsigned char word[4];
    put32(word, nhead + nbody);
    luaL_addlstring(b, (const char *)word, 4);
    luaL_addlstring(b, type, 4);
    uLong crc = crc32(0, (const unsigned char *)type, 4);
    if (nhead) {
        luaL_addlstring(b, (const char *)head, nhead);
        crc = crc32(crc, head, (uInt)nhead);
    }
    if (nbody) {
        luaL_addlstring(b, (const char *)body, nbody);
        crc = crc32(crc, body, (uInt)nbody);
    }
    put32(word, crc);
    luaL_addlstring(b, (const char *)word, 4);
}

static void header(luaL_Buffer *b, const picture *p) {
    static const unsigned char colour[] = {0, 0, 4, 2, 6}; /* grey, grey + alpha, RGB, RGBA */
    unsigned char ihdr[13] = {0};
    luaL_addlstring(b, "\x89PNG\r\n\x1a\n", 8);
    put32(ihdr, p->width * p->scale);
    put32(ihdr + 4, p->height * p->scale);
    ihdr[8] = 8; /* bits a sample */
    ihdr[9] = colour[p->channels];
    chunk(b, "IHDR", ihdr, sizeof ihdr, NULL, 0);
}

/* fcTL: the frame covers everything, replaces the last one, and stays for delay milliseconds. */
static void frame_control(luaL_Buffer *b, const picture *p, size_t sequence, size_t delay) {
    unsigned char fctl[26] = {0};
    put32(fctl, sequence);
    put32(fctl + 4, p->width * p->scale);
    put32(fctl + 8, p->height * p->scale);
    fctl[20] = (unsigned char)(delay >> 8);
    fctl[21] = (unsigned char)delay;
    fctl[22] = 1000 >> 8;
    fctl[23] = 1000 & 255;
    chunk(b, "fcTL", fctl, sizeof fctl, NULL, 0);
}

static void read_shape(lua_State *L, const sv_tensor *t, bool frames, picture *p) {
    int n = frames ? 4 : 3;
    char shape[SV_MESSAGE];
    sv_format_shape(shape, sizeof shape, t->ndim, t->shape);
    if (t->ndim != n && t->ndim != n - 1)
        luaL_error(L, "an image is (H, W) or (C, H, W), an animation one axis more; got %s", shape);
    const size_t *last = t->shape + t->ndim;
    p->channels = t->ndim == n ? last[-3] : 1;
    p->height = last[-2];
    p->width = last[-1];
    if (p->channels < 1 || p->channels > 4)
        luaL_error(L, "an image has 1 channel (grey), 3 (RGB), 2 or 4 (with alpha); got %s", shape);
    if (p->height < 1 || p->width < 1 || t->count < 1) luaL_error(L, "an image needs pixels; got %s", shape);
    if (p->height > MAX_SIDE / p->scale || p->width > MAX_SIDE / p->scale)
        luaL_error(L, "an image has sides of at most %d pixels; got %s enlarged %d times", MAX_SIDE, shape,
                   (int)p->scale);
}

/* encode_png(t, scale) -> string; encode_png(t, scale, delay, plays) -> string: t has
 * frames along axis 1, shown for delay milliseconds each, plays times (0: forever). */
int sv_encode_png(lua_State *L) {
    picture p = {.scale = (size_t)sv_check_integer(L, 2)};
    bool frames = !lua_isnoneornil(L, 3);
    size_t delay = (size_t)sv_optional_integer(L, 3, 0), plays = (size_t)sv_optional_integer(L, 4, 0);
    const sv_tensor *t = sv_check_tensor(L, 1);
    sv_check_argument(L, p.scale >= 1 && p.scale <= MAX_SIDE, 2, "scale is a whole number from 1 on");
    read_shape(L, t, frames, &p);
    const sv_real *from = sv_plain_data(L, 1);
    p.stride = p.width * p.scale * p.channels;
    size_t all = p.height * p.scale * (p.stride + 1);
    p.room = compressBound((uLong)all);
    if (all > UINT32_MAX / 2) return luaL_error(L, "an image of %f bytes is too large for PNG", (double)all);
    p.rows = lua_newuserdatauv(L, all, 0);
    p.line = lua_newuserdatauv(L, 3 * p.stride, 0);
    p.packed = lua_newuserdatauv(L, p.room, 0);

    size_t n = frames ? t->shape[0] : 1, sequence = 0;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    header(&b, &p);
    if (frames) {
        unsigned char actl[8];
        put32(actl, n);
        put32(actl + 4, plays);
        chunk(&b, "acTL", actl, sizeof actl, NULL, 0);
    }
    for (size_t i = 0; i < n; i++) {
        size_t packed = pack(&p, from + i * p.channels * p.height * p.width);
        if (!packed) return luaL_error(L, "zlib: not enough memory");
        if (frames) frame_control(&b, &p, sequence++, delay);
        unsigned char number[4];
        put32(number, sequence);
        if (i == 0)
            chunk(&b, "IDAT", NULL, 0, p.packed, packed);
        else
            chunk(&b, "fdAT", number, 4, p.packed, packed), sequence++;
    }
    chunk(&b, "IEND", NULL, 0, NULL, 0);
    luaL_pushresult(&b);
    return 1;
}
