/* The framing of an attach stream without a terminal (Docker Engine API,
 * ContainerAttach, "Stream format"): each frame is {stream, 0, 0, 0, length as
 * u32 big-endian} and that many bytes. Pure: nothing is copied or kept but the
 * piece of a header that came so far. */
#ifndef PD_CONTROLLER_DOCKER_MUX_H
#define PD_CONTROLLER_DOCKER_MUX_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define PD_DOCKER_MUX_HEADER_BYTES 8

enum pd_docker_channel {
    PD_DOCKER_STDOUT = 1,
    PD_DOCKER_STDERR = 2,
    PD_DOCKER_SYSTEM = 3, /* the engine's own words about the stream */
};

struct pd_docker_mux { /* starts zeroed */
    unsigned char header[PD_DOCKER_MUX_HEADER_BYTES];
    unsigned have; /* bytes of header so far */
    uint32_t left; /* payload bytes of the present frame still to come */
};

/* A piece of one frame's payload; points into the input. */
struct pd_docker_piece {
    enum pd_docker_channel channel;
    const unsigned char *data;
    size_t len; /* at least 1 */
};

/* Take the next piece from the input, moving *data and *len past what was
 * consumed. 1: *ret_piece is filled; 0: the input is used up; PD_INVALID: this
 * is not the framing (the mux may not be used any more). */
int pd_docker_mux_next(struct pd_docker_mux *mux, const unsigned char **data, size_t *len,
                       struct pd_docker_piece *ret_piece, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
