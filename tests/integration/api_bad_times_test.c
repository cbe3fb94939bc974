/* The HTTP API and clients that are slow, silent, gone, or too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "tests/lib/api_rig.h"

static void test_body_never_ends(void **state)
{
    static const char head[] = "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                               "\r\n"
                               "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    struct reply reply;
    int fd = dial(*state);

    send_text(fd, head);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 408);
    assert_non_null(strstr(reply.head, "Connection: close"));
    reply_fini(&reply);
    close(fd);
}

/* A byte now and then keeps the body idle clock happy, but not the total. */
static void test_body_drips(void **state)
{
    struct reply reply = {.status = 0};
    struct pollfd poll_fd;
    int fd = dial(*state);

    send_text(fd, "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                  "\r\n"
                  "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n");
    poll_fd = (struct pollfd){.fd = fd, .events = POLLIN};
    for (int i = 0; i < 100 && poll(&poll_fd, 1, 100) == 0; i++)
        send_text(fd, " ");
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 408);
    reply_fini(&reply);
    close(fd);
}

static void test_silent_connection_is_closed(void **state)
{
    struct reply reply;
    char byte;
    int silent = dial(*state);
    int half = dial(*state);

    send_text(half, "GET /liv");
    assert_int_equal(recv(silent, &byte, 1, 0), 0);
    assert_true(receive(half, &reply));
    assert_int_equal(reply.status, 408);
    reply_fini(&reply);
    close(silent);
    close(half);
}

static void raise_files(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

enum { MANY = 10000 };

/* In a process of their own, since descriptors are counted by process. After
 * fork(2) from a program with threads: system calls only. */
static void be_silent(const struct sockaddr_in *address, int ready, int until)
{
    char byte = 0;

    for (int i = 0; i < MANY; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
            _exit(1);
    }
    (void)!write(ready, &byte, 1);
    (void)!read(until, &byte, 1);
    _exit(0);
}

static void test_ten_thousand_silent(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rig->port)};
    struct rlimit limit;
    int ready[2], until[2];
    char byte;
    pid_t child;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < MANY + 2048) {
        printf("SKIP integration/api_bad_times_test ten_thousand_silent: at most %llu open files\n",
               (unsigned long long)limit.rlim_cur);
        skip();
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(pipe2(ready, O_CLOEXEC) | pipe2(until, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        close(ready[0]);
        close(until[1]);
        be_silent(&address, ready[1], until[0]);
    }
    close(ready[1]);
    close(until[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    for (int i = 0; i < 50; i++)
        pd_node_free(run_well(rig, "{\"code\":\"print still here\"}"));
    close(until[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    pd_node_free(run_well(rig, "{\"code\":\"print still here\"}"));
}

static void test_hang_up_frees_the_sandbox(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *text = post_text("{\"code\":\"hold\"}", NULL);
    int before = atomic_load(&rig->cancels);
    int fd = dial(rig);

    send_text(fd, text);
    wait_for(&rig->idle, SANDBOXES - 1);
    close(fd);
    wait_for(&rig->idle, SANDBOXES);
    assert_int_equal(atomic_load(&rig->cancels), before + 1);
}

/* Likewise for one that has sent its next request already. */
static void test_hang_up_of_a_pipeliner(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *text = post_text("{\"code\":\"hold\"}", NULL);
    int before = atomic_load(&rig->cancels);
    int fd = dial(rig);

    send_text(fd, text);
    wait_for(&rig->idle, SANDBOXES - 1);
    for (int i = 0; i < 100; i++)
        send_text(fd, text);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    close(fd);
    wait_for(&rig->cancels, before + 1);
    wait_for(&rig->idle, SANDBOXES);
}

static void test_hang_up_while_waiting(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *hold = post_text("{\"code\":\"hold\"}", NULL);
    int fds[SANDBOXES + 2];

    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        fds[i] = dial(rig);
        send_text(fds[i], hold);
    }
    wait_for(&rig->idle, 0);
    for (size_t i = PD_COUNT(fds); i-- > 0;)
        close(fds[i]);
    wait_for(&rig->idle, SANDBOXES);
}

/* Bodies that are on their way count together: 413 is for one, 503 for many. */
static void test_many_large_bodies(void **state)
{
    static char block[1 << 20];
    struct reply reply;
    int refused = 0;
    int fds[4];

    memset(block, ' ', sizeof block);
    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        fds[i] = dial(*state);
        send_text(fds[i], "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                          "\r\n"
                          "Content-Type: application/json\r\nContent-Length: 1100000\r\n\r\n");
        send_all(fds[i], block, sizeof block);
    }
    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        assert_true(receive(fds[i], &reply));
        assert_true(reply.status == 503 || reply.status == 408);
        refused += reply.status == 503 && strstr(reply.head, "Retry-After: ");
        reply_fini(&reply);
        close(fds[i]);
    }
    assert_int_equal(refused, 1);
    pd_node_free(run_well(*state, "{\"code\":\"print again\"}"));
}

static void test_full_queue(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *hold = post_text("{\"code\":\"hold\"}", NULL);
    struct reply reply;
    int fds[SANDBOXES + 4];

    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        fds[i] = dial(rig);
        send_text(fds[i], hold);
    }
    wait_for(&rig->idle, 0);
    execute(rig, "{\"code\":\"print x\"}", &reply);
    assert_true(reply.status == 429 || reply.status == 503);
    assert_non_null(strstr(reply.head, "Retry-After: "));
    reply_fini(&reply);
    for (size_t i = 0; i < PD_COUNT(fds); i++)
        close(fds[i]);
    wait_for(&rig->idle, SANDBOXES);
}

static void test_no_sandbox_in_time(void **state)
{
    struct reply reply;

    execute(*state, "{\"code\":\"print x\",\"language\":\"js\"}", &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.head, "Retry-After: "));
    reply_fini(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_never_ends),
        cmocka_unit_test(test_body_drips),
        cmocka_unit_test(test_silent_connection_is_closed),
        cmocka_unit_test(test_ten_thousand_silent),
        cmocka_unit_test(test_hang_up_frees_the_sandbox),
        cmocka_unit_test(test_hang_up_of_a_pipeliner),
        cmocka_unit_test(test_hang_up_while_waiting),
        cmocka_unit_test(test_many_large_bodies),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_no_sandbox_in_time),
    };

    raise_files();
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("api_bad_times", tests, rig_set_up, rig_close);
}
