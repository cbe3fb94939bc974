/* Whether Redis keeps what it is given: an append-only file, and no eviction.
 * INFO tells both, on managed ones too; CONFIG GET tells how often the file is
 * fsynced, where it may be asked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ledger_redis_state.h"
#include "common/log.h"
#include "common/mem.h"

#define VALUE_BYTES 64

/* The value of a line "name:value" of INFO; false where there is none. */
static bool info_value(const char *info, const char *name, char out[static VALUE_BYTES])
{
    size_t len = strlen(name);

    for (const char *at = info; at; at = strchr(at, '\n')) {
        if (*at == '\n')
            at++;
        if (strncmp(at, name, len) == 0 && at[len] == ':') {
            snprintf(out, VALUE_BYTES, "%.*s", (int)strcspn(at + len + 1, "\r\n"), at + len + 1);
            return true;
        }
    }
    return false;
}

struct checking {
    struct ledger_redis *ledger;
    char aof[VALUE_BYTES], aof_write[VALUE_BYTES], policy[VALUE_BYTES], memory_max[VALUE_BYTES];
    char fsync[VALUE_BYTES]; /* "": not told */
    char loading[VALUE_BYTES];
};

static const char *why_not(const struct checking *checking)
{
    enum pd_ledger_durability wanted = checking->ledger->config.durability;

    if (wanted == PD_LEDGER_RELAXED)
        return "";
    if (strcmp(checking->aof, "1") != 0)
        return "Redis keeps no append-only file (appendonly yes)";
    if (strcmp(checking->aof_write, "err") == 0)
        return "Redis cannot write its append-only file";
    if (strcmp(checking->fsync, "no") == 0)
        return "Redis never syncs its append-only file (appendfsync always, or everysec)";
    if (wanted == PD_LEDGER_FSYNC && strcmp(checking->fsync, "always") != 0)
        return "Redis does not sync its append-only file at each write (appendfsync always)";
    if (strcmp(checking->memory_max, "0") != 0 && strcmp(checking->policy, "noeviction") != 0)
        return "Redis may evict what it was given (maxmemory-policy noeviction)";
    return "";
}

static void conclude(struct ledger_redis *ledger, const char *why)
{
    bool changed = !ledger->checked || strcmp(ledger->why, why) != 0;

    ledger->checked = true;
    pd_strcpy(ledger->why, sizeof ledger->why, why);
    if (changed && *why) {
        pd_log(PD_LOG_WARN, "ledger",
               "nothing is accepted: POST /executions and Idempotency-Key get 503", "why", why,
               NULL);
        ledger->told = true;
    } else if (changed && ledger->told) {
        pd_log(PD_LOG_INFO, "ledger", "executions are accepted again", NULL);
    }
}

static void on_fsync(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct checking *checking = arg;
    struct ledger_redis *ledger = checking->ledger;
    const struct pd_redis_reply *value = err ? NULL : pd_redis_reply_string(reply, 1);

    /* Where CONFIG is forbidden, what INFO says counts. */
    if (value)
        pd_strcpy(checking->fsync, VALUE_BYTES, value->text);
    /* While it reads its file, INFO says that it keeps none. */
    if ((!err || reply) && !ledger->closing && strcmp(checking->loading, "1") != 0)
        conclude(ledger, why_not(checking));
    free(checking);
    pd_ledger_redis_unref(ledger);
}

static void on_info(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    static const char words[][12] = {"CONFIG", "GET", "appendfsync"};
    struct checking *checking = arg;
    struct ledger_redis *ledger = checking->ledger;
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(words[0]), PD_REDIS_TEXT(words[1]),
                                        PD_REDIS_TEXT(words[2])};
    struct pd_err why;

    if (!err && reply->type == PD_REDIS_STRING) {
        info_value(reply->text, "aof_enabled", checking->aof);
        info_value(reply->text, "aof_last_write_status", checking->aof_write);
        info_value(reply->text, "maxmemory_policy", checking->policy);
        info_value(reply->text, "maxmemory", checking->memory_max);
        info_value(reply->text, "loading", checking->loading);
    } else if (reply && ledger->config.durability != PD_LEDGER_RELAXED) {
        conclude(ledger, "Redis does not say how it is set up (INFO is forbidden)");
    }
    if (err || pd_redis_command(ledger->config.redis, args, 3, on_fsync, checking, &why) < 0) {
        free(checking);
        pd_ledger_redis_unref(ledger);
    }
}

void pd_ledger_redis_check(struct ledger_redis *ledger)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("INFO")};
    struct checking *checking;
    struct pd_err err;

    if (ledger->config.durability == PD_LEDGER_RELAXED) {
        conclude(ledger, "");
        return;
    }
    checking = PD_NEW(struct checking);
    checking->ledger = ledger;
    pd_strcpy(checking->memory_max, VALUE_BYTES, "0");
    if (pd_redis_command(ledger->config.redis, args, 1, on_info, checking, &err) < 0)
        free(checking);
    else
        pd_ledger_redis_ref(ledger);
}

int pd_ledger_redis_may_accept(const struct ledger_redis *ledger, struct pd_err *err)
{
    if (!pd_redis_is_up(ledger->config.redis))
        return pd_err_set(err, PD_UNAVAILABLE, "Redis is not in reach: nothing is accepted now");
    if (*ledger->why)
        return pd_err_set(err, PD_UNAVAILABLE,
                          "%s, so what is accepted would not last: nothing is. Relax it by "
                          "PADDOCK_REDIS_DURABILITY=relaxed",
                          ledger->why);
    if (!ledger->joined || !ledger->checked)
        return pd_err_set(err, PD_UNAVAILABLE, "this replica is not known in Redis yet");
    /* What it accepts ends in its records, on its way to PostgreSQL. */
    return pd_records_may_accept(ledger->config.records, err);
}
