/* The book of accepted executions: those that were answered 202 or carry an
 * Idempotency-Key. One that is in it is carried out once, whatever happens:
 *
 *   accepted   durable before anybody is told
 *   begun      durable before the program is sent to a sandbox
 *   done       its outcome durable before anybody is told
 *
 * After the service was killed, what had not begun waits again; what had begun is
 * `lost`, or runs again where its client said that it may (retry_safe). Accepted
 * executions wait without a deadline; the book gives the dispatcher only a few of
 * each key at a time and reads the others' requests from the database when their
 * turn comes. A pool that is deleted cancels what waits for it. */
#ifndef PD_API_BOOK_H
#define PD_API_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "api/execution.h"
#include "api/ledger.h"
#include "api/records.h"
#include "api/request.h"
#include "api/ring.h"

#define PD_BOOK_MAX 20000          /* executions that are not done */
#define PD_BOOK_KEY_MAX 10000      /* of one key */
#define PD_BOOK_LIVE_MAX 1024      /* with the dispatcher */
#define PD_BOOK_PRUNE_MS 10000     /* between looks at old records */
#define PD_BOOK_RETRY_MS 1000      /* between looks at what cannot begin */
#define PD_BOOK_POOL_WAIT_MS                                                                       \
    60000 /* after the start (or what was taken up last), for a pool that is not there (yet) */

struct pd_book;

struct pd_book_config {
    uv_loop_t *loop;
    struct pd_store *store;
    struct pd_executions *executions; /* which it observes */
    struct pd_ledger *ledger;         /* outlives the book */
    const struct pd_request_rules *rules;
};

/* Reads what is not done and takes it up. Blocks: for the start only. The book is there
 * to be closed even where that fails. */
int pd_book_open(const struct pd_book_config *config, struct pd_book **ret_book,
                 struct pd_err *err);
/* Nothing more begins; what waits is left to the next start. */
void pd_book_drain(struct pd_book *book);
/* After the dispatcher is closed. What the database still has to say of it finds it
 * there; it is freed then. */
void pd_book_close(struct pd_book *book);

size_t pd_book_count(const struct pd_book *book);  /* not done */
size_t pd_book_ending(const struct pd_book *book); /* of these: whose outcome is being written */

struct pd_book_item {
    const char *key_id;
    const char *idempotency_key; /* NULL: none */
    struct pd_request *request;  /* taken over, also when refused */
    const char *body;            /* what it was parsed from */
    size_t body_len;
    enum pd_record_kind kind;    /* PD_RECORD_PLAIN: it has a deadline like any other run */
    bool retry_safe;
};

/* Accept all or none. 0: cb fires once, from the loop, with one result for each (see
 * pd_records_accept); what is new is under way then. PD_THROTTLED: this key has too
 * many; PD_UNAVAILABLE: all have, or the service stops. */
int pd_book_accept(struct pd_book *book, const struct pd_book_item *items, size_t count,
                   pd_accept_cb cb, void *arg, struct pd_err *err);

/* Wait for the outcome of one that is not done. */
struct pd_book_wait {
    /* Once: the answer (borrowed), durable; or why there is none: it was refused
     * (err, and when to come back), and is as if it had never been. */
    void (*done)(void *arg, const struct pd_buf *answer, const struct pd_err *err,
                 int retry_after_s);
    void *arg;
    struct pd_ring in_entry; /* the book's own */
};
/* False: it is not in the book (any more), nor with another replica. */
bool pd_book_await(struct pd_book *book, const char *id, struct pd_book_wait *wait);
void pd_book_forgo(struct pd_book_wait *wait);

/* Where one stands; false when it is not in the book. */
struct pd_book_place {
    bool has_sandbox;
    size_t position; /* in the queue, among all; 0: next */
    int64_t wait_ms; /* estimate; 0: unknown */
};
bool pd_book_look(const struct pd_book *book, const char *id, struct pd_book_place *ret_place);

/* End it, wherever it is: durable when cb fires. PD_NOT_FOUND: there is none that is not
 * done, or it is not this key's (NULL: anybody's). */
int pd_book_cancel(struct pd_book *book, const char *id, const char *key_id, pd_records_cb cb,
                   void *arg, struct pd_err *err);

#endif
