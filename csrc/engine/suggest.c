/* suggest.c: the closest spelling of a misspelt word. */
#include "engine.h"

#include <string.h>

enum { WORD = 32 }; /* maximum letters of a compared word */

/* Optimal string alignment distance of two short words: insertions, deletions, substitutions and transpositions of
 * neighbours. */
static int distance(const char *a, const char *b) {
    int rows[3][WORD + 1], n = (int)strlen(b);
    if (n > WORD || strlen(a) > WORD) return WORD;
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (int j = 0; j <= n; j++) last[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int minimum = last[j] < row[j - 1] ? last[j] + 1 : row[j - 1] + 1;
            int replaced = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (replaced < minimum) minimum = replaced;
            bool exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (exchanged && before[j - 2] + 1 < minimum) minimum = before[j - 2] + 1;
            row[j] = minimum;
        }
        int *free = before;
        before = last;
        last = row;
        row = free;
    }
    return last[n];
}

const char *sv_nearest(const char *word, const char *const *known, int n) {
    const char *best = NULL;
    int minimum = (int)strlen(word) / 2 + 2;
    for (int i = 0; i < n; i++) {
        int d = distance(word, known[i]);
        if (d < minimum) {
            minimum = d;
            best = known[i];
        }
    }
    return best;
}

/* nearest(word, {known, …}, max) -> the closest spelling within max edits, or nil */
static int l_nearest(lua_State *L) {
    const char *word = sv_check_text(L, 1, NULL), *best = NULL;
    sv_check_type(L, 2, LUA_TTABLE);
    int minimum = (int)sv_optional_integer(L, 3, (int)strlen(word) / 2 + 1) + 1, n = (int)luaL_len(L, 2);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        const char *known = sv_check_text(L, -1, NULL);
        int d = distance(word, known);
        if (d < minimum) {
            minimum = d;
            best = known;
        }
        lua_pop(L, 1); /* the list holds it */
    }
    lua_pushstring(L, best);
    return 1;
}

void sv_open_suggest(lua_State *L, int core) {
    core = lua_absindex(L, core);
    lua_pushcfunction(L, l_nearest);
    lua_setfield(L, core, "nearest");
}
