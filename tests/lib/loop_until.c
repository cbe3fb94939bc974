#include "tests/lib/loop_until.h"

#include <stdlib.h>

/* Done or too late is looked at before the loop waits, not only after it: what
 * sets *done may be a timer, which runs right before. */
struct watch {
    uv_timer_t timer;
    uv_prepare_t prepare;
    const volatile bool *done;
    bool passed;
    int handles;
};

static void on_deadline(uv_timer_t *timer)
{
    ((struct watch *)timer->data)->passed = true;
    uv_stop(timer->loop);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct watch *watch = prepare->data;

    if (watch->done && *watch->done)
        uv_stop(prepare->loop);
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;

    if (--watch->handles == 0)
        free(watch);
}

static struct watch *watch_new(uv_loop_t *loop, const volatile bool *done, int timeout_ms)
{
    struct watch *watch = calloc(1, sizeof *watch);

    if (!watch)
        abort();
    watch->done = done;
    watch->handles = 2;
    uv_timer_init(loop, &watch->timer);
    uv_prepare_init(loop, &watch->prepare);
    watch->timer.data = watch->prepare.data = watch;
    uv_timer_start(&watch->timer, on_deadline, (uint64_t)timeout_ms, 0);
    uv_prepare_start(&watch->prepare, on_prepare);
    return watch;
}

/* It is freed by a later turn of the loop. */
static void watch_end(struct watch *watch)
{
    uv_close((uv_handle_t *)&watch->timer, on_closed);
    uv_close((uv_handle_t *)&watch->prepare, on_closed);
}

bool pd_loop_until(uv_loop_t *loop, const volatile bool *done, int timeout_ms)
{
    struct watch *watch = watch_new(loop, done, timeout_ms);

    while (!*done && !watch->passed)
        uv_run(loop, UV_RUN_ONCE);
    watch_end(watch);
    return *done;
}

void pd_loop_for(uv_loop_t *loop, int ms)
{
    const bool never = false;
    (void)!pd_loop_until(loop, &never, ms);
}

bool pd_loop_finish(uv_loop_t *loop, int timeout_ms)
{
    struct watch *watch = watch_new(loop, NULL, timeout_ms);
    bool in_time;

    uv_unref((uv_handle_t *)&watch->timer);
    uv_unref((uv_handle_t *)&watch->prepare);
    while (!watch->passed && uv_run(loop, UV_RUN_ONCE) != 0)
        ;
    in_time = !watch->passed;
    watch_end(watch);
    uv_run(loop, UV_RUN_NOWAIT);
    return in_time && uv_loop_close(loop) == 0;
}
