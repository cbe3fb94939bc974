/* What the handlers of the API share. Owned by api.c; nothing else changes it. */
#ifndef PD_API_CONTEXT_H
#define PD_API_CONTEXT_H

#include <stdbool.h>

#include "api/dispatch.h"
#include "api/keys.h"
#include "api/request.h"
#include "common/languages.h"
#include "common/store.h"

struct pd_api_context {
    struct pd_store *store;
    const struct pd_languages *languages;
    const struct pd_keys *keys;
    struct pd_dispatch *dispatch;
    struct pd_request_rules rules; /* of POST /execute */
    bool draining;
    bool (*healthy)(void *arg, const char **ret_sentence);
    void *healthy_arg;
};

#endif
