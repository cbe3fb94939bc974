#include "controller/aws_credentials.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"
#include "controller/aws_fetch.h"
#include "controller/aws_source.h"

#define SKEW_CORRECTED_MS (30 * 1000)  /* less than that is left alone: signatures hold 5 min */
#define SPENT_BEFORE_END_MS (2 * 1000) /* a key so near to its end is not used any more */

struct waiter {
    STAILQ_ENTRY(waiter) entry;
    pd_aws_credentials_cb cb;
    void *arg;
};

struct pd_aws_credentials {
    struct pd_aws_asker asker;
    struct pd_aws_source *source; /* once found; static files are read anew by each refresh */
    struct pd_aws_fetch *fetch;   /* under way */
    struct pd_aws_key key;
    bool has_key;
    char origin[32];
    int failures;
    struct pd_err error; /* of the last refresh */
    uv_timer_t timer;    /* the next refresh */
    uv_timer_t turn;     /* tells waiters what is known already */
    STAILQ_HEAD(, waiter) waiters;
    int handles;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

int64_t pd_aws_credentials_wall_ms(const struct pd_aws_credentials *credentials)
{
    return pd_wall_ms() + credentials->asker.skew_ms;
}

const char *pd_aws_credentials_origin(const struct pd_aws_credentials *credentials)
{
    return credentials->origin;
}

bool pd_aws_credentials_note_date(struct pd_aws_credentials *credentials, const char *date)
{
    int64_t theirs = (int64_t)curl_getdate(date, NULL) * 1000;
    int64_t off = theirs - pd_aws_credentials_wall_ms(credentials);

    if (theirs <= 0 || (off < SKEW_CORRECTED_MS && off > -SKEW_CORRECTED_MS))
        return false;
    credentials->asker.skew_ms += off;
    pd_log(PD_LOG_WARN, "aws", "this machine's clock is off; signing by AWS's", "ms",
           PD_NUM(credentials->asker.skew_ms), NULL);
    return true;
}

const struct pd_aws_key *pd_aws_credentials_now(struct pd_aws_credentials *credentials)
{
    const struct pd_aws_key *key = &credentials->key;

    if (!credentials->has_key)
        return NULL;
    if (key->expires_wall_ms > 0 &&
        pd_aws_credentials_wall_ms(credentials) >= key->expires_wall_ms - SPENT_BEFORE_END_MS)
        return NULL;
    return key;
}

/* ---- telling ---- */

static void tell_all(struct pd_aws_credentials *credentials, const struct pd_err *err)
{
    STAILQ_HEAD(, waiter) told = STAILQ_HEAD_INITIALIZER(told);
    struct waiter *waiter;

    STAILQ_CONCAT(&told, &credentials->waiters);
    while ((waiter = STAILQ_FIRST(&told))) {
        STAILQ_REMOVE_HEAD(&told, entry);
        waiter->cb(waiter->arg, err, err ? NULL : &credentials->key);
        free(waiter);
    }
}

static void on_turn(uv_timer_t *timer)
{
    struct pd_aws_credentials *credentials = timer->data;

    if (pd_aws_credentials_now(credentials))
        tell_all(credentials, NULL);
    else if (!credentials->fetch)
        tell_all(credentials, &credentials->error);
}

/* ---- refreshing ---- */

static void refresh(struct pd_aws_credentials *credentials);

static void on_timer(uv_timer_t *timer)
{
    refresh(timer->data);
}

/* Ahead of the end; where a refresh has failed, after a pause. */
static void arm(struct pd_aws_credentials *credentials)
{
    const struct pd_aws_key *key = &credentials->key;
    int64_t left, ahead, wait = 0;

    if (credentials->failures > 0) {
        wait = PD_AWS_REFRESH_PAUSE_MIN_MS
               << (credentials->failures > 5 ? 5 : credentials->failures - 1);
        wait = wait > PD_AWS_REFRESH_PAUSE_MAX_MS ? PD_AWS_REFRESH_PAUSE_MAX_MS : wait;
    } else if (key->expires_wall_ms > 0) {
        left = key->expires_wall_ms - pd_aws_credentials_wall_ms(credentials);
        ahead = PD_AWS_REFRESH_MAX_MS - random() % PD_AWS_REFRESH_SPREAD_MS;
        wait = left > 2 * ahead ? left - ahead : left / 2;
        wait = wait < PD_AWS_REFRESH_PAUSE_MIN_MS ? PD_AWS_REFRESH_PAUSE_MIN_MS : wait;
    } else {
        return;
    }
    uv_timer_start(&credentials->timer, on_timer, (uint64_t)wait, 0);
}

static void failed(struct pd_aws_credentials *credentials, const struct pd_err *err)
{
    const char *consequence = pd_aws_credentials_now(credentials)
                                  ? "AWS credentials not refreshed, using the old ones"
                                  : "no AWS credentials, will try again";

    credentials->error = *err;
    pd_log(credentials->failures == 0 ? PD_LOG_WARN : PD_LOG_DEBUG, "aws", consequence, "err",
           err->msg, NULL);
    credentials->failures++;
    pd_aws_source_free(credentials->source);
    credentials->source = NULL;
    arm(credentials);
    tell_all(credentials, err);
}

static void succeeded(struct pd_aws_credentials *credentials, const struct pd_aws_key *key)
{
    bool first = !credentials->has_key;

    pd_aws_key_fini(&credentials->key);
    credentials->key = pd_aws_key_copy(key);
    credentials->has_key = true;
    credentials->failures = 0;
    pd_strcpy(credentials->origin, sizeof credentials->origin, credentials->source->name);
    pd_log(first ? PD_LOG_INFO : PD_LOG_DEBUG, "aws", "AWS credentials found", "from",
           credentials->origin, NULL);
    pd_aws_source_free(credentials->source);
    credentials->source = NULL;
    arm(credentials);
    tell_all(credentials, NULL);
}

static void maybe_closed(struct pd_aws_credentials *credentials);

static void on_fetched(void *arg, const struct pd_err *err, const struct pd_aws_key *key)
{
    struct pd_aws_credentials *credentials = arg;
    struct pd_err ended;

    credentials->fetch = NULL;
    if (credentials->closing) {
        maybe_closed(credentials);
        return;
    }
    if (!err && key->expires_wall_ms > 0 &&
        key->expires_wall_ms <= pd_aws_credentials_wall_ms(credentials) + SPENT_BEFORE_END_MS) {
        pd_err_set(&ended, PD_DENIED, "AWS credentials from %s have expired already",
                   credentials->source->name);
        err = &ended;
    }
    if (err)
        failed(credentials, err);
    else
        succeeded(credentials, key);
}

/* One at a time. */
static void refresh(struct pd_aws_credentials *credentials)
{
    struct pd_err err;

    if (credentials->fetch || credentials->closing)
        return;
    uv_timer_stop(&credentials->timer);
    if (!credentials->source && pd_aws_source_find(&credentials->source, &err) < 0) {
        failed(credentials, &err);
        return;
    }
    credentials->fetch =
        pd_aws_fetch_begin(&credentials->asker, credentials->source, on_fetched, credentials);
}

static void on_turn_refresh(uv_timer_t *timer)
{
    struct pd_aws_credentials *credentials = timer->data;

    if (pd_aws_credentials_now(credentials))
        on_turn(timer);
    else
        refresh(credentials);
}

void pd_aws_credentials_want(struct pd_aws_credentials *credentials, pd_aws_credentials_cb cb,
                             void *arg)
{
    struct waiter *waiter = PD_NEW(struct waiter);

    waiter->cb = cb;
    waiter->arg = arg;
    STAILQ_INSERT_TAIL(&credentials->waiters, waiter, entry);
    /* Just after a failure the same answer is given without asking again. */
    uv_timer_start(&credentials->turn,
                   credentials->failures > 0 && uv_is_active((uv_handle_t *)&credentials->timer)
                       ? on_turn
                       : on_turn_refresh,
                   0, 0);
}

void pd_aws_credentials_refused(struct pd_aws_credentials *credentials, const char *key_id)
{
    if (!credentials->has_key || strcmp(credentials->key.id, key_id) != 0)
        return; /* a newer one is in use already */
    credentials->has_key = false;
    if (credentials->failures == 0)
        refresh(credentials);
}

/* ---- life ---- */

struct pd_aws_credentials *pd_aws_credentials_new(uv_loop_t *loop, struct pd_http *http,
                                                  struct pd_metrics *metrics, const char *region)
{
    struct pd_aws_credentials *credentials = PD_NEW(struct pd_aws_credentials);

    credentials->asker = (struct pd_aws_asker){.loop = loop, .http = http, .metrics = metrics};
    pd_strcpy(credentials->asker.region, sizeof credentials->asker.region, region);
    pd_err_set(&credentials->error, PD_UNAVAILABLE, "no AWS credentials yet");
    STAILQ_INIT(&credentials->waiters);
    uv_timer_init(loop, &credentials->timer);
    uv_timer_init(loop, &credentials->turn);
    credentials->timer.data = credentials->turn.data = credentials;
    credentials->handles = 2;
    return credentials;
}

static void maybe_closed(struct pd_aws_credentials *credentials)
{
    void (*closed)(void *arg) = credentials->closed;
    void *arg = credentials->closed_arg;

    if (credentials->handles > 0 || credentials->fetch)
        return;
    pd_aws_key_fini(&credentials->key);
    pd_aws_source_free(credentials->source);
    free(credentials);
    if (closed)
        closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_aws_credentials *credentials = handle->data;
    struct pd_err err;

    if (--credentials->handles == 0) {
        pd_err_set(&err, PD_CANCELED, "closing");
        tell_all(credentials, &err);
    }
    maybe_closed(credentials);
}

void pd_aws_credentials_close(struct pd_aws_credentials *credentials, void (*closed)(void *arg),
                              void *arg)
{
    credentials->closing = true;
    credentials->closed = closed;
    credentials->closed_arg = arg;
    if (credentials->fetch)
        pd_aws_fetch_cancel(credentials->fetch);
    uv_close((uv_handle_t *)&credentials->timer, on_handle_closed);
    uv_close((uv_handle_t *)&credentials->turn, on_handle_closed);
}
