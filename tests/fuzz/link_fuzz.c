/* A link against an agent that says anything: after a true HELLO, the input is
 * what the agent sends while a run is under way. The run must end exactly once. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/link.h"
#include "tests/lib/fake_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_ready(void *arg, struct pd_link *link, const struct pd_hello *hello)
{
    (void)arg;
    (void)link;
    (void)hello;
}

static void on_down(void *arg, struct pd_link *link, const struct pd_err *err)
{
    (void)arg;
    (void)link;
    (void)err;
}

static void on_output(void *arg, int stream, const void *bytes, size_t len)
{
    (void)arg;
    assert(stream == 1 || stream == 2);
    assert(bytes || len == 0);
}

static void on_artifact(void *arg, const char *path, const void *bytes, size_t len, bool last,
                        const char *error)
{
    (void)arg;
    (void)last;
    (void)error;
    assert(strlen(path) < 256);
    assert(bytes || len == 0);
}

static void on_ended(void *arg, const struct pd_run_result *result)
{
    assert(result->cause <= PD_CAUSE_LOST);
    ++*(int *)arg;
}

static const struct pd_link_events link_events = {.ready = on_ready, .down = on_down};
static const struct pd_run_events run_events = {
    .output = on_output, .artifact = on_artifact, .ended = on_ended};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const languages[] = {"python", NULL};
    struct pd_pool_spec spec = {.refs = 1000};
    struct pd_languages catalogue = {.count = 0};
    struct pd_link_config config = {.spec = &spec, .languages = &catalogue, .epoch = 1};
    struct pd_run_request request = {.id = "r", .language = "python", .timeout_ms = 1000,
                                     .output_max_bytes = 1000, .code = "x", .code_len = 1};
    struct fake_stream stream;
    struct pd_link *link;
    uv_loop_t loop;
    int ended = 0;

    uv_loop_init(&loop);
    fake_stream_init(&stream, &loop);
    link = pd_link_open(&loop, &stream.stream, &config, &link_events, NULL);
    fake_stream_hello(&stream, languages);
    assert(pd_link_run(link, &request, &run_events, &ended, NULL) == 0);
    for (size_t at = 0; at < size;) {
        size_t piece = 1 + data[at] % 97u;
        if (piece > size - at)
            piece = size - at;
        fake_stream_feed(&stream, data + at, piece);
        at += piece;
    }
    pd_link_close(link, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert(ended == 1);
    assert(uv_loop_close(&loop) == 0);
    fake_stream_fini(&stream);
    return 0;
}
