/* The state folder: what one installation keeps on this machine.
 *
 *   lock      held (flock) while a service runs on this folder
 *   instance  a random name, made once: the label paddock.dev/instance, by which
 *             the service knows its own sandboxes again
 *   keys...   the API's (api/keys.h)
 *   paddock.db  what must last (common/db.h), with its -wal and -shm
 *
 * The folder is 0700 and belongs to the user who runs the service. */
#ifndef PD_CLI_STATE_H
#define PD_CLI_STATE_H

#include "common/err.h"

#define PD_INSTANCE_BYTES 17 /* 16 hex digits and the NUL */

struct pd_state {
    char *dir;  /* absolute or as given; owned */
    int lock;   /* descriptor that holds the lock */
    char instance[PD_INSTANCE_BYTES];
};

/* Where the state folder is: `flag` (may be NULL), else $PADDOCK_STATE_DIR, else
 * /var/lib/paddock for root, else $XDG_STATE_HOME/paddock, else
 * $HOME/.local/state/paddock. The caller frees. Never NULL. */
char *pd_state_dir(const char *flag);

/* Make the folder where it is missing. PD_DENIED when it belongs to somebody
 * else or others may write it; a folder that others may only read is closed
 * to 0700. */
int pd_state_prepare(const char *dir, struct pd_err *err);

/* Prepare, lock, and read or make the instance name. PD_CONFLICT when another
 * service holds the folder; the message names its process. */
int pd_state_open(const char *dir, struct pd_state *ret_state, struct pd_err *err);
/* Releases the lock. Safe on a zeroed state. */
void pd_state_close(struct pd_state *state);

#endif
