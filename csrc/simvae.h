/* simvae.h: all headers of the C core, one for each folder:
 *
 *   kernels/   loops over numbers, which do not see Lua
 *   engine/    tensors, tapes, and how ops are called
 *   ops/       ops, one family a file: checks, calls of kernels, and rows
 *   optim/     optimizers
 *   sim/       simulators and rendering
 *   os/        processes, programs, folders, signals
 *   io/        files
 *   metrics/   metrics
 */
#ifndef SIMVAE_H
#define SIMVAE_H

#include "engine/engine.h"
#include "io/io.h"
#include "kernels/kernels.h"
#include "metrics/metrics.h"
#include "os/os.h"
#include "sim/sim.h"
#include "version.h"

void sv_open_optim(lua_State *L, int core); /* optim/: core.optim: adam, sgd, grad_norm, scale_grads */

#endif
