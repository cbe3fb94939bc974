#include "tests/lib/loop_until.h"

#include <stdlib.h>

static void on_deadline(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static uv_timer_t *deadline_new(uv_loop_t *loop, bool *passed, int timeout_ms)
{
    uv_timer_t *timer = calloc(1, sizeof *timer);

    if (!timer)
        abort();
    uv_timer_init(loop, timer);
    timer->data = passed;
    uv_timer_start(timer, on_deadline, (uint64_t)timeout_ms, 0);
    return timer;
}

bool pd_loop_until(uv_loop_t *loop, const volatile bool *done, int timeout_ms)
{
    bool passed = false;
    uv_timer_t *timer = deadline_new(loop, &passed, timeout_ms);

    while (!*done && !passed)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)timer, on_closed);
    return *done;
}

void pd_loop_for(uv_loop_t *loop, int ms)
{
    const bool never = false;
    (void)!pd_loop_until(loop, &never, ms);
}

bool pd_loop_finish(uv_loop_t *loop, int timeout_ms)
{
    bool passed = false;
    uv_timer_t *timer = deadline_new(loop, &passed, timeout_ms);

    uv_unref((uv_handle_t *)timer);
    while (!passed && uv_run(loop, UV_RUN_ONCE) != 0)
        ;
    uv_close((uv_handle_t *)timer, on_closed);
    uv_run(loop, UV_RUN_NOWAIT);
    return !passed && uv_loop_close(loop) == 0;
}
