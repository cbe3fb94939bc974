#include "api/shared_sessions.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"

#define CHANNEL "paddock:sessions"
#define INDEX "paddock:sessions"
#define SESSION "paddock:session:"
#define LINK "paddock:link:"
#define HEX_BYTES (2 * PD_DIGEST_BYTES + 1)
#define NAME_BYTES (sizeof SESSION + HEX_BYTES)
#define DIGITS 24
#define STALE_MAX 8

/* Redis's own clock, in milliseconds, so that no replica's matters. */
#define NOW                                                                                        \
    "local t = redis.call('TIME')\n"                                                               \
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

/* KEYS: session, index. ARGV: digest, key id, idle ms, life ms, how many at most. */
static const char begin_source[] = NOW
    "redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)\n"
    "while redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) do\n"
    "  local old = redis.call('ZRANGE', KEYS[2], 0, 0)[1]\n"
    "  redis.call('ZREM', KEYS[2], old)\n"
    "  redis.call('DEL', '" SESSION "' .. old)\n"
    "  redis.call('PUBLISH', '" CHANNEL "', 'end ' .. old)\n"
    "end\n"
    "redis.call('SET', KEYS[1], (now + ARGV[4]) .. ' ' .. ARGV[2], 'PX', ARGV[3])\n"
    "redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])\n"
    "redis.call('PEXPIRE', KEYS[2], ARGV[4])\n"
    "redis.call('PUBLISH', '" CHANNEL "', table.concat({'put', ARGV[1], ARGV[3], ARGV[4], "
    "ARGV[2]}, ' '))\n"
    "return 1\n";

/* KEYS: session, index. ARGV: digest, idle ms. */
static const char use_source[] = NOW
    "local kept = redis.call('GET', KEYS[1])\n"
    "if not kept then\n"
    "  redis.call('PUBLISH', '" CHANNEL "', 'end ' .. ARGV[1])\n"
    "  return 0\n"
    "end\n"
    "local last, key = string.match(kept, '^(%d+) (.+)$')\n"
    "local life = last - now\n"
    "local idle = math.min(tonumber(ARGV[2]), life)\n"
    "if idle <= 0 then return 0 end\n"
    "redis.call('PEXPIRE', KEYS[1], idle)\n"
    "redis.call('ZADD', KEYS[2], now + idle, ARGV[1])\n"
    "redis.call('PEXPIRE', KEYS[2], math.max(life, redis.call('PTTL', KEYS[2])))\n"
    "redis.call('PUBLISH', '" CHANNEL "', table.concat({'put', ARGV[1], idle, life, key}, ' '))\n"
    "return 1\n";

/* KEYS: session, index. ARGV: digest. */
static const char end_source[] = "redis.call('DEL', KEYS[1])\n"
                                 "redis.call('ZREM', KEYS[2], ARGV[1])\n"
                                 "redis.call('PUBLISH', '" CHANNEL "', 'end ' .. ARGV[1])\n"
                                 "return 1\n";

/* KEYS: index. All of them, as messages of the channel. */
static const char list_source[] = NOW
    "local found = {}\n"
    "for _, digest in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do\n"
    "  local name = '" SESSION "' .. digest\n"
    "  local kept = redis.call('GET', name)\n"
    "  local last, key = string.match(kept or '', '^(%d+) (.+)$')\n"
    "  if last and last - now > 0 then\n"
    "    table.insert(found, table.concat({'put', digest, math.max(redis.call('PTTL', name), 0), "
    "last - now, key}, ' '))\n"
    "  else\n"
    "    redis.call('ZREM', KEYS[1], digest)\n"
    "  end\n"
    "end\n"
    "return found\n";

/* KEYS: link. */
static const char redeem_source[] = "local key = redis.call('GET', KEYS[1])\n"
                                    "if key then redis.call('DEL', KEYS[1]) end\n"
                                    "return key\n";

struct pd_shared_sessions {
    struct pd_redis *redis;
    struct pd_sessions *sessions; /* NULL once it is closed */
    struct pd_redis_subscription *subscription;
    struct pd_redis_script begin, use, end, list, redeem;
    char untold[PD_SESSIONS_UNTOLD_MAX][HEX_BYTES]; /* a ring */
    size_t first_untold, n_untold;
    size_t asking; /* commands without an answer */
    bool overtaken; /* a message came while a list was on its way, which may be older */
    int stale;      /* lists in a row that were put aside for that */
};

/* A question to Redis, until its answer. */
struct question {
    struct pd_shared_sessions *shared;
    pd_shared_sessions_cb cb;
    void *arg;
    unsigned char digest[PD_DIGEST_BYTES]; /* of a session that begins */
    char key_id[PD_KEY_ID_BYTES];          /* likewise; else "" */
};

static void hex_of(const unsigned char *digest, char out[static HEX_BYTES])
{
    for (size_t i = 0; i < PD_DIGEST_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void maybe_free(struct pd_shared_sessions *shared)
{
    if (!shared->sessions && shared->asking == 0)
        free(shared);
}

static int ask(struct pd_shared_sessions *shared, const struct pd_redis_script *script,
               size_t n_keys, const struct pd_redis_arg *args, size_t n_args, pd_redis_cb cb,
               void *arg, struct pd_err *err)
{
    int rc = pd_redis_eval(shared->redis, script, n_keys, args, n_args, cb, arg, err);

    if (rc == 0)
        shared->asking++;
    return rc;
}

/* ---- the copy ---- */

static void ask_for_list(struct pd_shared_sessions *shared);

static void on_list(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_shared_sessions *shared = arg;

    shared->asking--;
    if (!err && shared->sessions && shared->overtaken && shared->stale < STALE_MAX) {
        shared->stale++;
        ask_for_list(shared);
    } else if (!err && shared->sessions) {
        shared->stale = 0;
        pd_sessions_drop_all(shared->sessions);
        for (size_t i = 0; i < reply->count; i++) {
            const struct pd_redis_reply *item = pd_redis_reply_string(reply, i);
            if (item)
                pd_shared_sessions_take(shared->sessions, item->text, item->len, pd_time_now());
        }
    }
    maybe_free(shared);
}

static void ask_for_list(struct pd_shared_sessions *shared)
{
    struct pd_err err;

    if (ask(shared, &shared->list, 1, (struct pd_redis_arg[]){PD_REDIS_TEXT(INDEX)}, 1, on_list,
            shared, &err) < 0)
        return; /* again when Redis is there */
    shared->overtaken = false;
}

static void on_answer(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_shared_sessions *shared = arg;

    (void)err;
    (void)reply;
    shared->asking--;
    maybe_free(shared);
}

static void remember_end(struct pd_shared_sessions *shared, const char *hex)
{
    if (shared->n_untold == PD_SESSIONS_UNTOLD_MAX) {
        shared->first_untold = (shared->first_untold + 1) % PD_SESSIONS_UNTOLD_MAX;
        shared->n_untold--;
    }
    pd_strcpy(shared->untold[(shared->first_untold + shared->n_untold++) % PD_SESSIONS_UNTOLD_MAX],
              HEX_BYTES, hex);
}

/* An end on its way to Redis. */
struct ending {
    struct pd_shared_sessions *shared;
    char hex[HEX_BYTES];
};

static void on_end_told(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct ending *ending = arg;
    struct pd_shared_sessions *shared = ending->shared;

    (void)reply;
    shared->asking--;
    if (err && shared->sessions)
        remember_end(shared, ending->hex); /* the connection is gone: told on the next one */
    free(ending);
    maybe_free(shared);
}

static void send_end(struct pd_shared_sessions *shared, const char *hex)
{
    struct ending *ending = PD_NEW(struct ending);
    char name[NAME_BYTES];
    struct pd_err err;

    ending->shared = shared;
    pd_strcpy(ending->hex, sizeof ending->hex, hex);
    snprintf(name, sizeof name, SESSION "%s", hex);
    if (ask(shared, &shared->end, 2,
            (struct pd_redis_arg[]){PD_REDIS_TEXT(name), PD_REDIS_TEXT(INDEX), PD_REDIS_TEXT(hex)},
            3, on_end_told, ending, &err) == 0)
        return;
    free(ending);
    remember_end(shared, hex);
}

/* From here on messages come; what was said before is read. */
static void on_begun(void *arg)
{
    struct pd_shared_sessions *shared = arg;

    for (size_t left = shared->n_untold; left > 0; left--) {
        char hex[HEX_BYTES];
        pd_strcpy(hex, sizeof hex, shared->untold[shared->first_untold]);
        shared->first_untold = (shared->first_untold + 1) % PD_SESSIONS_UNTOLD_MAX;
        shared->n_untold--;
        send_end(shared, hex);
    }
    ask_for_list(shared);
}

/* The two connections come up one after the other: what could not be asked then is now. */
static void on_up(void *arg)
{
    on_begun(arg);
}

static void on_message(void *arg, const void *data, size_t len)
{
    struct pd_shared_sessions *shared = arg;

    shared->overtaken = true;
    if (!pd_shared_sessions_take(shared->sessions, data, len, pd_time_now()))
        pd_log(PD_LOG_WARN, "login", "what came on the channel of sessions is no message", NULL);
}

static void on_used(void *arg, const unsigned char *digest)
{
    struct pd_shared_sessions *shared = arg;
    char hex[HEX_BYTES], name[NAME_BYTES], idle[DIGITS];
    struct pd_err err;

    hex_of(digest, hex);
    snprintf(name, sizeof name, SESSION "%s", hex);
    snprintf(idle, sizeof idle, "%lld", (long long)PD_SESSION_IDLE_MS);
    (void)!ask(shared, &shared->use, 2,
               (struct pd_redis_arg[]){PD_REDIS_TEXT(name), PD_REDIS_TEXT(INDEX),
                                       PD_REDIS_TEXT(hex), PD_REDIS_TEXT(idle)},
               4, on_answer, shared, &err);
}

int pd_shared_sessions_open(struct pd_redis *redis, struct pd_sessions *sessions,
                            struct pd_shared_sessions **ret_shared, struct pd_err *err)
{
    static const struct pd_redis_subscriber subscriber = {on_begun, on_message};
    struct pd_shared_sessions *shared = PD_NEW(struct pd_shared_sessions);
    int rc;

    shared->redis = redis;
    shared->sessions = sessions;
    shared->begin = pd_redis_script_of(begin_source);
    shared->use = pd_redis_script_of(use_source);
    shared->end = pd_redis_script_of(end_source);
    shared->list = pd_redis_script_of(list_source);
    shared->redeem = pd_redis_script_of(redeem_source);
    rc = pd_redis_subscribe(redis, CHANNEL, &subscriber, shared, &shared->subscription, err);
    if (rc < 0) {
        free(shared);
        return pd_err_wrap(err, "share the sessions of browsers");
    }
    pd_redis_observe(redis, &(struct pd_redis_observer){.up = on_up, .arg = shared});
    pd_sessions_on_use(sessions, on_used, shared);
    *ret_shared = shared;
    return 0;
}

void pd_shared_sessions_close(struct pd_shared_sessions *shared)
{
    if (!shared)
        return;
    pd_redis_unsubscribe(shared->subscription);
    pd_redis_unobserve(shared->redis, shared);
    pd_sessions_on_use(shared->sessions, NULL, NULL);
    shared->sessions = NULL;
    maybe_free(shared);
}

/* ---- what is asked for ---- */

static struct question *question_new(struct pd_shared_sessions *shared, pd_shared_sessions_cb cb,
                                     void *arg)
{
    struct question *question = PD_NEW(struct question);

    *question = (struct question){.shared = shared, .cb = cb, .arg = arg};
    return question;
}

static void on_answered(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct question *question = arg;
    struct pd_shared_sessions *shared = question->shared;

    shared->asking--;
    /* A list that was on its way may have known less. */
    if (!err && question->key_id[0] && shared->sessions)
        pd_sessions_put(shared->sessions, question->digest, question->key_id, pd_time_now(),
                        PD_SESSION_IDLE_MS, PD_SESSION_LIFE_MS);
    question->cb(question->arg, err,
                 !err && reply->type == PD_REDIS_STRING ? reply->text : NULL);
    free(question);
    maybe_free(shared);
}

static int ask_for(struct question *question, const struct pd_redis_script *script, size_t n_keys,
                   const struct pd_redis_arg *args, size_t n_args, struct pd_err *err)
{
    int rc = ask(question->shared, script, n_keys, args, n_args, on_answered, question, err);

    if (rc < 0)
        free(question);
    return rc;
}

int pd_shared_sessions_begin(struct pd_shared_sessions *shared, const char *token,
                             const char *key_id, pd_shared_sessions_cb cb, void *arg,
                             struct pd_err *err)
{
    struct question *question = question_new(shared, cb, arg);
    char hex[HEX_BYTES], name[NAME_BYTES], idle[DIGITS], life[DIGITS], most[DIGITS];

    pd_sessions_digest(token, question->digest);
    pd_strcpy(question->key_id, sizeof question->key_id, key_id);
    hex_of(question->digest, hex);
    snprintf(name, sizeof name, SESSION "%s", hex);
    snprintf(idle, sizeof idle, "%lld", (long long)PD_SESSION_IDLE_MS);
    snprintf(life, sizeof life, "%lld", (long long)PD_SESSION_LIFE_MS);
    snprintf(most, sizeof most, "%d", PD_SESSIONS_MAX);
    return ask_for(question, &shared->begin, 2,
                   (struct pd_redis_arg[]){PD_REDIS_TEXT(name), PD_REDIS_TEXT(INDEX),
                                           PD_REDIS_TEXT(hex), PD_REDIS_TEXT(key_id),
                                           PD_REDIS_TEXT(idle), PD_REDIS_TEXT(life),
                                           PD_REDIS_TEXT(most)},
                   7, err);
}

void pd_shared_sessions_end(struct pd_shared_sessions *shared, const char *token)
{
    unsigned char digest[PD_DIGEST_BYTES];
    char hex[HEX_BYTES];

    pd_sessions_digest(token, digest);
    hex_of(digest, hex);
    send_end(shared, hex);
}

int pd_shared_sessions_offer(struct pd_shared_sessions *shared, const char *key_id,
                             char ret_link[static PD_TOKEN_BYTES], pd_shared_sessions_cb cb,
                             void *arg, struct pd_err *err)
{
    unsigned char digest[PD_DIGEST_BYTES];
    char link[PD_TOKEN_BYTES], hex[HEX_BYTES], name[NAME_BYTES], life[DIGITS];
    struct question *question = question_new(shared, cb, arg);
    int rc;

    pd_sessions_make_token(link, digest);
    hex_of(digest, hex);
    snprintf(name, sizeof name, LINK "%s", hex);
    snprintf(life, sizeof life, "%lld", (long long)PD_LINK_LIFE_MS);
    rc = pd_redis_command(shared->redis,
                          (struct pd_redis_arg[]){PD_REDIS_TEXT("SET"), PD_REDIS_TEXT(name),
                                                  PD_REDIS_TEXT(key_id), PD_REDIS_TEXT("PX"),
                                                  PD_REDIS_TEXT(life)},
                          5, on_answered, question, err);
    if (rc < 0) {
        free(question);
    } else {
        shared->asking++;
        pd_strcpy(ret_link, PD_TOKEN_BYTES, link);
    }
    pd_wipe(link, sizeof link);
    return rc;
}

int pd_shared_sessions_redeem(struct pd_shared_sessions *shared, const char *link,
                              pd_shared_sessions_cb cb, void *arg, struct pd_err *err)
{
    unsigned char digest[PD_DIGEST_BYTES];
    char hex[HEX_BYTES], name[NAME_BYTES];

    pd_sessions_digest(link, digest);
    hex_of(digest, hex);
    snprintf(name, sizeof name, LINK "%s", hex);
    return ask_for(question_new(shared, cb, arg), &shared->redeem, 1,
                   (struct pd_redis_arg[]){PD_REDIS_TEXT(name)}, 1, err);
}
