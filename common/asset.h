/* Files built into the program, so that one binary is all there is to install:
 * "agent" (the static agent), "spares/python.py" and the like,
 * "crds/sandboxpool.yaml", "conf/languages.yaml", "conf/seccomp.json", ... */
#ifndef PD_COMMON_ASSET_H
#define PD_COMMON_ASSET_H

#include <stddef.h>

struct pd_asset {
    const char *name;
    const unsigned char *data; /* static storage; terminated by a NUL beyond `len` */
    size_t len;
};

/* A NULL name when there is none called so. */
struct pd_asset pd_asset_find(const char *name);
/* All of them, for i = 0, 1, ...; a NULL name at the end. */
struct pd_asset pd_asset_at(unsigned i);

#endif
