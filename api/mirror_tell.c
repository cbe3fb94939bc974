/* Runs here that are watched elsewhere: each replica that asks is an onlooker here, which is
 * sent what there is as one message at a time, PD_MIRROR_WINDOW_BYTES ahead of what it has
 * taken at most. What it is too slow for is trimmed from the journal, and told as dropped. */
#include <stdlib.h>
#include <string.h>

#include "api/mirror_state.h"
#include "common/log.h"
#include "common/mem.h"

#define LINE_HEAD_BYTES 24
/* Of all messages under way: the connection is the ledger's, too. One more may be begun
 * below it. */
#define FLYING_BYTES_MAX (16u * 1024 * 1024)

struct tell {
    struct pd_ring in_mirror;
    struct pd_mirror *mirror;
    char peer[PD_MIRROR_NAME_BYTES];
    char run[PD_MIRROR_RUN_BYTES];
    uint64_t ask;
    struct pd_watch *watch;
    uint64_t sent_bytes, taken_bytes; /* of payloads */
    uint64_t due_ms;                  /* then its silence is its end */
    bool on_its_way;                  /* a message that Redis has not answered, */
    size_t flying;                    /* of so many bytes */
    bool over;                        /* and it is the last one */
    bool dropped;                     /* freed by that answer */
};

static void tell_drop(struct tell *tell)
{
    if (tell->dropped)
        return;
    tell->dropped = true;
    pd_watch_close(tell->watch);
    pd_ring_remove(&tell->in_mirror);
    tell->mirror->n_tells--;
    if (!tell->on_its_way)
        free(tell);
}

static void say_gone(struct tell *tell)
{
    struct pd_mirror_message gone = {.word = PD_MIRROR_GONE, .ask = tell->ask};
    struct pd_err err;

    (void)pd_mirror_say(tell->mirror, tell->peer, &gone, NULL, NULL, &err);
}

/* ---- telling ---- */

static void put_event(const struct pd_entry *event, struct pd_buf *out)
{
    char gap[PD_GAP_BYTES_MAX];
    const char *json = event->json;
    size_t len = event->len;

    if (len > PD_MIRROR_EVENT_BYTES_MAX) {
        pd_journal_format_gap(event->from_seq, event->seq, event->output_bytes, gap);
        json = gap;
        len = strlen(gap);
    }
    /* It fits: see pump. */
    (void)!pd_buf_addf(out, NULL, "%zu ", event->output_bytes);
    (void)!pd_buf_add(out, json, len, NULL);
    (void)!pd_buf_add(out, "\n", 1, NULL);
}

static void collect(struct tell *tell, struct pd_buf *out)
{
    struct pd_entry *event;

    while (out->len < PD_MIRROR_PIECE_BYTES && (event = pd_watch_next(tell->watch))) {
        put_event(event, out);
        pd_entry_unref(event);
    }
}

static void pump(struct tell *tell);

static void on_told(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct tell *tell = arg;
    bool heard = !err && reply->type == PD_REDIS_INTEGER && reply->integer > 0;

    tell->on_its_way = false;
    tell->mirror->flying -= tell->flying;
    if (tell->dropped)
        free(tell);
    else if (!heard || tell->over) /* one that was not heard is asked for again */
        tell_drop(tell);
    else
        pump(tell);
}

static void pump(struct tell *tell)
{
    struct pd_mirror_message message = {.word = PD_MIRROR_EVENTS, .ask = tell->ask};
    pd_autobuf struct pd_buf lines = {.data = NULL};
    struct pd_err err;

    if (tell->on_its_way || tell->mirror->flying >= FLYING_BYTES_MAX ||
        tell->sent_bytes - tell->taken_bytes >= PD_MIRROR_WINDOW_BYTES)
        return;
    if (pd_watch_broken(tell->watch)) {
        say_gone(tell);
        tell_drop(tell);
        return;
    }
    pd_buf_init(&lines, PD_MIRROR_PIECE_BYTES + LINE_HEAD_BYTES + PD_MIRROR_EVENT_BYTES_MAX + 1);
    collect(tell, &lines);
    tell->over = pd_watch_is_over(tell->watch);
    if (lines.len == 0) {
        if (tell->over)
            tell_drop(tell);
        return;
    }
    message.payload = lines.data;
    message.payload_len = lines.len;
    tell->sent_bytes += lines.len;
    tell->on_its_way = true;
    tell->flying = lines.len;
    if (pd_mirror_say(tell->mirror, tell->peer, &message, on_told, tell, &err) < 0) {
        tell->on_its_way = false;
        tell_drop(tell);
        return;
    }
    tell->mirror->flying += tell->flying;
}

static void on_more(void *arg)
{
    pump(arg);
}

static const struct pd_watch_events watch_events = {.more = on_more};

/* ---- what others say ---- */

static struct tell *find(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    for (struct pd_ring *at = mirror->tells.next; at != &mirror->tells; at = at->next) {
        struct tell *tell = PD_CONTAINER_OF(at, struct tell, in_mirror);
        if (tell->ask == message->ask && strcmp(tell->peer, message->from) == 0)
            return tell;
    }
    return NULL;
}

static void on_where(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    struct pd_execution *execution = pd_executions_find(mirror->config.executions, message->run);
    struct pd_mirror_message answer = {.word = PD_MIRROR_NONE};

    if (execution) {
        answer.word = PD_MIRROR_HERE;
        answer.born = pd_execution_born(execution);
        answer.done = pd_execution_is_done(execution);
        answer.number = pd_execution_last_seq(execution);
        pd_strcpy(answer.key, sizeof answer.key, pd_execution_key_id(execution));
    }
    pd_mirror_answer(mirror, message, &answer);
}

/* What was asked for before of the same run is not wanted any more. */
static void drop_earlier(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    struct pd_ring *next;

    for (struct pd_ring *at = mirror->tells.next; at != &mirror->tells; at = next) {
        struct tell *tell = PD_CONTAINER_OF(at, struct tell, in_mirror);
        next = at->next;
        if (strcmp(tell->run, message->run) == 0 && strcmp(tell->peer, message->from) == 0)
            tell_drop(tell);
    }
}

static struct pd_watch *open_watch(struct tell *tell, uint64_t from_seq)
{
    struct pd_mirror *mirror = tell->mirror;
    struct pd_execution *execution = pd_executions_find(mirror->config.executions, tell->run);

    if (!execution || mirror->n_tells >= PD_MIRROR_TELLS_MAX)
        return NULL;
    return pd_watch_open(execution, from_seq > 0 ? from_seq : 1, false, &watch_events, tell);
}

static void on_follow(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    struct pd_mirror_message gone = {.word = PD_MIRROR_GONE};
    struct tell *tell = PD_NEW(struct tell);

    drop_earlier(mirror, message);
    tell->mirror = mirror;
    tell->ask = message->ask;
    tell->due_ms = pd_mirror_now_ms(mirror) + PD_MIRROR_LEASE_MS;
    pd_strcpy(tell->peer, sizeof tell->peer, message->from);
    pd_strcpy(tell->run, sizeof tell->run, message->run);
    tell->watch = open_watch(tell, message->number);
    if (!tell->watch) {
        free(tell);
        pd_mirror_answer(mirror, message, &gone);
        return;
    }
    pd_ring_append(&mirror->tells, &tell->in_mirror);
    mirror->n_tells++;
    pd_mirror_wake(mirror);
    pump(tell);
}

static void on_more_wanted(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    struct pd_mirror_message answer = {.word = PD_MIRROR_GONE};
    struct tell *tell = find(mirror, message);

    if (tell) {
        answer.word = PD_MIRROR_STILL;
        answer.number = pd_watch_next_seq(tell->watch);
        tell->due_ms = pd_mirror_now_ms(mirror) + PD_MIRROR_LEASE_MS;
        if (message->number <= tell->sent_bytes && message->number > tell->taken_bytes)
            tell->taken_bytes = message->number;
    }
    pd_mirror_answer(mirror, message, &answer);
    if (tell)
        pump(tell);
}

void pd_mirror_tell_heard(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    struct tell *tell;

    switch (message->word) {
    case PD_MIRROR_WHERE:
        on_where(mirror, message);
        break;
    case PD_MIRROR_FOLLOW:
        on_follow(mirror, message);
        break;
    case PD_MIRROR_MORE:
        on_more_wanted(mirror, message);
        break;
    default: /* stop */
        tell = find(mirror, message);
        if (tell)
            tell_drop(tell);
    }
}

void pd_mirror_tells_tick(struct pd_mirror *mirror)
{
    uint64_t now_ms = pd_mirror_now_ms(mirror);
    struct pd_ring *next;

    for (struct pd_ring *at = mirror->tells.next; at != &mirror->tells; at = next) {
        struct tell *tell = PD_CONTAINER_OF(at, struct tell, in_mirror);
        next = at->next;
        if (tell->due_ms > now_ms) {
            pump(tell); /* what was held back by others */
            continue;
        }
        pd_log(PD_LOG_DEBUG, "mirror", "a replica that was told of a run has gone", "run",
               tell->run, NULL);
        tell_drop(tell);
    }
}

void pd_mirror_tells_close(struct pd_mirror *mirror)
{
    while (!pd_ring_is_empty(&mirror->tells)) {
        struct tell *tell = PD_CONTAINER_OF(mirror->tells.next, struct tell, in_mirror);
        say_gone(tell);
        tell_drop(tell);
    }
}
