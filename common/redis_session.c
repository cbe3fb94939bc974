/* Theory of operation. Commands of one turn of the loop gather in `out`, which a
 * prepare handle, run right before the loop waits, writes in one piece. Answers
 * come in the order of the commands, so `waiting` is a queue, its head is the
 * oldest, and one timer for the head's deadline will do; on a silent connection
 * the same timer asks PING. The opening commands (AUTH, CLIENT SETNAME, SELECT,
 * INFO) go through the same queue. */
#include "common/redis_session.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/peer.h"
#include "common/time.h"

#define CLIENT_NAME "paddock"
#define OUT_KEPT_BYTES_MAX (256u * 1024) /* of storage, from one turn to the next */

enum state { OPENING, READY, ENDED, CLOSING };

struct waiting {
    STAILQ_ENTRY(waiting) next;
    pd_redis_cb cb; /* NULL: nobody asks */
    void *arg;
    struct pd_time deadline;
};

struct pd_redis_session {
    struct pd_redis_session_config config;
    enum pd_redis_session_kind kind;
    const struct pd_redis_session_events *events;
    void *arg;
    enum state state;
    struct pd_peer *peer;
    struct pd_redis_reader *reader;
    STAILQ_HEAD(, waiting) waiting;
    size_t n_waiting;
    struct pd_buf out;
    uv_prepare_t prepare; /* active while `out` has bytes */
    uv_timer_t timer;
    struct pd_time heard; /* when anything came last */
    bool pinged;          /* subscriber: and nothing came since */
    char run_id[PD_REDIS_RUN_ID_BYTES];
    int open_handles; /* the peer counts as one */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- ends ---- */

static void fail_waiting(struct pd_redis_session *session, const struct pd_err *err)
{
    struct waiting *waiting;

    while ((waiting = STAILQ_FIRST(&session->waiting))) {
        STAILQ_REMOVE_HEAD(&session->waiting, next);
        session->n_waiting--;
        if (waiting->cb)
            waiting->cb(waiting->arg, err, NULL);
        free(waiting);
    }
}

static void end(struct pd_redis_session *session, const struct pd_err *err)
{
    struct pd_err copy = *err;

    if (session->state >= ENDED)
        return;
    session->state = ENDED;
    uv_timer_stop(&session->timer);
    uv_prepare_stop(&session->prepare);
    fail_waiting(session, &copy);
    if (session->state == ENDED) /* a callback may have closed it */
        session->events->ended(session->arg, &copy);
}

void pd_redis_session_end(struct pd_redis_session *session, const struct pd_err *err)
{
    end(session, err);
}

static void on_part_closed(void *arg)
{
    struct pd_redis_session *session = arg;
    void (*closed)(void *arg) = session->closed;
    void *closed_arg = session->closed_arg;
    struct pd_err err;

    if (--session->open_handles > 0)
        return;
    pd_err_set(&err, PD_CANCELED, "the connection to Redis was closed");
    fail_waiting(session, &err);
    pd_redis_reader_free(session->reader);
    if (session->out.data)
        pd_wipe(session->out.data, session->out.len); /* a password may be there */
    pd_buf_fini(&session->out);
    free(session);
    if (closed)
        closed(closed_arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

void pd_redis_session_close(struct pd_redis_session *session, void (*closed)(void *arg), void *arg)
{
    assert(session->state != CLOSING);
    session->state = CLOSING;
    session->closed = closed;
    session->closed_arg = arg;
    uv_close((uv_handle_t *)&session->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&session->timer, on_handle_closed);
    pd_peer_close(session->peer, on_part_closed, session);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);

static void arm(struct pd_redis_session *session)
{
    const struct waiting *head = STAILQ_FIRST(&session->waiting);
    struct pd_time at =
        head ? head->deadline : pd_time_add_ms(session->heard, session->config.ping_interval_ms);
    int64_t left_ms = pd_time_ms_between(pd_time_now(), at) + 1;

    uv_timer_start(&session->timer, on_timer, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

static void late(struct pd_redis_session *session)
{
    struct pd_err err;

    pd_err_set(&err, PD_TIMEOUT, "Redis does not answer within %d ms",
               session->config.command_timeout_ms);
    end(session, &err);
}

static int send_command(struct pd_redis_session *session, const struct pd_redis_arg *args,
                        size_t n_args, pd_redis_cb cb, void *arg, struct pd_err *err);

static void ping(struct pd_redis_session *session)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("PING")};
    struct pd_err err;

    if (send_command(session, args, 1, NULL, NULL, &err) < 0)
        end(session, &err);
}

static bool is_due(struct pd_time at)
{
    return !pd_time_before(pd_time_now(), at);
}

static void on_timer(uv_timer_t *timer)
{
    struct pd_redis_session *session = timer->data;
    const struct waiting *head = STAILQ_FIRST(&session->waiting);
    struct pd_time silent_at = pd_time_add_ms(session->heard, session->config.ping_interval_ms);

    if (head) {
        if (is_due(head->deadline)) {
            late(session);
            return;
        }
    } else if (session->pinged) { /* a subscriber's PING waits for any word at all */
        if (is_due(pd_time_add_ms(silent_at, session->config.command_timeout_ms))) {
            late(session);
            return;
        }
        uv_timer_start(timer, on_timer, (uint64_t)session->config.command_timeout_ms, 0);
        return;
    } else if (is_due(silent_at)) {
        session->pinged = session->kind == PD_REDIS_SUBSCRIBER;
        ping(session);
        if (session->pinged && session->state == READY)
            uv_timer_start(timer, on_timer, (uint64_t)session->config.command_timeout_ms, 0);
        return;
    }
    arm(session);
}

/* ---- sending ---- */

static void on_prepare(uv_prepare_t *prepare)
{
    struct pd_redis_session *session = prepare->data;
    struct pd_err err;
    int rc;

    uv_prepare_stop(prepare);
    rc = pd_peer_write(session->peer, session->out.data, session->out.len, &err);
    if (session->state == OPENING)
        pd_wipe(session->out.data, session->out.len);
    if (session->out.cap > OUT_KEPT_BYTES_MAX) {
        pd_buf_fini(&session->out);
        pd_buf_init(&session->out, PD_REDIS_UNSENT_BYTES_MAX);
    } else {
        pd_buf_clear(&session->out);
    }
    if (rc < 0)
        end(session, &err);
}

static int add_command(struct pd_redis_session *session, const struct pd_redis_arg *args,
                       size_t n_args, struct pd_err *err)
{
    const char *data[PD_REDIS_ARGS_MAX];
    size_t lens[PD_REDIS_ARGS_MAX];
    size_t total = 0;
    char *text = NULL;
    int len, rc;

    assert(n_args > 0 && n_args <= PD_REDIS_ARGS_MAX);
    for (size_t i = 0; i < n_args; i++) {
        data[i] = args[i].data ? args[i].data : "";
        lens[i] = args[i].len;
        total += lens[i];
        if (lens[i] > PD_REDIS_COMMAND_BYTES_MAX || total > PD_REDIS_COMMAND_BYTES_MAX)
            return pd_err_set(err, PD_LIMIT, "a command for Redis of more than %u MiB",
                              PD_REDIS_COMMAND_BYTES_MAX >> 20);
    }
    len = redisFormatCommandArgv(&text, (int)n_args, data, lens);
    if (len < 0)
        abort(); /* no memory */
    rc = pd_buf_add(&session->out, text, (size_t)len, err);
    if (session->state == OPENING)
        pd_wipe(text, (size_t)len);
    redisFreeCommand(text);
    return rc;
}

static int send_command(struct pd_redis_session *session, const struct pd_redis_arg *args,
                        size_t n_args, pd_redis_cb cb, void *arg, struct pd_err *err)
{
    struct waiting *waiting;

    if (session->n_waiting >= PD_REDIS_PIPELINE_MAX)
        return pd_err_set(err, PD_LIMIT, "%zu commands wait for Redis already", session->n_waiting);
    if (add_command(session, args, n_args, err) < 0)
        return err ? err->kind : PD_LIMIT;
    uv_prepare_start(&session->prepare, on_prepare);
    if (session->kind == PD_REDIS_SUBSCRIBER && session->state == READY)
        return 0; /* what it answers is no answer to this */
    waiting = PD_NEW(struct waiting);
    waiting->cb = cb;
    waiting->arg = arg;
    waiting->deadline = pd_time_add_ms(pd_time_now(), session->config.command_timeout_ms);
    STAILQ_INSERT_TAIL(&session->waiting, waiting, next);
    if (session->n_waiting++ == 0)
        arm(session);
    return 0;
}

int pd_redis_session_send(struct pd_redis_session *session, const struct pd_redis_arg *args,
                          size_t n_args, pd_redis_cb cb, void *arg, struct pd_err *err)
{
    if (session->state != READY)
        return pd_err_set(err, PD_UNAVAILABLE, "no connection to Redis");
    assert(session->kind == PD_REDIS_COMMANDS || !cb);
    return send_command(session, args, n_args, cb, arg, err);
}

size_t pd_redis_session_in_flight(const struct pd_redis_session *session)
{
    return session->n_waiting;
}

const char *pd_redis_session_run_id(const struct pd_redis_session *session)
{
    return session->run_id;
}

/* ---- receiving ---- */

static void answer(struct pd_redis_session *session, const struct pd_redis_reply *reply)
{
    struct waiting *waiting = STAILQ_FIRST(&session->waiting);
    struct pd_err err;

    if (!waiting) {
        pd_err_set(&err, PD_UNAVAILABLE, "Redis says what it was not asked for%s%.200s",
                   reply->type == PD_REDIS_ERROR ? ": " : "",
                   reply->type == PD_REDIS_ERROR ? reply->text : "");
        end(session, &err);
        return;
    }
    STAILQ_REMOVE_HEAD(&session->waiting, next);
    session->n_waiting--;
    if (waiting->cb && reply->type == PD_REDIS_ERROR) {
        pd_redis_reply_err(reply, &err);
        waiting->cb(waiting->arg, &err, reply);
    } else if (waiting->cb) {
        waiting->cb(waiting->arg, NULL, reply);
    }
    free(waiting);
}

static void on_data(void *arg, const char *data, size_t len)
{
    struct pd_redis_session *session = arg;
    struct pd_redis_reply *reply = NULL;
    struct pd_err err;
    int rc = 0;

    session->heard = pd_time_now();
    session->pinged = false;
    pd_redis_reader_feed(session->reader, data, len);
    while (session->state < ENDED &&
           (rc = pd_redis_reader_next(session->reader, &reply, &err)) > 0) {
        if (session->kind == PD_REDIS_SUBSCRIBER && session->state == READY)
            session->events->push(session->arg, reply);
        else
            answer(session, reply);
        pd_redis_reply_free(reply);
    }
    if (session->state >= ENDED)
        return;
    if (rc < 0)
        end(session, &err);
    else
        arm(session);
}

/* ---- opening ---- */

static void on_ended(void *arg, const struct pd_err *err)
{
    end(arg, err);
}

static void on_vital(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_redis_session *session = arg;
    struct pd_err copy;

    (void)reply;
    if (!err || session->state != OPENING)
        return;
    copy = *err;
    if (copy.kind == PD_INVALID)
        copy.kind = PD_DENIED; /* a database that does not exist, an AUTH of another version */
    end(session, &copy);
}

/* LOADING, too many clients, protected mode, a password that was not given: not
 * what we asked is refused, but we are. */
static bool is_refusal(const struct pd_err *err, const struct pd_redis_reply *reply)
{
    return err->kind == PD_UNAVAILABLE || (reply && (strncmp(reply->text, "NOAUTH", 6) == 0 ||
                                                     strncmp(reply->text, "DENIED", 6) == 0));
}

static void on_info(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_redis_session *session = arg;
    const char *at = !err && reply->type == PD_REDIS_STRING ? strstr(reply->text, "run_id:") : NULL;

    if (session->state != OPENING)
        return;
    if (err && is_refusal(err, reply)) {
        end(session, err);
        return;
    }
    if (at) {
        size_t len = strcspn(at += 7, "\r\n");
        pd_strcpy(session->run_id, len < sizeof session->run_id ? len + 1 : sizeof session->run_id,
                  at);
    }
    session->state = READY;
    session->events->ready(session->arg);
}

/* A name is a courtesy, which old ones and an ACL may refuse. */
static void on_named(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    if (err && is_refusal(err, reply))
        end(arg, err);
}

static int begin_with(struct pd_redis_session *session, const struct pd_redis_arg *args,
                      size_t n_args, pd_redis_cb cb, struct pd_err *err)
{
    return send_command(session, args, n_args, cb, session, err);
}

static int authenticate(struct pd_redis_session *session, struct pd_err *err)
{
    const struct pd_redis_url *url = session->config.url;
    const struct pd_redis_arg password = {url->password.bytes, url->password.len};

    if (password.len == 0)
        return 0;
    if (url->user) { /* ACL SETUSER, from 6 on */
        const struct pd_redis_arg args[] = {PD_REDIS_TEXT("AUTH"), PD_REDIS_TEXT(url->user),
                                            password};
        return begin_with(session, args, 3, on_vital, err);
    }
    return begin_with(session, (struct pd_redis_arg[]){PD_REDIS_TEXT("AUTH"), password}, 2,
                      on_vital, err);
}

static int begin(struct pd_redis_session *session, struct pd_err *err)
{
    const struct pd_redis_arg name[] = {PD_REDIS_TEXT("CLIENT"), PD_REDIS_TEXT("SETNAME"),
                                        PD_REDIS_TEXT(CLIENT_NAME)};
    const struct pd_redis_arg info[] = {PD_REDIS_TEXT("INFO"), PD_REDIS_TEXT("server")};
    char db[16];
    size_t db_len = (size_t)snprintf(db, sizeof db, "%d", session->config.url->db);
    const struct pd_redis_arg select[] = {PD_REDIS_TEXT("SELECT"), {db, db_len}};

    if (authenticate(session, err) < 0 || begin_with(session, name, 3, on_named, err) < 0)
        return err->kind;
    /* Channels belong to no database. */
    if (session->kind == PD_REDIS_COMMANDS && session->config.url->db != 0 &&
        begin_with(session, select, 2, on_vital, err) < 0)
        return err->kind;
    return begin_with(session, info, 2, on_info, err);
}

static void on_open(void *arg)
{
    struct pd_redis_session *session = arg;
    struct pd_err err;

    session->heard = pd_time_now();
    if (begin(session, &err) < 0)
        end(session, &err);
}

static const struct pd_peer_events peer_events = {
    .open = on_open,
    .data = on_data,
    .ended = on_ended,
};

static struct pd_peer *open_peer(struct pd_redis_session *session,
                                 const struct pd_redis_session_config *config)
{
    const struct pd_tls_config tls = {
        .ca_file = config->ca_file,
        .cert_file = config->cert_file,
        .key_file = config->key_file,
        .peer = config->url->host,
    };
    const struct pd_peer_config peer = {
        .name = "Redis",
        .socket_path = config->url->socket_path,
        .host = config->url->host,
        .port = config->url->port,
        .tls = config->url->tls ? &tls : NULL,
        .connect_timeout_ms = config->connect_timeout_ms,
        .unsent_bytes_max = 2 * (size_t)PD_REDIS_UNSENT_BYTES_MAX,
    };

    return pd_peer_open(config->loop, &peer, &peer_events, session);
}

struct pd_redis_session *pd_redis_session_open(const struct pd_redis_session_config *config,
                                               enum pd_redis_session_kind kind,
                                               const struct pd_redis_session_events *events,
                                               void *arg)
{
    struct pd_redis_session *session = PD_NEW(struct pd_redis_session);

    session->config = *config;
    session->kind = kind;
    session->events = events;
    session->arg = arg;
    session->reader = pd_redis_reader_new();
    STAILQ_INIT(&session->waiting);
    pd_buf_init(&session->out, PD_REDIS_UNSENT_BYTES_MAX);
    uv_prepare_init(config->loop, &session->prepare);
    uv_timer_init(config->loop, &session->timer);
    session->prepare.data = session->timer.data = session;
    session->open_handles = 3;
    session->peer = open_peer(session, config);
    return session;
}
