#include "common/redis_reply.h"

#include <errno.h>
#include <hiredis/read.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

struct pd_redis_reader {
    redisReader *hiredis;
    size_t bytes; /* fed since the last whole answer */
    size_t items; /* made of the answer that comes */
    bool too_large;
};

/* ---- what hiredis calls to build an answer ---- */

/* NULL makes hiredis give the whole answer up. */
static struct pd_redis_reply *item_new(const redisReadTask *task, enum pd_redis_type type)
{
    struct pd_redis_reader *reader = task->privdata;
    struct pd_redis_reply *item;

    if (++reader->items > PD_REDIS_REPLY_ITEMS_MAX) {
        reader->too_large = true;
        return NULL;
    }
    item = PD_NEW(struct pd_redis_reply);
    item->type = type;
    if (task->parent)
        ((struct pd_redis_reply *)task->parent->obj)->items[task->idx] = item;
    return item;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    bool is_error = task->type == REDIS_REPLY_ERROR;
    struct pd_redis_reply *item = item_new(task, is_error ? PD_REDIS_ERROR : PD_REDIS_STRING);

    if (!item)
        return NULL;
    item->text = pd_realloc(NULL, 1, len + 1);
    memcpy(item->text, text, len);
    item->text[len] = '\0';
    item->len = len;
    return item;
}

static void *create_array(const redisReadTask *task, int count)
{
    struct pd_redis_reader *reader = task->privdata;
    struct pd_redis_reply *item;

    if (count < 0 || (size_t)count > PD_REDIS_REPLY_ITEMS_MAX - reader->items) {
        reader->too_large = true;
        return NULL;
    }
    item = item_new(task, PD_REDIS_ARRAY);
    if (!item)
        return NULL;
    item->count = (size_t)count;
    item->items = count ? pd_calloc(item->count, sizeof *item->items) : NULL;
    return item;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct pd_redis_reply *item = item_new(task, PD_REDIS_INTEGER);

    if (item)
        item->integer = value;
    return item;
}

static void *create_nil(const redisReadTask *task)
{
    return item_new(task, PD_REDIS_NIL);
}

static void free_object(void *object)
{
    pd_redis_reply_free(object);
}

static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
};

/* ---- reader ---- */

struct pd_redis_reader *pd_redis_reader_new(void)
{
    struct pd_redis_reader *reader = PD_NEW(struct pd_redis_reader);

    reader->hiredis = redisReaderCreateWithFunctions(&functions);
    if (!reader->hiredis)
        abort();
    reader->hiredis->privdata = reader;
    return reader;
}

void pd_redis_reader_free(struct pd_redis_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->hiredis);
    free(reader);
}

void pd_redis_reader_feed(struct pd_redis_reader *reader, const void *data, size_t len)
{
    if (reader->too_large || reader->hiredis->err)
        return;
    reader->bytes += len;
    if (redisReaderFeed(reader->hiredis, data, len) != 0 && !reader->hiredis->err)
        abort(); /* no memory */
}

int pd_redis_reader_next(struct pd_redis_reader *reader, struct pd_redis_reply **ret_reply,
                         struct pd_err *err)
{
    void *reply = NULL;
    int rc = reader->too_large ? -1 : redisReaderGetReply(reader->hiredis, &reply);

    if (reader->too_large || (rc == 0 && !reply && reader->bytes > PD_REDIS_REPLY_BYTES_MAX)) {
        reader->too_large = true;
        return pd_err_set(err, PD_LIMIT, "an answer of Redis's is larger than %u MiB or %u items",
                          PD_REDIS_REPLY_BYTES_MAX >> 20, PD_REDIS_REPLY_ITEMS_MAX);
    }
    if (rc != 0)
        return pd_err_set(err, PD_UNAVAILABLE, "the peer does not speak as Redis does: %.100s",
                          reader->hiredis->errstr);
    if (!reply)
        return 0;
    reader->items = 0;
    reader->bytes = reader->hiredis->len - reader->hiredis->pos;
    *ret_reply = reply;
    return 1;
}

/* ---- replies ---- */

void pd_redis_reply_free(struct pd_redis_reply *reply)
{
    if (!reply)
        return;
    for (size_t i = 0; i < reply->count; i++)
        pd_redis_reply_free(reply->items[i]);
    free(reply->items);
    free(reply->text);
    free(reply);
}

static const struct pd_redis_reply *item_at(const struct pd_redis_reply *reply, size_t i)
{
    return reply && reply->type == PD_REDIS_ARRAY && i < reply->count ? reply->items[i] : NULL;
}

const struct pd_redis_reply *pd_redis_reply_string(const struct pd_redis_reply *reply, size_t i)
{
    const struct pd_redis_reply *item = item_at(reply, i);

    return item && item->type == PD_REDIS_STRING ? item : NULL;
}

int64_t pd_redis_reply_integer(const struct pd_redis_reply *reply, size_t i, int64_t fallback)
{
    const struct pd_redis_reply *item = item_at(reply, i);
    char *end;
    long long value;

    if (item && item->type == PD_REDIS_INTEGER)
        return item->integer;
    if (!item || item->type != PD_REDIS_STRING || item->len == 0)
        return fallback;
    errno = 0;
    value = strtoll(item->text, &end, 10);
    return errno || end != item->text + item->len ? fallback : value;
}

bool pd_redis_reply_is(const struct pd_redis_reply *reply, const char *text)
{
    return reply && reply->type == PD_REDIS_STRING && strcmp(reply->text, text) == 0;
}

/* By the first word, which is a code (https://redis.io/docs/reference/protocol-spec/,
 * "Simple errors"). */
int pd_redis_reply_err(const struct pd_redis_reply *reply, struct pd_err *err)
{
    static const struct {
        const char *code;
        int kind;
    } table[] = {
        {"WRONGPASS", PD_DENIED},
        {"NOAUTH", PD_DENIED},
        {"NOPERM", PD_DENIED},
        {"ERR invalid password", PD_DENIED}, /* before 6 */
        {"ERR AUTH", PD_DENIED},             /* a password for one that asks for none */
        {"ERR Client sent AUTH", PD_DENIED}, /* likewise, before 6 */
        {"DENIED", PD_DENIED},
        {"OOM", PD_LIMIT},
        {"LOADING", PD_UNAVAILABLE},
        {"BUSY", PD_UNAVAILABLE},
        {"READONLY", PD_UNAVAILABLE},
        {"MASTERDOWN", PD_UNAVAILABLE},
        {"CLUSTERDOWN", PD_UNAVAILABLE},
        {"TRYAGAIN", PD_UNAVAILABLE},
        {"MISCONF", PD_UNAVAILABLE},
        {"NOREPLICAS", PD_UNAVAILABLE},
        {"UNBLOCKED", PD_UNAVAILABLE},
        {"ERR max number of clients", PD_UNAVAILABLE},
        {"NOSCRIPT", PD_NOT_FOUND},
        {"FENCED", PD_CONFLICT},
        {"CONFLICT", PD_CONFLICT},
    };

    for (size_t i = 0; i < PD_COUNT(table); i++) {
        if (strncmp(reply->text, table[i].code, strlen(table[i].code)) == 0)
            return pd_err_set(err, table[i].kind, "Redis: %.300s", reply->text);
    }
    return pd_err_set(err, PD_INVALID, "Redis: %.300s", reply->text);
}
