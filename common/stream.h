/* A byte stream to an agent, whoever carries it: the Docker engine's hijacked
 * attach stream, TLS to an ECS task, a socket pair in a test. Providers make
 * them; common/link.h reads and writes them. */
#ifndef PD_COMMON_STREAM_H
#define PD_COMMON_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct pd_stream;

/* How many unsent bytes a stream takes before write answers PD_LIMIT. */
#define PD_STREAM_QUEUE_BYTES_MAX (20u * 1024 * 1024)

struct pd_stream_ops {
    /* Queue all of `data`, which is copied where it cannot be sent at once.
     * 0, PD_LIMIT (nothing taken) or PD_UNAVAILABLE (the stream has ended). */
    int (*write)(struct pd_stream *stream, const void *data, size_t len, struct pd_err *err);
    /* Deliver data to on_data, or stop doing so. Starts off. */
    void (*read)(struct pd_stream *stream, bool on);
    /* Idempotent. Neither on_data nor on_end fires afterwards; `closed`, which
     * may be NULL, fires once from the loop, and the stream is gone then. */
    void (*close)(struct pd_stream *stream, void (*closed)(void *arg), void *arg);
};

struct pd_stream {
    const struct pd_stream_ops *ops; /* set by the maker, every member present */
    /* A folder where the peer can reach us directly (common/direct.h), or NULL.
     * Set by the maker, valid until the callback that hands the stream out returns. */
    const char *direct_folder;
    /* Set by the user before read(true). on_end: the peer ended or failed
     * (err tells); fires at most once; the user still calls close. */
    void (*on_data)(void *arg, const void *data, size_t len);
    void (*on_end)(void *arg, const struct pd_err *err);
    void *arg;
};

#endif
