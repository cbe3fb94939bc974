/* What the handlers of the API share. Owned by api.c; nothing else changes it. */
#ifndef PD_API_CONTEXT_H
#define PD_API_CONTEXT_H

#include <stdbool.h>

#include "api/dispatch.h"
#include "api/guesses.h"
#include "api/keys.h"
#include "api/origin.h"
#include "api/request.h"
#include "api/session.h"
#include "common/languages.h"
#include "common/store.h"

struct pd_book;
struct pd_executions;
struct pd_ledger;
struct pd_mirror;
struct pd_rates;
struct pd_records;
struct pd_shared_sessions;
struct pd_slots;
struct pd_viewers;
struct pd_web;

#define PD_COOKIE_NAME_BYTES 16

struct pd_reference;

struct pd_api_context {
    struct pd_store *store;
    const struct pd_languages *languages;
    struct pd_keys *keys;
    struct pd_rates *rates; /* api/rates.h */
    struct pd_slots *slots; /* api/slots.h */
    struct pd_dispatch *dispatch;
    struct pd_executions *executions; /* api/execution.h */
    struct pd_records *records;       /* api/records.h; NULL: nothing is kept */
    struct pd_ledger *ledger;         /* api/ledger.h; NULL: nothing is kept */
    struct pd_book *book;             /* api/book.h; NULL: nothing is kept */
    struct pd_viewers *viewers;       /* api/viewer.h */
    struct pd_mirror *mirror;         /* api/mirror.h; NULL: no other replica */
    struct pd_reference *reference;
    struct pd_metrics *metrics; /* common/metrics.h; NULL: nobody counts */
    struct pd_request_rules rules; /* of POST /execute */
    struct pd_sessions *sessions;
    struct pd_shared_sessions *shared_sessions; /* api/shared_sessions.h; NULL: no other replica */
    struct pd_guesses *guesses;                 /* logins that failed */
    struct pd_web *web;
    struct pd_hosts hosts;
    char cookie[PD_COOKIE_NAME_BYTES]; /* with the port in it, as cookies of a host go to all
                                          ports; without where replicas share sessions */
    bool draining;
    bool (*healthy)(void *arg, const char **ret_sentence);
    void *healthy_arg;
};

#endif
