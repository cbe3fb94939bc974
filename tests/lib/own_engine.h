/* A Docker engine of the test's own, which may be stopped and killed: a dockerd
 * in a folder of its own, without networks. Needs root. */
#ifndef PD_TESTS_LIB_OWN_ENGINE_H
#define PD_TESTS_LIB_OWN_ENGINE_H

#include <stdbool.h>

struct pd_own_engine;

/* Why there can be none here, or NULL. */
const char *pd_own_engine_lacks(void);

/* Starts it and waits until it answers; NULL when it does not. */
struct pd_own_engine *pd_own_engine_new(void);
const char *pd_own_engine_host(const struct pd_own_engine *engine); /* "unix:///..." */
/* Import an image that holds nothing; 0 or -1. */
int pd_own_engine_import(const struct pd_own_engine *engine, const char *image);

/* SIGKILL, and gone when it returns. Its containers live on. */
void pd_own_engine_kill(struct pd_own_engine *engine);
/* SIGSTOP and SIGCONT. */
void pd_own_engine_freeze(struct pd_own_engine *engine, bool frozen);
/* After a kill; false when it does not answer. */
bool pd_own_engine_start(struct pd_own_engine *engine);
/* Stops it and removes its folder. */
void pd_own_engine_free(struct pd_own_engine *engine);

#endif
