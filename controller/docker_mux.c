#include "controller/docker_mux.h"

#include <string.h>

/* 1 with a whole header, 0 when more must come. */
static int take_header(struct pd_docker_mux *mux, const unsigned char **data, size_t *len,
                       struct pd_err *err)
{
    const unsigned char *header = mux->header;
    size_t want = PD_DOCKER_MUX_HEADER_BYTES - mux->have;
    size_t take = *len < want ? *len : want;

    memcpy(mux->header + mux->have, *data, take);
    mux->have += (unsigned)take;
    *data += take;
    *len -= take;
    if (mux->have < PD_DOCKER_MUX_HEADER_BYTES)
        return 0;
    if (header[0] < PD_DOCKER_STDOUT || header[0] > PD_DOCKER_SYSTEM || header[1] || header[2] ||
        header[3])
        return pd_err_set(err, PD_INVALID, "not Docker's stream framing: %02x %02x %02x %02x",
                          header[0], header[1], header[2], header[3]);
    mux->left = (uint32_t)header[4] << 24 | (uint32_t)header[5] << 16 | (uint32_t)header[6] << 8 |
                header[7];
    return 1;
}

int pd_docker_mux_next(struct pd_docker_mux *mux, const unsigned char **data, size_t *len,
                       struct pd_docker_piece *ret_piece, struct pd_err *err)
{
    size_t take;

    while (mux->left == 0 && *len > 0) { /* an empty frame is just skipped */
        int rc;
        if (mux->have == PD_DOCKER_MUX_HEADER_BYTES)
            mux->have = 0;
        rc = take_header(mux, data, len, err);
        if (rc <= 0)
            return rc;
    }
    if (*len == 0)
        return 0;
    take = *len < mux->left ? *len : mux->left;
    *ret_piece = (struct pd_docker_piece){mux->header[0], *data, take};
    *data += take;
    *len -= take;
    mux->left -= (uint32_t)take;
    return 1;
}
