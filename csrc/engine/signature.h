/* signature.h: an op's signature, read from its row: "x, w, b?; stride:int=1, padding:int=0". */
#ifndef SV_SIGNATURE_H
#define SV_SIGNATURE_H

#include "engine.h"

enum { SV_NAME = 32, SV_MAX_ENUM = 16 };

enum sv_kind { NUM, INT, BOOL, AXIS, AXES, INTS, ENUM };

typedef struct {
    char name[SV_NAME];
    enum sv_kind kind;
    bool optional;
    double value; /* default */
    int choices;
    char choice[SV_MAX_ENUM][SV_NAME];
} sv_option;

typedef struct {
    int nin;
    struct {
        char name[SV_NAME];
        bool optional, list;
    } in[8];
    int nopt;
    sv_option opt[SV_MAX_OPT];
} sv_signature;

void sv_read_signature(lua_State *L, const char *p, sv_signature *s);

#endif
