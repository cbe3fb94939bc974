/* What the files of the book share; nobody else's.
 *
 *   book.c        what its owner and its users ask of it
 *   book_entry.c  entries, lines, and how many each key has
 *   book_turn.c   whose turn it is
 *   book_end.c    what the dispatcher says, and the outcome */
#ifndef PD_API_BOOK_STATE_H
#define PD_API_BOOK_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "api/book.h"
#include "api/ring.h"
#include "common/buf.h"
#include "common/strmap.h"

/* Why who watches sees no end of it. */
#define PD_BOOK_TAKEN "another replica has it now: watch it again"
#define PD_BOOK_LATER "it could not begin yet, and waits again: watch it again"

#define PD_BOOK_LINE_NAME_BYTES (PD_KEY_ID_MAX + PD_POOL_NAME_MAX)

enum pd_book_entry_state {
    PD_BOOK_WAITING, /* in its line */
    PD_BOOK_LOADING, /* its request is being read */
    PD_BOOK_LIVE,    /* the dispatcher has it */
    PD_BOOK_ENDING,  /* its outcome is being written */
};

struct pd_book_line {
    struct pd_ring in_lines;
    char name[PD_BOOK_LINE_NAME_BYTES];
    char pool[PD_POOL_NAME_MAX];
    struct pd_ring waiting;
    size_t n_entries;         /* it goes with the last */
    size_t n_waiting, n_live; /* loading ones count as live */
};

struct pd_book_entry {
    struct pd_book *book;
    struct pd_book_line *line;
    struct pd_ring in_line; /* while waiting */
    char id[PD_RECORD_ID_BYTES];
    char key_id[PD_KEY_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
    char language[PD_LANGUAGE_NAME_MAX];
    enum pd_record_kind kind;
    enum pd_book_entry_state state;
    bool patient; /* has no deadline */
    bool retry_safe;
    bool beginning;             /* that it begins is being written */
    bool began;                 /* and that is durable */
    bool again;                 /* that it begins could not be written: later */
    bool canceled;              /* and that is durable */
    bool disowned;              /* another has it, or its outcome is there */
    unsigned refs;              /* answers of the database that are to come */
    bool over;                  /* not in the book any more */
    struct pd_request *request; /* NULL: in the database */
    struct pd_execution *live;
    struct pd_buf answer; /* while ending */
    struct pd_ring waits;
};

struct pd_book {
    struct pd_book_config config;
    struct pd_strmap by_id;
    struct pd_strmap lines_by_name;
    struct pd_strmap counts; /* of struct key_count */
    struct pd_ring lines;
    size_t count, n_live, n_ending;
    size_t refs; /* of all entries, and of what is being accepted */
    uv_timer_t timer;
    uv_timer_t prune; /* keeps house among the records */
    int open_timers;
    int64_t taken_wall_ms; /* when something was taken up last */
    bool draining, closed;
};

/* ---- book.c ---- */

/* Free it when it is closed and the last answer of the database has come. */
void pd_book_reap(struct pd_book *book);

/* ---- book_entry.c ---- */

size_t pd_book_count_of_key(const struct pd_book *book, const char *key_id);
/* How many of a line the dispatcher has at once: enough to keep its pool busy. */
size_t pd_book_line_live_max(const struct pd_book *book, const struct pd_book_line *line);
/* Deleted, being deleted, or not there (yet). */
bool pd_book_is_pool_gone(const struct pd_book *book, const char *name);

/* Into the book and the count of its line, not waiting yet; the book's, until
 * pd_book_entry_end. The texts are copied. */
struct pd_book_entry *pd_book_entry_new(struct pd_book *book, const char *id, const char *key_id,
                                        const char *pool, const char *language);
/* Into its line, as the first or the last; and out of it. */
void pd_book_entry_wait(struct pd_book_entry *entry, bool first);
void pd_book_entry_leave_line(struct pd_book_entry *entry);
/* The dispatcher has it no more; its state is for the caller to set. */
void pd_book_entry_stop_live(struct pd_book_entry *entry);
/* One for each answer of the database that is to come. The last unref frees an entry
 * that is over, and the book with it when that is closed. */
void pd_book_entry_ref(struct pd_book_entry *entry);
void pd_book_entry_unref(struct pd_book_entry *entry);
/* Tell all who wait: the answer (borrowed), or NULL and why (see struct pd_book_wait). */
void pd_book_entry_tell(struct pd_book_entry *entry, const struct pd_buf *answer,
                        const struct pd_err *err, int retry_after_s);
/* Out of the book: another has it. Who waits for it waits for that one. Neither in its
 * line nor live. */
void pd_book_entry_give_away(struct pd_book_entry *entry);
/* Out of the book. It is neither in its line nor live, and nobody waits for it. Freed
 * now, unless it is referenced. */
void pd_book_entry_end(struct pd_book_entry *entry);

/* ---- book_end.c ---- */

/* Of the executions; its arg is the book. */
extern const struct pd_execution_observer pd_book_observer;
/* It ends without ever having run here: its outcome, with this cause (the name of a
 * pd_cause, or "failed") and reason, is on the way to the disk. */
void pd_book_entry_end_unrun(struct pd_book_entry *entry, const char *cause, const char *reason);
/* The dispatcher refused it, or gave up before it began (end->err): it waits again,
 * ends, or is forgotten. Not live any more. */
void pd_book_entry_end_failed(struct pd_book_entry *entry, const struct pd_execution_end *end);

/* ---- book_turn.c ---- */

/* Out of its line: to the dispatcher, by way of the database where its request is there. */
void pd_book_entry_begin(struct pd_book_entry *entry);
/* Look at the lines from the loop, in so many ms or earlier; not when it drains. */
void pd_book_feed_soon(struct pd_book *book, uint64_t ms);

#endif
