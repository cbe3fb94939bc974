#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "controller/docker_mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A sum that depends on order, of all pieces' bytes and channels. */
static uint64_t digest(const uint8_t *data, size_t size, size_t cut, int *ret_rc)
{
    struct pd_docker_mux mux = {0};
    uint64_t sum = 1469598103934665603u;

    for (int part = 0; part < 2; part++) {
        const unsigned char *at = part ? data + cut : data;
        size_t left = part ? size - cut : cut, before = left;
        struct pd_docker_piece piece;
        while ((*ret_rc = pd_docker_mux_next(&mux, &at, &left, &piece, NULL)) > 0) {
            assert(piece.len > 0 && left < before);
            before = left;
            for (size_t i = 0; i < piece.len; i++)
                sum = (sum ^ piece.data[i] ^ (uint64_t)piece.channel << 8) * 1099511628211u;
        }
        if (*ret_rc < 0)
            return sum;
        assert(left == 0);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int whole_rc, cut_rc;
    size_t cut = size > 0 ? data[0] % (size + 1) : 0;
    uint64_t whole = digest(data, size, size, &whole_rc);

    assert(digest(data, size, cut, &cut_rc) == whole && cut_rc == whole_rc);
    return 0;
}
