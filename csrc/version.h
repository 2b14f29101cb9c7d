/* version.h: the version of every C module of this build. */
#ifndef SIMVAE_VERSION_H
#define SIMVAE_VERSION_H

#define SV_VERSION "0.2.0"

#endif
