/* metrics.h: metrics in C. */
#ifndef SV_METRICS_H
#define SV_METRICS_H

#include "../engine/engine.h"

/* ---- metrics/information.c ------------------------------------------------- */

void sv_open_metrics(lua_State *L, int core); /* mutual_information: see the file */
void sv_open_trees(lua_State *L, int core);   /* metrics/trees.c: boosted_trees */

#endif
