/* The real Docker engine in tests: where it is, and plain calls to it. */
#ifndef PD_TESTS_LIB_ENGINE_TEST_H
#define PD_TESTS_LIB_ENGINE_TEST_H

#include <stddef.h>
#include <uv.h>

#include "common/pool.h"

/* DOCKER_HOST, else the default. */
const char *pd_test_docker_host(void);
/* PADDOCK_TEST_IMAGE, else python:3.11-slim. */
const char *pd_test_image(void);

/* One call, synchronously, on a loop of its own; path with its version. Returns
 * the HTTP status, or -1 when there is no engine. `answer` (may be NULL) gets
 * the body, cut to answer_bytes. */
int pd_test_engine_call(const char *method, const char *path, const char *body, char *answer,
                        size_t answer_bytes);

/* Likewise, of the engine at `host`, with a body of any bytes. */
int pd_test_engine_call_at(const char *host, const char *method, const char *path, const void *body,
                           size_t body_len, char *answer, size_t answer_bytes);

/* A spec as a pool of small sandboxes would have it; the caller unrefs it. */
struct pd_pool_spec *pd_test_spec(const char *name, enum pd_isolation isolation);

#endif
