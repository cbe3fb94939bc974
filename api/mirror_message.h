/* What replicas say to each other of runs that are watched, canceled or looked at from
 * another one (mirror.h): a line of words, and perhaps a payload below it. Pure.
 *
 *   to all     where FROM ASK RUN             who has it?
 *              cancel FROM ASK RUN KEY        end it, where it is this key's ("*": anybody's)
 *              look FROM ASK RUN KEY          show it
 *   answers    none FROM ASK                  not here
 *              here FROM ASK BORN DONE LAST KEY   here; its last event's number, whose it is
 *              canceling FROM ASK             it will end
 *              ended FROM ASK                 it had ended
 *              shown FROM ASK, payload        the JSON object that shows it
 *   to one     follow FROM ASK RUN SEQ        tell its events from this number on
 *              more FROM ASK BYTES            so much has come in all; go on
 *              stop FROM ASK                  no more
 *   its words  events FROM ASK, payload       lines: output bytes, a space, the event
 *              still FROM ASK SEQ             all events before this number have been told
 *              gone FROM ASK                  there is no such run (any more)
 *
 * FROM is a replica's name, ASK a number of who began to ask. BORN is different for every
 * journal: the run under the same id that began anew has another. */
#ifndef PD_API_MIRROR_MESSAGE_H
#define PD_API_MIRROR_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/store.h"

#define PD_MIRROR_NAME_BYTES 33 /* 32 hexadecimal digits, and NUL */
#define PD_MIRROR_RUN_BYTES 64
#define PD_MIRROR_HEAD_BYTES_MAX 320 /* of the line */
#define PD_MIRROR_ANYBODY "*"

enum pd_mirror_word {
    PD_MIRROR_WHERE,
    PD_MIRROR_CANCEL,
    PD_MIRROR_LOOK,
    PD_MIRROR_NONE,
    PD_MIRROR_HERE,
    PD_MIRROR_CANCELING,
    PD_MIRROR_ENDED,
    PD_MIRROR_SHOWN,
    PD_MIRROR_FOLLOW,
    PD_MIRROR_MORE,
    PD_MIRROR_STOP,
    PD_MIRROR_EVENTS,
    PD_MIRROR_STILL,
    PD_MIRROR_GONE,
    PD_MIRROR_WORDS,
};

struct pd_mirror_message {
    enum pd_mirror_word word;
    char from[PD_MIRROR_NAME_BYTES];
    uint64_t ask;
    char run[PD_MIRROR_RUN_BYTES]; /* "" where the word has none, like all below */
    char key[PD_KEY_ID_MAX];
    uint64_t number; /* SEQ, LAST, BYTES */
    uint64_t born;
    bool done;
    const char *payload; /* borrowed of what was read; of `events` and `shown` only */
    size_t payload_len;
};

/* Whether it can be a run's id at all: 1 to 63 of A-Z a-z 0-9 _ -. */
bool pd_mirror_is_run(const char *text);

/* PD_INVALID: it is none of the above. */
int pd_mirror_message_parse(const char *text, size_t len, struct pd_mirror_message *ret_message,
                            struct pd_err *err) __attribute__((warn_unused_result));
/* Its line, with the newline where a payload follows; asserts that its words are good. */
void pd_mirror_message_format(const struct pd_mirror_message *message,
                              char out[static PD_MIRROR_HEAD_BYTES_MAX]);

/* The next line of the payload of `events`: moves *at and *len on. 1: there was one; 0: there
 * is none left; PD_INVALID. */
int pd_mirror_next_event(const char **at, size_t *len, const char **ret_json, size_t *ret_json_len,
                         size_t *ret_output_bytes, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
