/* What a client says in paddock.v1: JSON texts (docs/live-output.md, and
 * api/reference/asyncapi.yaml). Read strictly; pure. */
#ifndef PD_API_CLIENT_FRAME_H
#define PD_API_CLIENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/node.h"

#define PD_CLIENT_FRAME_BYTES_MAX (128u * 1024) /* of any but `run` */
#define PD_TERMINAL_CELLS_MAX 1000              /* rows, and columns */

enum pd_client_frame_type {
    PD_CLIENT_RUN,
    PD_CLIENT_STDIN,
    PD_CLIENT_STDIN_EOF,
    PD_CLIENT_SIGNAL,
    PD_CLIENT_RESIZE,
    PD_CLIENT_CANCEL,
};

struct pd_client_frame {
    enum pd_client_frame_type type;
    struct pd_node *request; /* run: the members of POST /execute; owned, may be taken */
    bool tty, stdin_open, stdin_credit, detach;
    uint16_t rows, cols; /* run (0: not said), resize */
    char *data;          /* stdin; owned */
    size_t data_len;
    int signo; /* signal */
};

/* 0; PD_INVALID: it is no JSON object; PD_DENIED: one that is no frame, with why. */
int pd_client_frame_parse(const char *text, size_t len, struct pd_client_frame *ret_frame,
                          struct pd_err *err);
void pd_client_frame_fini(struct pd_client_frame *frame);

#endif
