/* A client of the running service, for the commands that need one: where it is,
 * which key, one request after another. Blocks. */
#ifndef PD_CLI_CLIENT_H
#define PD_CLI_CLIENT_H

#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/node.h"

#define PD_CLIENT_ANSWER_MAX (128u * 1024 * 1024)

/* What a usage text says about it. */
#define PD_CLIENT_HELP                                                                             \
    "The service is at --url, else $PADDOCK_URL, else where the one of this state folder\n"        \
    "(--state-dir) listens for kubectl, else at http://127.0.0.1:8000. The key is\n"               \
    "$PADDOCK_API_KEY or $EXECUTION_API_KEY, else the one in the state folder.\n"

struct pd_client;

/* url, state_dir: flags, NULL where not given. */
int pd_client_open(const char *url, const char *state_dir, struct pd_client **ret_client,
                   struct pd_err *err);
void pd_client_close(struct pd_client *client); /* NULL is fine */

struct pd_client_call {
    const char *method;
    const char *path;                  /* with its query */
    const char *accept, *content_type; /* NULL: JSON */
    const void *body;                  /* NULL: none */
    size_t body_len;
    long timeout_s; /* 0: 60 */
};

/* The decoded answer to a call that succeeded; the caller frees it (NULL: it was
 * empty). A refusal becomes an error with what the service said about it:
 * PD_DENIED, PD_NOT_FOUND, PD_CONFLICT or PD_INVALID as the status says. */
int pd_client_ask(struct pd_client *client, const struct pd_client_call *call,
                  struct pd_node **ret_answer, struct pd_err *err);
/* The status of the last answer. */
long pd_client_status(const struct pd_client *client);

/* "pools", "sandboxes", "events" and what kubectl calls them: the path of the
 * collection, or NULL. */
const char *pd_client_collection(const char *word);

#endif
