/* png_read.c: PNG to tensors, through libpng (ISO/IEC 15948; libpng-manual). Sample values are
 * not converted: colour spaces and gamma are ignored. */
#include "../simvae.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#define READER "simvae.png_reader"

/* State of one decoding; libpng's errors jump to stop, never through Lua. */
typedef struct {
    png_structp png;
    png_infop info;
    const unsigned char *from;
    size_t size, at;
    jmp_buf stop;
    char reason[SV_MESSAGE];
    png_uint_32 width, height;
    int channels, depth;
    size_t stride; /* bytes of a row */
} reader;

static void on_error(png_structp png, png_const_charp message) {
    reader *r = png_get_error_ptr(png);
    size_t n = strlen(message);
    if (n >= sizeof r->reason) n = sizeof r->reason - 1;
    memcpy(r->reason, message, n);
    r->reason[n] = '\0';
    longjmp(r->stop, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void take(png_structp png, png_bytep to, size_t n) {
    reader *r = png_get_io_ptr(png);
    if (n > r->size - r->at) png_error(png, "the file ends early");
    memcpy(to, r->from + r->at, n);
    r->at += n;
}

static int end_reader(lua_State *L) {
    reader *r = lua_touserdata(L, 1);
    if (r->png) png_destroy_read_struct(&r->png, &r->info, NULL);
    r->png = NULL;
    return 0;
}

/* Reads up to the image data: size, and grey, grey + alpha, RGB or RGBA of 8 or 16 bits. */
static bool read_header(reader *r) {
    if (setjmp(r->stop)) return false;
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
    if (r->png) r->info = png_create_info_struct(r->png);
    if (!r->info) {
        strcpy(r->reason, "not enough memory");
        return false;
    }
    png_set_read_fn(r->png, r, take);
    png_set_user_limits(r->png, 32768, 32768);
    png_set_chunk_malloc_max(r->png, 8 << 20);
    png_read_info(r->png, r->info);
    png_set_expand(r->png); /* palettes to RGB, 1, 2 and 4 bits to 8, tRNS to alpha */
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    r->width = png_get_image_width(r->png, r->info);
    r->height = png_get_image_height(r->png, r->info);
    r->channels = png_get_channels(r->png, r->info);
    r->depth = png_get_bit_depth(r->png, r->info);
    r->stride = png_get_rowbytes(r->png, r->info);
    return true;
}

static bool read_rows(reader *r, png_bytepp row) {
    if (setjmp(r->stop)) return false;
    png_read_image(r->png, row);
    png_read_end(r->png, NULL);
    return true;
}

static double sample(const reader *r, const unsigned char *row, size_t i) {
    if (r->depth == 16) return (row[2 * i] * 256 + row[2 * i + 1]) / 65535.0;
    return row[i] / 255.0;
}

/* Rows of interleaved samples to planes; alpha as a plane, or composited on white. */
static void to_planes(const reader *r, png_bytepp rows, bool alpha, sv_tensor *t) {
    size_t c = (size_t)r->channels, hw = (size_t)r->width * r->height;
    bool lay = (c == 2 || c == 4) && !alpha;
    for (size_t y = 0, p = 0; y < r->height; y++)
        for (size_t x = 0; x < r->width; x++, p++) {
            double a = lay ? sample(r, rows[y], x * c + c - 1) : 1;
            for (size_t k = 0; k < t->shape[0]; k++)
                t->data[k * hw + p] = (sv_real)(sample(r, rows[y], x * c + k) * a + (1 - a));
        }
}

/* decode_png(bytes, alpha, limit) -> tensor (C, H, W) in [0, 1] of at most limit bytes, or nil, reason. The
 * declared size is checked before memory is allocated. */
static int l_decode_png(lua_State *L) {
    size_t size;
    const char *bytes = sv_check_text(L, 1, &size);
    sv_enter(L);
    bool alpha = lua_toboolean(L, 2);
    double limit = sv_check_number(L, 3);
    reader *r = lua_newuserdatauv(L, sizeof *r, 0);
    memset(r, 0, sizeof *r);
    luaL_setmetatable(L, READER);
    r->from = (const unsigned char *)bytes;
    r->size = size;
    if (!read_header(r)) goto failed;
    /* deflate packs at most 1032 bytes into one (zlib technical details), and the
     * stored rows are at least an eighth as wide as a sample each */
    if ((double)r->height * ((double)r->width / 8 + 1) > 1032.0 * (double)size) {
        strcpy(r->reason, "the file is too short for the size it declares");
        goto failed;
    }
    double takes = (double)r->height * r->width * r->channels * (double)sizeof(sv_real);
    if (takes > limit) {
        snprintf(r->reason, sizeof r->reason,
                 "%lu x %lu pixels would take %.0f bytes in memory, over the limit of %.0f; max_bytes = n allows more",
                 (unsigned long)r->width, (unsigned long)r->height, takes, limit);
        goto failed;
    }
    {
        png_bytepp rows = lua_newuserdatauv(L, r->height * (sizeof *rows + r->stride), 0);
        png_bytep pixels = (png_bytep)(rows + r->height);
        for (size_t y = 0; y < r->height; y++) rows[y] = pixels + y * r->stride;
        if (!read_rows(r, rows)) goto failed;
        bool has_alpha = r->channels == 2 || r->channels == 4;
        size_t shape[3] = {(size_t)(has_alpha && !alpha ? r->channels - 1 : r->channels), r->height, r->width};
        to_planes(r, rows, alpha, sv_push_tensor(L, 3, shape, SV_SCOPED));
        png_destroy_read_struct(&r->png, &r->info, NULL);
        r->png = NULL;
        return 1;
    }
failed:
    lua_pushnil(L);
    lua_pushstring(L, r->reason);
    return 2;
}

void sv_open_png(lua_State *L, int io) {
    sv_new_class(L, READER, NULL, end_reader, NULL);
    lua_pushcfunction(L, l_decode_png);
    lua_setfield(L, io, "decode_png");
    lua_pushcfunction(L, sv_encode_png);
    lua_setfield(L, io, "encode_png");
}
