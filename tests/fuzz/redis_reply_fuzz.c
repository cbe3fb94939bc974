#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/redis_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct pd_redis_reply *reply, int depth)
{
    size_t items = 1;

    assert(reply && depth < 9);
    if (reply->type == PD_REDIS_STRING || reply->type == PD_REDIS_ERROR)
        assert(reply->text && reply->text[reply->len] == '\0');
    for (size_t i = 0; i < reply->count; i++)
        items += walk(reply->items[i], depth + 1);
    return items;
}

/* All answers of these bytes, fed `step` at a time; how many, and how it ended. */
static size_t read_all(const uint8_t *data, size_t size, size_t step, int *ret_rc)
{
    struct pd_redis_reader *reader = pd_redis_reader_new();
    struct pd_redis_reply *reply;
    struct pd_err err;
    size_t count = 0;

    *ret_rc = 0;
    for (size_t at = 0; at < size && *ret_rc == 0; at += step) {
        pd_redis_reader_feed(reader, data + at, size - at < step ? size - at : step);
        while ((*ret_rc = pd_redis_reader_next(reader, &reply, &err)) == 1) {
            assert(walk(reply, 0) <= PD_REDIS_REPLY_ITEMS_MAX);
            if (reply->type == PD_REDIS_ERROR)
                assert(pd_redis_reply_err(reply, &err) < 0);
            (void)pd_redis_reply_integer(reply, 0, 0);
            pd_redis_reply_free(reply);
            count++;
        }
    }
    assert(*ret_rc == 0 || *ret_rc == PD_UNAVAILABLE || *ret_rc == PD_LIMIT);
    pd_redis_reader_free(reader);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int whole, pieces;
    size_t at_once = read_all(data, size, size ? size : 1, &whole);
    size_t one_by_one = read_all(data, size, 1, &pieces);

    /* How it is cut by the network changes nothing. */
    assert(at_once == one_by_one && whole == pieces);
    return 0;
}
