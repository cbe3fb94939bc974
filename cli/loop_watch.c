/* Theory of operation. In one turn libuv reads the clock, runs timers, calls
 * `prepare`, waits, reads the clock again, handles what came in, and calls
 * `check`. Its own clock (uv_now) therefore says when each half began, to the
 * millisecond and for nothing; what has passed since, at the end of each half, is
 * the work. To measure it exactly libuv would have to make one more system call
 * a turn (UV_METRICS_IDLE_TIME). */
#include "cli/loop_watch.h"

#include "common/time.h"

static int64_t since_turn_ns(const uv_loop_t *loop)
{
    int64_t ns = pd_time_now().ns - (int64_t)uv_now(loop) * PD_NS_PER_MS;

    return ns > 0 ? ns : 0;
}

static void on_handled(uv_check_t *check)
{
    struct pd_loop_watch *watch = check->data;

    watch->input_ns = since_turn_ns(check->loop);
}

static void on_wait(uv_prepare_t *prepare)
{
    struct pd_loop_watch *watch = prepare->data;

    pd_metrics_observe(watch->metrics, PD_M_LOOP_TURN_SECONDS, NULL,
                       (double)(watch->input_ns + since_turn_ns(prepare->loop)) / 1e9);
    watch->input_ns = 0;
}

void pd_loop_watch_start(struct pd_loop_watch *watch, uv_loop_t *loop, struct pd_metrics *metrics)
{
    watch->metrics = metrics;
    watch->input_ns = 0;
    uv_check_init(loop, &watch->check);
    uv_prepare_init(loop, &watch->prepare);
    watch->check.data = watch->prepare.data = watch;
    uv_check_start(&watch->check, on_handled);
    uv_prepare_start(&watch->prepare, on_wait);
    uv_unref((uv_handle_t *)&watch->check);
    uv_unref((uv_handle_t *)&watch->prepare);
}

void pd_loop_watch_close(struct pd_loop_watch *watch)
{
    uv_close((uv_handle_t *)&watch->check, NULL);
    uv_close((uv_handle_t *)&watch->prepare, NULL);
}
