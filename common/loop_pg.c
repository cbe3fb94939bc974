/* Theory of operation.
 *
 * libpq says which way it waits; the socket is polled for that. A connection
 * attempt may change the socket (several addresses, a TLS retry), so the poll is
 * made anew whenever its descriptor differs. */
#include "common/loop_pg.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"

enum state { CONNECTING, IDLE, BUSY, DOWN };

struct pd_pg {
    PGconn *conn;
    uv_poll_t *poll; /* of its own life: closing takes a turn */
    int poll_fd;     /* a duplicate: libpq closes its own when it likes */
    int fd;          /* libpq's, of which poll_fd is one */
    uv_timer_t timer;
    enum state state;
    bool failed;            /* the statement, so far */
    struct pd_err err;      /* why */
    char *first_value;
    const struct pd_pg_events *events;
    void *arg;
    void (*done)(void *arg, const char *first_value, const struct pd_err *err);
    void *done_arg;
    void (*closed)(void *arg);
    void *closed_arg;
    bool closing;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void on_poll_closed(uv_handle_t *handle)
{
    int fd = (int)(intptr_t)handle->data;

    close(fd);
    free(handle);
}

static void drop_poll(struct pd_pg *pg)
{
    if (!pg->poll)
        return;
    uv_poll_stop(pg->poll);
    pg->poll->data = (void *)(intptr_t)pg->poll_fd;
    uv_close((uv_handle_t *)PD_STEAL(pg->poll), on_poll_closed);
    pg->fd = -1;
}

/* A new socket may have an old one's number: the connection attempt decides. */
static int wait_for(struct pd_pg *pg, int events, bool anew)
{
    int fd = PQsocket(pg->conn);

    if (anew || fd != pg->fd)
        drop_poll(pg);
    if (!pg->poll) {
        pg->poll_fd = dup(fd);
        if (pg->poll_fd < 0)
            return -1;
        pg->poll = PD_NEW(uv_poll_t);
        uv_poll_init(pg->timer.loop, pg->poll, pg->poll_fd);
        pg->poll->data = pg;
        pg->fd = fd;
    }
    return uv_poll_start(pg->poll, events, on_poll);
}

/* libpq quotes what it cannot read, and (part of) a password may be in that. */
static void leave_out_quotations(char *text)
{
    bool quoted = false;
    size_t len = 0;

    for (const char *p = text; *p; p++) {
        if (*p == '"')
            quoted = !quoted;
        if (!quoted || *p == '"')
            text[len++] = *p;
    }
    text[len] = '\0';
}

/* A '/' or '@' in a password that was not escaped makes port or host of it. */
static bool may_quote_password(const char *text)
{
    return strncmp(text, "invalid ", strlen("invalid ")) == 0 || strchr(text, '@');
}

/* What libpq leaves out about a certificate; "" where there is nothing to add. */
static const char *certificate_hint(const char *why)
{
    if (strstr(why, "certificate verify failed"))
        return ": its certificate comes from no authority in sslrootcert (PGSSLROOTCERT), or is "
               "out of date";
    if (strstr(why, "does not match host name"))
        return ": connect by a name that the certificate has";
    if (strstr(why, "does not support SSL"))
        return ": switch ssl on there";
    return "";
}

static void go_down(struct pd_pg *pg, const char *why)
{
    pd_autofree char *line = NULL;
    struct pd_err err;

    if (pg->state == DOWN)
        return;
    line = pd_strndup(why, strcspn(why, "\n"));
    if (may_quote_password(line))
        leave_out_quotations(line);
    pg->state = DOWN;
    pg->done = NULL;
    uv_timer_stop(&pg->timer);
    drop_poll(pg);
    pd_err_set(&err, PD_UNAVAILABLE, "PostgreSQL: %s%s", line, certificate_hint(line));
    pg->events->down(pg->arg, &err);
}

static void on_timeout(uv_timer_t *timer)
{
    go_down(timer->data, "no answer in time");
}

static void on_refused(uv_timer_t *timer)
{
    struct pd_pg *pg = timer->data;
    const char *why = PQerrorMessage(pg->conn);

    go_down(pg, *why ? why : "out of descriptors");
}

static void go_on_connecting(struct pd_pg *pg)
{
    switch (PQconnectPoll(pg->conn)) {
    case PGRES_POLLING_OK:
        pg->state = IDLE;
        uv_timer_stop(&pg->timer);
        PQsetnonblocking(pg->conn, 1);
        if (wait_for(pg, UV_READABLE, true) < 0)
            go_down(pg, "out of descriptors");
        else
            pg->events->ready(pg->arg);
        return;
    case PGRES_POLLING_READING:
        if (wait_for(pg, UV_READABLE, true) < 0)
            go_down(pg, "out of descriptors");
        return;
    case PGRES_POLLING_WRITING:
        if (wait_for(pg, UV_WRITABLE, true) < 0)
            go_down(pg, "out of descriptors");
        return;
    default:
        go_down(pg, PQerrorMessage(pg->conn));
    }
}

static int kind_of(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (!state)
        return PD_UNAVAILABLE;
    if (strncmp(state, "28", 2) == 0 || strcmp(state, "42501") == 0)
        return PD_DENIED;
    if (strncmp(state, "08", 2) == 0 || strncmp(state, "57", 2) == 0 ||
        strncmp(state, "53", 2) == 0 || strncmp(state, "40", 2) == 0)
        return PD_UNAVAILABLE;
    if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
        strncmp(state, "54", 2) == 0)
        return PD_INVALID;
    return PD_INTERNAL;
}

static void take_result(struct pd_pg *pg, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_TUPLES_OK && PQntuples(result) > 0 && PQnfields(result) > 0) {
        free(pg->first_value);
        pg->first_value = pd_strdup(PQgetvalue(result, 0, 0));
    } else if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK &&
               status != PGRES_EMPTY_QUERY && !pg->failed) {
        const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        pg->failed = true;
        pd_err_set(&pg->err, kind_of(result), "PostgreSQL: %s",
                   text ? text : PQresultErrorMessage(result));
    }
    PQclear(result);
}

static void end_statement(struct pd_pg *pg)
{
    void (*done)(void *arg, const char *first_value, const struct pd_err *err) = PD_STEAL(pg->done);
    pd_autofree char *value = PD_STEAL(pg->first_value);
    struct pd_err err = pg->err;

    pg->state = IDLE;
    uv_timer_stop(&pg->timer);
    done(pg->done_arg, value, pg->failed ? &err : NULL);
}

static void go_on_reading(struct pd_pg *pg)
{
    PGresult *result;

    if (!PQconsumeInput(pg->conn)) {
        go_down(pg, PQerrorMessage(pg->conn));
        return;
    }
    while (pg->state == BUSY && !PQisBusy(pg->conn)) {
        result = PQgetResult(pg->conn);
        if (!result) {
            if (PQstatus(pg->conn) == CONNECTION_BAD)
                go_down(pg, pg->failed ? pg->err.msg : PQerrorMessage(pg->conn));
            else
                end_statement(pg);
            return;
        }
        take_result(pg, result);
    }
}

static void flush(struct pd_pg *pg)
{
    int left = PQflush(pg->conn);

    if (left < 0)
        go_down(pg, PQerrorMessage(pg->conn));
    else if (wait_for(pg, UV_READABLE | (left ? UV_WRITABLE : 0), false) < 0)
        go_down(pg, "out of descriptors");
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pd_pg *pg = poll->data;

    if (pg->state == CONNECTING) {
        go_on_connecting(pg); /* a refusal too: libpq knows why, and may try the next address */
    } else if (status < 0) {
        go_on_reading(pg); /* likewise */
        if (pg->state != DOWN)
            go_down(pg, uv_strerror(status));
    } else {
        if (events & UV_WRITABLE)
            flush(pg);
        if (pg->state != DOWN && (events & UV_READABLE))
            go_on_reading(pg);
    }
}

static int refuse_url(char *fault, struct pd_err *err)
{
    if (!fault)
        abort(); /* no memory */
    fault[strcspn(fault, "\n")] = '\0';
    leave_out_quotations(fault);
    pd_err_set(err, PD_INVALID, "not a connection string of PostgreSQL: %s", fault);
    PQfreemem(fault);
    return PD_INVALID;
}

int pd_pg_open(uv_loop_t *loop, const char *url, const struct pd_pg_events *events, void *arg,
               struct pd_pg **ret_pg, struct pd_err *err)
{
    struct pd_pg *pg;
    char *fault = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &fault);
    PGconn *conn;

    if (!options)
        return refuse_url(fault, err);
    PQconninfoFree(options);
    conn = PQconnectStart(url);
    if (!conn)
        abort(); /* no memory */
    pg = PD_NEW(struct pd_pg);
    pg->conn = conn;
    pg->fd = -1;
    pg->events = events;
    pg->arg = arg;
    uv_timer_init(loop, &pg->timer);
    pg->timer.data = pg;
    *ret_pg = pg;
    if (PQstatus(conn) == CONNECTION_BAD) { /* at once: a socket that is not there */
        uv_timer_start(&pg->timer, on_refused, 0, 0);
        return 0;
    }
    uv_timer_start(&pg->timer, on_timeout, PD_PG_CONNECT_MS, 0);
    if (wait_for(pg, UV_WRITABLE, true) < 0)
        uv_timer_start(&pg->timer, on_refused, 0, 0);
    return 0;
}

int pd_pg_query(struct pd_pg *pg, const char *sql, const char *const *params, int n_params,
                void (*done)(void *arg, const char *first_value, const struct pd_err *err),
                void *arg, struct pd_err *err)
{
    int ok;

    if (pg->state != IDLE)
        return pd_err_set(err, PD_CONFLICT, "PostgreSQL: not ready for a statement");
    ok = n_params > 0 ? PQsendQueryParams(pg->conn, sql, n_params, NULL, params, NULL, NULL, 0)
                      : PQsendQuery(pg->conn, sql);
    if (!ok)
        return pd_err_set(err, PD_UNAVAILABLE, "PostgreSQL: %.*s",
                          (int)strcspn(PQerrorMessage(pg->conn), "\n"), PQerrorMessage(pg->conn));
    pg->state = BUSY;
    pg->failed = false;
    pg->done = done;
    pg->done_arg = arg;
    uv_timer_start(&pg->timer, on_timeout, PD_PG_STATEMENT_MS, 0);
    flush(pg);
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_pg *pg = handle->data;
    void (*closed)(void *arg) = pg->closed;
    void *arg = pg->closed_arg;

    PQfinish(pg->conn);
    free(pg->first_value);
    free(pg);
    if (closed)
        closed(arg);
}

void pd_pg_close(struct pd_pg *pg, void (*closed)(void *arg), void *arg)
{
    if (pg->closing)
        return;
    pg->closing = true;
    pg->closed = closed;
    pg->closed_arg = arg;
    pg->state = DOWN;
    drop_poll(pg);
    uv_close((uv_handle_t *)&pg->timer, on_timer_closed);
}
