/* The direct pipes: two FIFOs between a sandbox's agent and the service, for
 * where both are on one machine. They carry the link's frames past the engine,
 * whose attach stream wakes two more processes for every message.
 *
 * Each sandbox has a folder of its own below one of the service's, which its
 * container sees read-only as PD_DIRECT_FOLDER. The folder exists from before the
 * container is made until its agent has opened the pipes, which is before the
 * first run: no program ever finds them. Besides, the agent must first say the
 * secret that it was told over the attach stream. */
#ifndef PD_COMMON_DIRECT_H
#define PD_COMMON_DIRECT_H

#include <stdint.h>
#include <uv.h>

#include "common/err.h"
#include "common/proto.h"
#include "common/stream.h"

#define PD_DIRECT_FOLDER_AGE_S 900 /* older folders than this that nobody links are swept */

struct pd_direct;

/* Once: `stream` is the receiver's, and so is what came after the secret; or
 * err says why there will be none (PD_DENIED: somebody else was there). */
typedef void (*pd_direct_cb)(void *arg, const struct pd_err *err, struct pd_stream *stream);

/* Make the pipes in `folder` and wait for the one who knows `secret`. 0: cb fires
 * at most once, from the loop; the caller calls pd_direct_close in any case, and
 * the pipes' names and the folder are gone then. */
int pd_direct_open(uv_loop_t *loop, const char *folder,
                   const uint8_t secret[static PD_DIRECT_SECRET_BYTES], pd_direct_cb cb, void *arg,
                   struct pd_direct **ret_direct, struct pd_err *err);
/* cb does not fire any more; `closed` fires once from the loop. */
void pd_direct_close(struct pd_direct *direct, void (*closed)(void *arg), void *arg);

/* Make the folder of one sandbox below `dir` (made too where it is missing). */
int pd_direct_folder_make(const char *dir, const char *id, struct pd_err *err);
/* Remove folders below `dir` that are older than `age_s`: nobody will link them. */
void pd_direct_sweep(const char *dir, int64_t age_s);

/* A stream over two pipes, both open; each was allocated by PD_NEW, is taken over
 * and freed with the stream. */
struct pd_stream *pd_stream_of_pipes(uv_pipe_t *from_peer, uv_pipe_t *to_peer);

#endif
