/* signature.c: reads the signature of an op's row, once, when the module is opened. */
#include "signature.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *word(const char *p, char *to) {
    int n = 0;
    while (*p == ' ' || *p == ',') p++;
    while (isalnum((unsigned char)*p) || *p == '_') {
        if (n < SV_NAME - 1) to[n++] = *p;
        p++;
    }
    to[n] = '\0';
    return p;
}

static const char *read_kind(lua_State *L, const char *p, sv_option *o) {
    static const char *const names[] = {"num", "int", "bool", "axis", "axes", "ints", "enum"};
    char kind[SV_NAME];
    p = word(p + 1, kind);
    int k = 0;
    if (!strcmp(kind, "fused")) { /* an enum of the activations that layers fuse */
        k = ENUM;
        strcpy(kind, "enum");
        for (const sv_fused_activation *f = sv_fused_activations; f->name; f++) {
            if (o->choices == SV_MAX_ENUM) luaL_error(L, "signature: more than %d activations", SV_MAX_ENUM);
            snprintf(o->choice[o->choices++], SV_NAME, "%s", f->name);
        }
    }
    while (k <= ENUM && strcmp(kind, names[k]) != 0) k++;
    if (k > ENUM) luaL_error(L, "signature: unknown kind '%s'", kind);
    o->kind = (enum sv_kind)k;
    if (o->kind == ENUM)
        while (*p == '(' || *p == '|') {
            p = word(p + 1, o->choice[o->choices++]);
            if (*p == ')') p++;
        }
    if (*p == '?') {
        o->optional = true;
        p++;
    }
    if (*p == '=') {
        char value[SV_NAME];
        o->optional = true;
        if (o->kind == ENUM || o->kind == BOOL) {
            p = word(p + 1, value);
            if (o->kind == BOOL) o->value = !strcmp(value, "true");
            for (int i = 0; i < o->choices; i++)
                if (!strcmp(o->choice[i], value)) o->value = i;
        } else {
            char *end;
            o->value = strtod(p + 1, &end);
            if (o->kind == AXIS && o->value > 0) o->value -= 1;
            p = end;
        }
    }
    return p;
}

void sv_read_signature(lua_State *L, const char *p, sv_signature *s) {
    memset(s, 0, sizeof *s);
    while (*p && *p != ';') {
        p = word(p, s->in[s->nin].name);
        if (*p == '?') s->in[s->nin].optional = true, p++;
        if (*p == '*') s->in[s->nin].list = true, p++;
        s->nin++;
        while (*p == ' ') p++;
    }
    if (*p == ';') p++;
    while (*p) {
        sv_option *o = &s->opt[s->nopt++];
        p = word(p, o->name);
        p = read_kind(L, p, o);
        while (*p == ' ' || *p == ',') p++;
    }
}
