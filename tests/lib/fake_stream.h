/* A stream to an agent that a test plays by hand: what is written is kept, what
 * is fed comes in as if from the agent. */
#ifndef PD_TESTS_LIB_FAKE_STREAM_H
#define PD_TESTS_LIB_FAKE_STREAM_H

#include <uv.h>

#include "common/buf.h"
#include "common/proto.h"
#include "common/stream.h"

struct fake_stream {
    struct pd_stream stream;
    uv_loop_t *loop;
    struct pd_buf written;
    bool reading;
    int write_answer; /* 0, or what the next writes are refused with */
    bool is_closed;
    uv_idle_t closer; /* `closed` comes from the loop */
    void (*closed)(void *arg);
    void *closed_arg;
    uint32_t epoch, sequence; /* of the frames that fake_stream_say makes */
};

void fake_stream_init(struct fake_stream *fake, uv_loop_t *loop);
void fake_stream_fini(struct fake_stream *fake);
/* Bytes from the agent, exactly these. */
void fake_stream_feed(struct fake_stream *fake, const void *data, size_t len);
/* The agent ends the stream. */
void fake_stream_end(struct fake_stream *fake);
/* Answer the ATTACH that was written: sync marker and a HELLO with these
 * languages (ended by NULL). Frames said later follow in sequence. */
void fake_stream_hello(struct fake_stream *fake, const char *const *languages);
/* A frame from the agent, with one field, or none where tag is 0. */
void fake_stream_say(struct fake_stream *fake, enum pd_frame_type type, int tag, const void *data,
                     size_t len);
/* Likewise with a number. */
void fake_stream_say_number(struct fake_stream *fake, enum pd_frame_type type, int tag,
                            uint64_t number);
/* The next frame that was written to the agent and not looked at yet; false: none. */
bool fake_stream_heard(struct fake_stream *fake, struct pd_frame *ret_frame);

#endif
