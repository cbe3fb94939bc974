/* What it costs that executions are accepted, begun and finished: the ledger alone, no
 * sandbox and no HTTP.
 *
 *   bench_ledger FOLDER COUNT WIDTH [REDIS-URL [fsync]]
 *
 * So many executions, WIDTH outstanding at a time, first all accepted, then all begun,
 * then all finished; in Redis, or without a URL in SQLite below FOLDER. One line of
 * `name=value` pairs comes out: for each step and for the floors its rate a second
 * (accept_s, ...) and the median and 99th percentile of one in microseconds (accept_p50,
 * ...). Floors: `fdatasync`, 4 KiB written to a file in FOLDER that has its blocks already
 * (as a write-ahead log in use has), one at a time; `noop` (with Redis), a script that does
 * nothing by the same client, WIDTH outstanding. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/ledger_rig.h"
#include "tests/lib/loop_until.h"

#define STEP_TIMEOUT_MS 600000
#define BLOCK_BYTES 4096
#define CODE "print('hello')"
#define BODY "{\"code\":\"print('hello')\",\"language\":\"python\"}"
#define ANSWER "{\"success\":true,\"output\":\"hello\\n\",\"exit_code\":0}"

struct bench {
    struct pd_ledger_rig rig;
    long count, width;
    uint32_t *us;
    struct pd_redis_script noop;
    struct pd_buf answer;
    /* the step that is measured */
    void (*send)(struct bench *bench, long i);
    long sent, done;
    bool over;
    uint64_t *began_ns; /* by execution */
};

struct op {
    struct bench *bench;
    long i;
};

static char *id_of(long i, char out[static PD_RECORD_ID_BYTES])
{
    snprintf(out, PD_RECORD_ID_BYTES, "run_%027lx", (unsigned long)i);
    return out;
}

static struct op *op_new(struct bench *bench, long i)
{
    struct op *op = PD_NEW(struct op);

    op->bench = bench;
    op->i = i;
    bench->began_ns[i] = uv_hrtime();
    return op;
}

static void fill(struct bench *bench)
{
    while (bench->sent < bench->count && bench->sent - bench->done < bench->width) {
        long i = bench->sent++;
        bench->send(bench, i);
    }
}

static void on_step(void *arg, const struct pd_err *err)
{
    struct op *op = arg;
    struct bench *bench = op->bench;

    if (err) {
        fprintf(stderr, "execution %ld: %s\n", op->i, err->msg);
        exit(1);
    }
    bench->us[bench->done++] = (uint32_t)((uv_hrtime() - bench->began_ns[op->i]) / 1000);
    free(op);
    bench->over = bench->done == bench->count;
    fill(bench);
}

static void refused(const struct pd_err *err)
{
    fprintf(stderr, "refused: %s\n", err->msg);
    exit(1);
}

/* ---- the steps ---- */

static void on_accepted(void *arg, struct pd_accepted *results, size_t count,
                        const struct pd_err *err)
{
    (void)results;
    (void)count;
    on_step(arg, err);
}

static void send_accept(struct bench *bench, long i)
{
    char id[PD_RECORD_ID_BYTES];
    const struct pd_accept item = {.id = id_of(i, id),
                                   .key_id = "bench",
                                   .pool = "default",
                                   .language = "python",
                                   .kind = PD_RECORD_ASYNC,
                                   .code = CODE,
                                   .code_len = strlen(CODE),
                                   .body = BODY,
                                   .body_len = strlen(BODY)};
    struct pd_err err;

    if (bench->rig.ledger->ops->accept(bench->rig.ledger, &item, 1, on_accepted, op_new(bench, i),
                                       &err) < 0)
        refused(&err);
}

static void send_begin(struct bench *bench, long i)
{
    char id[PD_RECORD_ID_BYTES];
    struct pd_err err;

    if (bench->rig.ledger->ops->begin(bench->rig.ledger, id_of(i, id), on_step, op_new(bench, i),
                                      &err) < 0)
        refused(&err);
}

static void send_finish(struct bench *bench, long i)
{
    static const struct pd_run_result result = {.exit_code = 0};
    char id[PD_RECORD_ID_BYTES];
    const struct pd_record record = {.id = id_of(i, id),
                                     .key_id = "bench",
                                     .pool = "default",
                                     .language = "python",
                                     .sandbox = "default-bench",
                                     .kind = PD_RECORD_ASYNC,
                                     .code = CODE,
                                     .code_len = strlen(CODE),
                                     .ended_wall_ms = pd_wall_ms(),
                                     .cause = "exited",
                                     .result = &result,
                                     .answer = &bench->answer};

    bench->rig.ledger->ops->finish(bench->rig.ledger, &record, on_step, op_new(bench, i));
}

static void on_noop(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    (void)reply;
    on_step(arg, err);
}

static void send_noop(struct bench *bench, long i)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("bench")};
    struct pd_err err;

    if (pd_redis_eval(bench->rig.redis, &bench->noop, 0, args, 1, on_noop, op_new(bench, i), &err) <
        0)
        refused(&err);
}

/* ---- measuring ---- */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void say(const char *what, uint32_t *us, long count, double seconds)
{
    qsort(us, (size_t)count, sizeof *us, by_size);
    printf("%s_s=%.1f %s_p50=%u %s_p99=%u ", what, (double)count / seconds, what, us[count / 2],
           what, us[count * 99 / 100]);
}

static void measure(struct bench *bench, const char *what,
                    void (*send)(struct bench *bench, long i))
{
    uint64_t since = uv_hrtime();

    bench->send = send;
    bench->sent = bench->done = 0;
    bench->over = false;
    fill(bench);
    if (!pd_loop_until(bench->rig.loop, &bench->over, STEP_TIMEOUT_MS)) {
        fprintf(stderr, "%s: %ld of %ld within %d s\n", what, bench->done, bench->count,
                STEP_TIMEOUT_MS / 1000);
        exit(1);
    }
    say(what, bench->us, bench->count, (double)(uv_hrtime() - since) / 1e9);
}

static void measure_fdatasync(struct bench *bench)
{
    pd_autofree char *path = pd_asprintf("%s/floor", bench->rig.dir);
    static const char block[BLOCK_BYTES];
    long count = bench->count < 1000 ? bench->count : 1000;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    uint64_t since;
    bool written = true;

    for (long i = 0; i < count; i++)
        written &= write(fd, block, sizeof block) == sizeof block;
    written &= fsync(fd) == 0 && lseek(fd, 0, SEEK_SET) == 0;
    since = uv_hrtime();
    for (long i = 0; i < count; i++) {
        uint64_t began = uv_hrtime();
        written &= write(fd, block, sizeof block) == sizeof block && fdatasync(fd) == 0;
        if (!written) {
            perror(path);
            exit(1);
        }
        bench->us[i] = (uint32_t)((uv_hrtime() - began) / 1000);
    }
    close(fd);
    say("fdatasync", bench->us, count, (double)(uv_hrtime() - since) / 1e9);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    struct bench bench = {.noop = pd_redis_script_of("return ARGV[1]")};
    struct pd_ledger_rig_config config = {.loop = &loop, .instance = "bench"};

    if (argc < 4 || (bench.count = atol(argv[2])) < 1 || (bench.width = atol(argv[3])) < 1) {
        fprintf(stderr, "bench_ledger FOLDER COUNT WIDTH [REDIS-URL [fsync]]\n");
        return 2;
    }
    config.folder = argv[1];
    config.url = argc > 4 ? argv[4] : NULL;
    config.durability = argc > 5 ? PD_LEDGER_FSYNC : PD_LEDGER_AOF;
    bench.us = pd_calloc((size_t)bench.count, sizeof *bench.us);
    bench.began_ns = pd_calloc((size_t)bench.count, sizeof *bench.began_ns);
    pd_buf_init(&bench.answer, sizeof ANSWER);
    (void)!pd_buf_add(&bench.answer, ANSWER, strlen(ANSWER), NULL);
    uv_loop_init(&loop);
    pd_ledger_rig_open(&bench.rig, &config);
    pd_ledger_rig_accept_first(&bench.rig, "run_first");
    measure_fdatasync(&bench);
    if (config.url)
        measure(&bench, "noop", send_noop);
    measure(&bench, "accept", send_accept);
    measure(&bench, "begin", send_begin);
    measure(&bench, "finish", send_finish);
    printf("\n");
    pd_ledger_rig_close(&bench.rig);
    pd_buf_fini(&bench.answer);
    free(bench.us);
    free(bench.began_ns);
    return 0;
}
