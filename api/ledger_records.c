#include "api/ledger_records.h"

#include <stdlib.h>

#include "common/mem.h"

struct ledger_records {
    struct pd_ledger base;
    struct pd_records *records;
};

static struct pd_records *records_of(struct pd_ledger *ledger)
{
    return PD_CONTAINER_OF(ledger, struct ledger_records, base)->records;
}

/* Nobody else can have owned any of it: what is not done is ours. */
static int start(struct pd_ledger *ledger, const struct pd_ledger_events *events, void *arg,
                 struct pd_err *err)
{
    return pd_records_unfinished(records_of(ledger), events->taken, arg, err);
}

static void stop(struct pd_ledger *ledger)
{
    (void)ledger;
}

static void add(struct pd_ledger *ledger, const struct pd_record *record)
{
    pd_records_add(records_of(ledger), record);
}

static int accept_items(struct pd_ledger *ledger, const struct pd_accept *items, size_t count,
                        pd_accept_cb cb, void *arg, struct pd_err *err)
{
    return pd_records_accept(records_of(ledger), items, count, cb, arg, err);
}

static int begin(struct pd_ledger *ledger, const char *id, pd_records_cb cb, void *arg,
                 struct pd_err *err)
{
    return pd_records_begin(records_of(ledger), id, cb, arg, err);
}

static void finish(struct pd_ledger *ledger, const struct pd_record *record, pd_records_cb cb,
                   void *arg)
{
    pd_records_finish(records_of(ledger), record, cb, arg);
}

/* Whose it is, the book knows: it has all that is not done. */
static int cancel(struct pd_ledger *ledger, const char *id, const char *key_id, pd_records_cb cb,
                  void *arg, struct pd_err *err)
{
    (void)key_id;
    return pd_records_cancel(records_of(ledger), id, cb, arg, err);
}

static int forget(struct pd_ledger *ledger, const char *id, pd_records_cb cb, void *arg,
                  struct pd_err *err)
{
    return pd_records_forget(records_of(ledger), id, cb, arg, err);
}

static bool await(struct pd_ledger *ledger, const char *id, struct pd_book_wait *wait)
{
    (void)ledger;
    (void)id;
    (void)wait;
    return false;
}

static int body(struct pd_ledger *ledger, const char *id, pd_records_text_cb cb, void *arg,
                struct pd_err *err)
{
    return pd_records_body(records_of(ledger), id, cb, arg, err);
}

static int get(struct pd_ledger *ledger, const char *id, const char *key_id, pd_records_text_cb cb,
               void *arg, struct pd_err *err)
{
    return pd_records_get(records_of(ledger), id, key_id, cb, arg, err);
}

static int events(struct pd_ledger *ledger, const char *id, const char *key_id,
                  pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    return pd_records_events(records_of(ledger), id, key_id, cb, arg, err);
}

static int list(struct pd_ledger *ledger, const struct pd_records_query *query,
                pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    return pd_records_list(records_of(ledger), query, cb, arg, err);
}

static int prune(struct pd_ledger *ledger, pd_prune_cb cb, void *arg, struct pd_err *err)
{
    return pd_records_prune(records_of(ledger), cb, arg, err);
}

static size_t replicas(const struct pd_ledger *ledger)
{
    (void)ledger;
    return 1;
}

static void close_ledger(struct pd_ledger *ledger, void (*closed)(void *arg), void *arg)
{
    free(PD_CONTAINER_OF(ledger, struct ledger_records, base));
    closed(arg);
}

static const struct pd_ledger_ops ops = {
    .start = start,
    .stop = stop,
    .add = add,
    .accept = accept_items,
    .begin = begin,
    .finish = finish,
    .cancel = cancel,
    .forget = forget,
    .await = await,
    .body = body,
    .get = get,
    .events = events,
    .list = list,
    .prune = prune,
    .replicas = replicas,
    .close = close_ledger,
};

struct pd_ledger *pd_ledger_records_new(struct pd_records *records)
{
    struct ledger_records *ledger = PD_NEW(struct ledger_records);

    ledger->base.ops = &ops;
    ledger->records = records;
    return &ledger->base;
}
