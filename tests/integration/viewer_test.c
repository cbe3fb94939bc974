/* Clients of live output that say nothing, take nothing or are not there any more: through
 * real sockets, with limits of milliseconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>

#include "api/client_frame.h"
#include "api/plain.h"
#include "tests/lib/api_rig.h"

#define FRAME_BYTES_MAX (4u << 20)

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

static const struct pd_viewer_limits quick = {.beat_ms = 100, .idle_ms = 500, .life_ms = 1500};
static const struct pd_viewer_limits patient = {.beat_ms = 100, .idle_ms = 60000, .life_ms = 60000};

static int set_up_quick(void **state)
{
    return rig_open(state, &quick, NULL);
}

static int set_up_patient(void **state)
{
    return rig_open(state, &patient, NULL);
}

/* ---- a client ---- */

/* A frame from the server: its opcode, 0 at the end of the connection. */
struct frame {
    int opcode;
    size_t len;
    char *data;
};

static bool receive_all(int fd, void *data, size_t len)
{
    for (char *at = data; len > 0;) {
        ssize_t n = recv(fd, at, len, 0);
        if (n < 0 && errno != ECONNRESET)
            fail_msg("nothing came for %d s", RECEIVE_S);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static struct frame hear(int fd)
{
    struct frame frame = {.opcode = 0};
    unsigned char head[2], more[8];
    size_t n;

    if (!receive_all(fd, head, 2))
        return frame;
    assert_false(head[1] & 0x80); /* a server does not mask */
    frame.len = head[1];
    n = frame.len == 126 ? 2 : frame.len == 127 ? 8 : 0;
    if (!receive_all(fd, more, n))
        return frame;
    for (size_t i = 0; i < n; i++)
        frame.len = (i ? frame.len << 8 : 0) + more[i];
    assert_true(frame.len < FRAME_BYTES_MAX);
    frame.data = pd_calloc(frame.len + 1, 1);
    if (receive_all(fd, frame.data, frame.len))
        frame.opcode = head[0] & 15;
    return frame;
}

static void say(int fd, int opcode, const char *data, size_t len)
{
    unsigned char head[14] = {(unsigned char)(0x80 | opcode)};
    size_t more = len < 126 ? 0 : len < 65536 ? 2 : 8; /* the shortest: section 5.2 */

    head[1] = (unsigned char)(0x80 | (more == 0 ? len : more == 2 ? 126 : 127));
    for (size_t i = 0; i < more; i++)
        head[2 + i] = (unsigned char)(len >> (8 * (more - 1 - i)));
    send_all(fd, head, 2 + more + 4); /* a mask of zeros changes nothing */
    send_all(fd, data, len);
}

static void say_text(int fd, const char *text)
{
    say(fd, TEXT, text, strlen(text));
}

static int open_socket(const struct rig *rig, const char *path)
{
    pd_autofree char *head = pd_asprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " KEY
                                         "\r\n"
                                         "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                         "Sec-WebSocket-Version: 13\r\n"
                                         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                                         "Sec-WebSocket-Protocol: paddock.v1\r\n\r\n",
                                         path);
    struct reply reply;
    int fd = dial(rig);

    send_text(fd, head);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 101);
    reply_fini(&reply);
    return fd;
}

/* On to the end, with every ping answered or none: the close code; 0: it was cut off. */
static int until_closed(int fd, bool answers, size_t *ret_pings)
{
    size_t pings = 0;
    int code = 0;

    for (;;) {
        struct frame frame = hear(fd);
        if (frame.opcode == PING && answers)
            say(fd, PONG, frame.data, frame.len);
        pings += frame.opcode == PING;
        if (frame.opcode == CLOSE && frame.len >= 2)
            code = (unsigned char)frame.data[0] << 8 | (unsigned char)frame.data[1];
        free(frame.data);
        if (frame.opcode == CLOSE)
            say(fd, CLOSE, "", 0);
        if (frame.opcode == 0 || frame.opcode == CLOSE)
            break;
    }
    close(fd);
    if (ret_pings)
        *ret_pings = pings;
    return code;
}

/* The next text that has this in it. Pings are answered. */
static char *until_text(int fd, const char *wanted)
{
    for (;;) {
        struct frame frame = hear(fd);
        assert_int_not_equal(frame.opcode, 0);
        if (frame.opcode == CLOSE)
            fail_msg("closed with %d, %.*s",
                     (unsigned char)frame.data[1] | (unsigned char)frame.data[0] << 8,
                     (int)frame.len - 2, frame.data + 2);

        if (frame.opcode == PING)
            say(fd, PONG, frame.data, frame.len);
        if (frame.opcode == TEXT && strstr(frame.data, wanted))
            return frame.data;
        free(frame.data);
    }
}

static void skip_to(int fd, const char *wanted)
{
    free(until_text(fd, wanted));
}

/* Start a run that goes on; its id. */
static void start(int fd, const char *more, char id[static 64])
{
    pd_autofree char *text = pd_asprintf("{\"type\":\"run\",\"timeout\":10%s}", more);
    char *accepted;

    say_text(fd, text);
    accepted = until_text(fd, "\"accepted\"");
    assert_int_equal(sscanf(strstr(accepted, "\"id\":\"") + 6, "%63[^\"]", id), 1);
    free(accepted);
    skip_to(fd, "\"started\"");
}

#define HOLD ",\"code\":\"hold\""

static int64_t now_ms(void)
{
    return pd_time_now().ns / 1000000;
}

/* ---- time runs out ---- */

static void test_idle(void **state)
{
    struct rig *rig = *state;
    int64_t begun = now_ms();
    size_t pings;
    int fd = open_socket(rig, "/execute/stream");

    assert_int_equal(until_closed(fd, true, &pings), PD_CLOSE_IDLE);
    assert_true(now_ms() - begun >= quick.idle_ms);
    assert_true(pings >= 2);
}

static void test_life_of_its_own_run(void **state)
{
    struct rig *rig = *state;
    int cancels = atomic_load(&rig->cancels);
    int64_t begun = now_ms();
    int fd = open_socket(rig, "/execute/stream");
    char id[64];

    start(fd, HOLD, id);
    assert_int_equal(until_closed(fd, true, NULL), PD_CLOSE_LIFE);
    assert_true(now_ms() - begun >= quick.life_ms);
    wait_for(&rig->cancels, cancels + 1); /* its run went along */
    wait_for(&rig->idle, SANDBOXES);
}

/* Onlookers are told, each in its way; the run that they look at goes on. */
static void test_life_of_onlookers(void **state)
{
    struct rig *rig = *state;
    int owner = open_socket(rig, "/execute/stream");
    char id[64];
    pd_autofree char *path = NULL;
    pd_autofree char *ask = NULL;
    char text[8192] = "";
    size_t used = 0;
    int socket, sse;
    ssize_t n;

    start(owner, HOLD ",\"detach\":true", id);
    path = pd_asprintf("/executions/%s/stream", id);
    ask = pd_asprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " KEY "\r\n\r\n", path);
    socket = open_socket(rig, path);
    sse = dial(rig);
    send_text(sse, ask);
    close(owner);
    assert_int_equal(until_closed(socket, true, NULL), PD_CLOSE_LIFE);
    while (used < sizeof text - 1 && (n = recv(sse, text + used, sizeof text - 1 - used, 0)) > 0)
        used += (size_t)n;
    close(sse);
    assert_non_null(strstr(text, "event: started\n"));
    assert_non_null(strstr(text, ":\n\n"));     /* a heartbeat */
    assert_null(strstr(text, "\r\n0\r\n\r\n")); /* cut off: so that it comes again */
    socket = open_socket(rig, path);            /* it is there still */
    skip_to(socket, "\"started\"");
    close(socket);
}

/* ---- who is not there ---- */

static void test_pings_that_nobody_answers(void **state)
{
    struct rig *rig = *state;
    int cancels = atomic_load(&rig->cancels);
    int idle = open_socket(rig, "/execute/stream");
    int busy = open_socket(rig, "/execute/stream");
    int64_t begun = now_ms();
    size_t pings;
    char id[64];

    start(busy, HOLD, id);
    assert_int_equal(until_closed(idle, false, &pings), 0); /* 1006: no goodbye */
    assert_true(pings >= 1 && pings <= 2);
    assert_true(now_ms() - begun >= patient.beat_ms);
    assert_int_equal(until_closed(busy, false, NULL), 0);
    wait_for(&rig->cancels, cancels + 1);
    wait_for(&rig->idle, SANDBOXES);
}

/* Nothing reaches the peer any more, not even what its kernel would answer: a cable that
 * was pulled. */
static void vanish(int fd)
{
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const struct sock_fprog program = {.len = 1, .filter = nothing};

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

static void test_a_vanished_peer_of_a_quiet_run(void **state)
{
    struct rig *rig = *state;
    int cancels = atomic_load(&rig->cancels);
    int fd = open_socket(rig, "/execute/stream");
    char id[64];

    start(fd, HOLD, id);
    vanish(fd);
    wait_for(&rig->cancels, cancels + 1);
    wait_for(&rig->idle, SANDBOXES);
    close(fd);
}

static void test_a_vanished_peer_of_a_run_that_prints(void **state)
{
    struct rig *rig = *state;
    int cancels = atomic_load(&rig->cancels);
    int fd = open_socket(rig, "/execute/stream");
    char id[64];

    start(fd, ",\"code\":\"flood 4000000\"", id);
    vanish(fd);
    wait_for(&rig->cancels, cancels + 1);
    wait_for(&rig->idle, SANDBOXES);
    close(fd);
}

static void test_a_vanished_onlooker_by_sse(void **state)
{
    struct rig *rig = *state;
    int owner = open_socket(rig, "/execute/stream");
    pd_autofree char *ask = NULL;
    struct reply reply;
    char id[64];
    int sse;

    start(owner, HOLD, id);
    ask = pd_asprintf(
        "GET /executions/%s/stream HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " KEY "\r\n\r\n", id);
    sse = dial(rig);
    send_text(sse, ask);
    assert_true(receive(sse, &reply));
    reply_fini(&reply);
    wait_for(&rig->connections, 2);
    vanish(sse);
    for (int i = 0; i < 100 && atomic_load(&rig->connections) > 1; i++) {
        say(owner, PONG, "", 0); /* which is there, and stays */
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    assert_int_equal(atomic_load(&rig->connections), 1);
    say_text(owner, "{\"type\":\"cancel\"}");
    skip_to(owner, "\"canceled\"");
    close(sse);
    close(owner);
    wait_for(&rig->idle, SANDBOXES);
}

/* Its kernel takes some, and it takes nothing. */
static void test_who_takes_nothing(void **state)
{
    struct rig *rig = *state;
    int cancels = atomic_load(&rig->cancels);
    int fd = open_socket(rig, "/execute/stream");
    char id[64];

    start(fd, ",\"code\":\"flood 100000000\"", id);
    wait_for(&rig->cancels, cancels + 1);
    wait_for(&rig->idle, SANDBOXES);
    close(fd);
}

/* ---- stdin that nobody reads ---- */

static void be_full(struct rig *rig, bool full)
{
    for (size_t i = 0; i < SANDBOXES; i++)
        rig->links[i]->stdin_full = full;
}

static char *stdin_frame(size_t len)
{
    char *text = pd_calloc(len + 64, 1);
    size_t used = (size_t)sprintf(text, "{\"type\":\"stdin\",\"data\":\"");

    memset(text + used, 'x', len);
    memcpy(text + used + len, "\"}", 2);
    return text;
}

/* A client that sends more than is taken is not read from, nor held to its pongs. */
static void test_not_read_from_is_not_lost(void **state)
{
    struct rig *rig = *state;
    int cancels = atomic_load(&rig->cancels);
    int fd = open_socket(rig, "/execute/stream");
    pd_autofree char *frame = stdin_frame(100000);
    const struct timespec beats = {.tv_nsec = 600000000};
    const struct timeval soon = {.tv_usec = 50000};
    char id[64];
    int buffer = 65536;

    be_full(rig, true);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    start(fd, HOLD ",\"stdin_open\":true", id);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    for (int i = 0; i < 40; i++)
        say_text(fd, frame);
    nanosleep(&beats, NULL);
    assert_int_equal(atomic_load(&rig->cancels), cancels);
    assert_true(atomic_load(&rig->idle) == SANDBOXES - 1);
    close(fd);
    wait_for(&rig->cancels, cancels + 1);
    wait_for(&rig->idle, SANDBOXES);
    be_full(rig, false);
}

static size_t credit_of(int fd)
{
    pd_autofree char *text = until_text(fd, "\"stdin_credit\"");
    size_t bytes = 0;

    assert_int_equal(sscanf(text, "{\"type\":\"stdin_credit\",\"bytes\":%zu}", &bytes), 1);
    return bytes;
}

static int start_counted(struct rig *rig, const char *code, size_t *ret_credit)
{
    pd_autofree char *text = pd_asprintf(
        "{\"type\":\"run\",\"timeout\":10,\"code\":\"%s\","
        "\"stdin_open\":true,\"stdin_credit\":true}",
        code);
    int fd = open_socket(rig, "/execute/stream");

    say_text(fd, text);
    *ret_credit = credit_of(fd);
    skip_to(fd, "\"started\"");
    return fd;
}

/* Who keeps to the credit is always read from: a cancel comes through. */
static void test_a_cancel_behind_all_the_credit(void **state)
{
    struct rig *rig = *state;
    size_t credit;
    int fd;

    be_full(rig, true);
    fd = start_counted(rig, "hold", &credit);
    assert_int_equal(credit, PD_EXECUTION_STDIN_BYTES_MAX);
    while (credit > 0) {
        size_t piece = credit < 60000 ? credit : 60000;
        pd_autofree char *frame = stdin_frame(piece);
        say_text(fd, frame);
        credit -= piece;
    }
    say_text(fd, "{\"type\":\"cancel\"}");
    skip_to(fd, "\"status\":\"canceled\"");
    assert_int_equal(until_closed(fd, true, NULL), PD_CLOSE_NORMAL);
    be_full(rig, false);
    wait_for(&rig->idle, SANDBOXES);
}

static void test_more_than_the_credit(void **state)
{
    struct rig *rig = *state;
    int cancels = atomic_load(&rig->cancels);
    pd_autofree char *frame = stdin_frame(100000);
    size_t credit;
    int fd;

    be_full(rig, true);
    fd = start_counted(rig, "hold", &credit);
    for (int i = 0; i < 3; i++)
        say_text(fd, frame);
    assert_int_equal(until_closed(fd, true, NULL), PD_CLOSE_TOO_BIG);
    wait_for(&rig->cancels, cancels + 1);
    be_full(rig, false);
    wait_for(&rig->idle, SANDBOXES);
}

/* Credit comes as the program reads, and never adds up to more than may wait. */
static void test_credit_comes_back(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *frame = stdin_frame(50000);
    size_t credit, sent = 0, echoed = 0;
    int fd = start_counted(rig, "cat", &credit);

    while (sent < 2000000) {
        while (credit < 50000) {
            struct frame heard = hear(fd);
            size_t bytes;
            if (heard.opcode != TEXT && heard.opcode != PING)
                fail_msg("ended with %d, %.*s", heard.opcode, (int)heard.len, heard.data);
            if (heard.opcode == PING)
                say(fd, PONG, heard.data, heard.len);
            else if (sscanf(heard.data, "{\"type\":\"stdin_credit\",\"bytes\":%zu}", &bytes) == 1)
                credit += bytes;
            else
                echoed += heard.len;
            free(heard.data);
        }
        assert_true(credit <= PD_EXECUTION_STDIN_BYTES_MAX);
        say_text(fd, frame);
        sent += 50000;
        credit -= 50000;
    }
    say_text(fd, "{\"type\":\"stdin_eof\"}");
    skip_to(fd, "\"exit\"");
    assert_true(echoed > 0);
    close(fd);
    wait_for(&rig->idle, SANDBOXES);
}

/* ---- plain runs, afterwards ---- */

static void run_plain(const struct rig *rig, const char *code, char id[static 64])
{
    pd_autofree char *body = pd_asprintf("{\"code\":\"%s\"}", code);
    struct reply reply;

    execute(rig, body, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(sscanf(strstr(reply.body, "\"id\":\"") + 6, "%63[^\"]", id), 1);
    reply_fini(&reply);
}

/* Types and data of all events, as they come over a socket to its end. */
static char *events_of(int fd)
{
    char *all = pd_strdup("");

    for (;;) {
        struct frame frame = hear(fd);
        pd_autofree char *before = all;
        const char *data, *type;
        if (frame.opcode == PING) {
            all = pd_strdup(before);
            free(frame.data);
            continue;
        }
        if (frame.opcode != TEXT) {
            all = pd_strdup(before);
            free(frame.data);
            break;
        }
        type = strstr(frame.data, "\"type\":\"") + 8;
        data = strstr(frame.data, "\"data\":");
        all = pd_asprintf("%s%.*s%s\n", before, (int)strcspn(type, "\""), type, data ? data : "");
        free(frame.data);
    }
    close(fd);
    return all;
}

/* What is told of it is what is told of the same run by a WebSocket of its own. */
static void test_a_plain_run_afterwards(void **state)
{
    static const char *const codes[] = {"both",   "print hello", "bytes",
                                        "exit 3", "kill 9",      "artifact"};
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        pd_autofree char *text = pd_asprintf("{\"type\":\"run\",\"code\":\"%s\"}", codes[i]);
        pd_autofree char *path = NULL;
        pd_autofree char *live = NULL;
        pd_autofree char *again = NULL;
        pd_autofree char *once_more = NULL;
        char id[64];
        int fd = open_socket(rig, "/execute/stream");

        say_text(fd, text);
        live = events_of(fd);
        run_plain(rig, codes[i], id);
        path = pd_asprintf("/executions/%s/stream", id);
        again = events_of(open_socket(rig, path));
        assert_string_equal(again, live);
        once_more = events_of(open_socket(rig, path));
        assert_string_equal(once_more, live);
    }
}

static int status_of(const struct rig *rig, const char *id)
{
    pd_autofree char *ask = pd_asprintf(
        "GET /executions/%s/stream HTTP/1.1\r\nHost: localhost\r\n"
        "X-API-Key: " KEY "\r\nConnection: close\r\n\r\n",
        id);
    struct reply reply;
    int status;

    exchange(rig, ask, &reply);
    status = reply.status;
    reply_fini(&reply);
    return status;
}

static void test_plain_runs_are_kept_within_bounds(void **state)
{
    struct rig *rig = *state;
    char first[64], second[64], id[64];

    run_plain(rig, "print x", first);
    run_plain(rig, "print y", second);
    assert_int_equal(status_of(rig, first), 200); /* looked at: it has a journal now */
    for (int i = 0; i < PD_PLAINS_MAX; i++)
        run_plain(rig, "print x", id);
    assert_int_equal(status_of(rig, second), 404);
    assert_int_equal(status_of(rig, first), 200);
    assert_int_equal(status_of(rig, id), 200);
    run_plain(rig, "print y", second);
    for (int i = 0; i < 5; i++)
        run_plain(rig, "flood 3000000", id);
    assert_int_equal(status_of(rig, second), 404); /* by their bytes */
    assert_int_equal(status_of(rig, id), 200);
}

#define QUICK(test) cmocka_unit_test_setup_teardown(test, set_up_quick, rig_close)
#define PATIENT(test) cmocka_unit_test_setup_teardown(test, set_up_patient, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUICK(test_idle),
        QUICK(test_life_of_its_own_run),
        QUICK(test_life_of_onlookers),
        PATIENT(test_pings_that_nobody_answers),
        PATIENT(test_a_vanished_peer_of_a_quiet_run),
        PATIENT(test_a_vanished_peer_of_a_run_that_prints),
        PATIENT(test_a_vanished_onlooker_by_sse),
        PATIENT(test_who_takes_nothing),
        PATIENT(test_not_read_from_is_not_lost),
        PATIENT(test_a_cancel_behind_all_the_credit),
        PATIENT(test_more_than_the_credit),
        PATIENT(test_credit_comes_back),
        PATIENT(test_a_plain_run_afterwards),
        PATIENT(test_plain_runs_are_kept_within_bounds),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("viewer", tests, NULL, NULL);
}
