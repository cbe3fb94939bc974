/* Images at the engine: there or pulled, and what of them matters to a
 * container (Engine API, ImageInspect and ImageCreate). One lookup or pull per
 * image at a time, however many ask. */
#ifndef PD_CONTROLLER_DOCKER_IMAGE_H
#define PD_CONTROLLER_DOCKER_IMAGE_H

#include "common/err.h"
#include "common/pool.h"
#include "controller/docker_engine.h"
#include "controller/docker_wait.h"

#define PD_DOCKER_IMAGE_NAME_MAX 256
#define PD_DOCKER_PULL_STALL_MS (5 * 60 * 1000) /* a pull without a word for so long has failed */

struct pd_docker_images;

/* The engine outlives it. */
struct pd_docker_images *pd_docker_images_new(struct pd_docker_engine *engine);
/* After the engine has been closed, so that nothing is under way. */
void pd_docker_images_free(struct pd_docker_images *images);

/* See that the image is there, pulling it where it is not. The error says what
 * to do. PD_INVALID: a name that is none. */
int pd_docker_images_ensure(struct pd_docker_images *images, const char *name, pd_docker_done_cb cb,
                            void *arg, struct pd_err *err);

/* Paths of the image's VOLUMEs; NULL before it was ensured, or once forgotten. */
const struct pd_strings *pd_docker_images_volumes(struct pd_docker_images *images,
                                                  const char *name);

/* A reference's parts, e.g. "a/b:1" into "a/b" and "1"; a digest stays with the
 * name and tag is "". PD_INVALID: no image reference. Buffers of
 * PD_DOCKER_IMAGE_NAME_MAX bytes each. */
int pd_docker_image_parse(const char *reference, char *ret_name, char *ret_tag, struct pd_err *err);

#endif
