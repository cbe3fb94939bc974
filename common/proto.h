/* Frames between the service and an agent: docs/protocol.md. Pure: no I/O, no
 * allocation, nothing but memcpy from libc, since the agent links this too.
 *
 * A frame is u32 length of what follows, u8 type, u32 epoch, u32 sequence,
 * payload. A payload is a list of fields: u8 tag, u32 length, bytes. All
 * integers are big-endian; a number as a field is 8 bytes. Unknown fields are
 * skipped, unknown frame types are an error. */
#ifndef PD_COMMON_PROTO_H
#define PD_COMMON_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PD_PROTO_VERSION 1
#define PD_FRAME_HEADER_BYTES 13
#define PD_FRAME_PAYLOAD_MAX 65536
#define PD_FRAME_BYTES_MAX (PD_FRAME_HEADER_BYTES + PD_FRAME_PAYLOAD_MAX)
#define PD_FIELD_HEADER_BYTES 5
/* Data of one OUT, ERR, STDIN, DATA or ARTIFACT frame, at most. */
#define PD_FRAME_DATA_MAX 32768

/* Written by the agent before its HELLO, followed by the 8 bytes of the
 * ATTACH's nonce: whatever an earlier attacher left in the stream ends here. */
#define PD_SYNC_MAGIC "\xfe" "paddock"
#define PD_SYNC_BYTES 16

/* The direct pipes: a folder of the service's in the container, and two FIFOs in it. */
#define PD_DIRECT_FOLDER "/paddock-direct"
#define PD_DIRECT_TO_AGENT "in"
#define PD_DIRECT_TO_SERVICE "out"
#define PD_DIRECT_SECRET_BYTES 16

enum pd_frame_type {
    /* service to agent */
    PD_FRAME_ATTACH = 1,    /* first: opens an epoch, configures */
    PD_FRAME_RUN = 2,       /* a run; begins at once unless PD_FIELD_MORE is set */
    PD_FRAME_FILE = 3,      /* a file for the workspace follows in DATA frames */
    PD_FRAME_DATA = 4,
    PD_FRAME_START = 5,     /* all files are there: begin */
    PD_FRAME_STDIN = 6,
    PD_FRAME_STDIN_EOF = 7,
    PD_FRAME_RESIZE = 8,
    PD_FRAME_SIGNAL = 9,
    PD_FRAME_CANCEL = 10,
    PD_FRAME_WINDOW = 11,   /* both ways: credit for output, for stdin */
    PD_FRAME_PING = 12,
    PD_FRAME_MOVE = 13,     /* go on by the direct pipes; DATA: the secret to say there first */
    /* agent to service */
    PD_FRAME_HELLO = 64,
    PD_FRAME_SPARES = 65,   /* how many interpreters wait, per language */
    PD_FRAME_VERSION = 66,  /* a language's version became known */
    PD_FRAME_STARTED = 67,
    PD_FRAME_STAGE = 68,
    PD_FRAME_OUT = 69,
    PD_FRAME_ERR = 70,
    PD_FRAME_ARTIFACT = 71,
    PD_FRAME_EXIT = 72,
    PD_FRAME_PONG = 73,
    PD_FRAME_FAULT = 74,    /* the agent cannot go on; text says why */
    PD_FRAME_MOVED = 75,    /* last here, the next is there; with ERROR: the agent stays here */
};

enum pd_field_tag {
    PD_FIELD_VERSION = 1, /* number: of the protocol */
    PD_FIELD_NONCE = 2,   /* 8 bytes */
    PD_FIELD_TEXT = 3,    /* a sentence for a log */
    PD_FIELD_DATA = 4,
    PD_FIELD_CREDIT = 5,  /* number: bytes */
    PD_FIELD_NAME = 6,    /* of a language, a stage */
    PD_FIELD_PATH = 7,
    PD_FIELD_COUNT = 8,   /* number */
    PD_FIELD_LAST = 9,    /* present: no more pieces */

    /* ATTACH */
    PD_FIELD_ISOLATION = 16,   /* number: enum pd_isolation */
    PD_FIELD_SPARES_WANTED = 17,
    PD_FIELD_ZYGOTE = 18,      /* number: 0 or 1 */
    PD_FIELD_PRELOAD = 19,     /* text, repeated */
    PD_FIELD_PIDS = 20,
    PD_FIELD_DISK_BYTES = 21,
    PD_FIELD_MEMORY_BYTES = 22,
    PD_FIELD_NETWORK = 23,     /* number: enum pd_network */
    PD_FIELD_WANT_VERSIONS = 24,
    PD_FIELD_LANGUAGE = 25,    /* nested fields, repeated: NAME and 26..34 */
    PD_FIELD_FILE_NAME = 26,
    PD_FIELD_COMPILE = 27,     /* text, repeated: argv */
    PD_FIELD_COMMAND = 28,     /* text, repeated: argv */
    PD_FIELD_VERSION_COMMAND = 29,
    PD_FIELD_HOOK = 30,        /* file name in the agent volume's spares/ */
    PD_FIELD_SPARE_COMMAND = 31,
    PD_FIELD_LANGUAGE_ENV = 32,
    PD_FIELD_SPARE_FILE = 33,  /* present: its file is there, an empty line, when a spare starts */
    PD_FIELD_START_ENV = 34,   /* text, repeated: what the interpreter reads as it starts */

    /* RUN */
    PD_FIELD_ID = 48,
    PD_FIELD_TIMEOUT_MS = 49,
    PD_FIELD_CPU_MS = 50,
    PD_FIELD_OUTPUT_MAX = 51,
    PD_FIELD_CODE = 52,        /* the program, where it fits; else a FILE */
    PD_FIELD_ARG = 53,         /* repeated */
    PD_FIELD_ENV = 54,         /* "NAME=value", repeated */
    PD_FIELD_GLOB = 55,        /* an artifact wanted, repeated */
    PD_FIELD_MORE = 56,        /* present: FILE, DATA and START follow */
    PD_FIELD_STDIN_OPEN = 57,  /* present: stdin stays open until STDIN_EOF */
    PD_FIELD_TTY = 58,         /* present */
    PD_FIELD_ROWS = 59,
    PD_FIELD_COLS = 60,
    PD_FIELD_SIGNO = 61,
    PD_FIELD_COMPILE_MS = 62,  /* wall time of the compile stage; absent: a minute */

    /* HELLO, EXIT */
    PD_FIELD_RUNS = 80,
    PD_FIELD_CAUSE = 81,       /* number: enum pd_cause */
    PD_FIELD_EXIT_CODE = 82,
    PD_FIELD_START = 83,       /* number: enum pd_start; in STARTED, too */
    PD_FIELD_COMPILE_FAILED = 84, /* present */
    PD_FIELD_STDOUT_BYTES = 85,
    PD_FIELD_STDERR_BYTES = 86,
    PD_FIELD_TRUNCATED = 87,   /* present */
    PD_FIELD_WALL_US = 88,
    PD_FIELD_CPU_US = 89,
    PD_FIELD_MEMORY_PEAK = 90,
    PD_FIELD_MEMORY_METHOD = 91, /* number: 0 cgroup, 1 rusage */
    PD_FIELD_STAGE_US = 92,    /* number, repeated: four */
    PD_FIELD_ERROR = 93,       /* text: why an artifact was not collected */
    PD_FIELD_COMPILE_US = 94,  /* number: what the compile stage took; absent: there was none */
};

/* ---- writing: into storage of the caller's ---- */

struct pd_wire {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t frame_at; /* where the open frame begins */
    bool overflow;   /* something did not fit; the frame is void */
};

void pd_wire_init(struct pd_wire *wire, void *storage, size_t bytes);
/* Begin a frame after what is already there; fields follow; then end, which
 * returns false where anything did not fit (the frame is taken back). */
void pd_wire_begin(struct pd_wire *wire, enum pd_frame_type type, uint32_t epoch,
                   uint32_t sequence);
bool pd_wire_end(struct pd_wire *wire);
void pd_wire_bytes(struct pd_wire *wire, enum pd_field_tag tag, const void *data, size_t len);
void pd_wire_text(struct pd_wire *wire, enum pd_field_tag tag, const char *text);
void pd_wire_number(struct pd_wire *wire, enum pd_field_tag tag, uint64_t value);
void pd_wire_flag(struct pd_wire *wire, enum pd_field_tag tag);
/* A nested list of fields: open returns a handle for close. */
size_t pd_wire_open(struct pd_wire *wire, enum pd_field_tag tag);
void pd_wire_close(struct pd_wire *wire, size_t handle);

/* ---- reading ---- */

struct pd_frame {
    enum pd_frame_type type;
    uint32_t epoch;
    uint32_t sequence;
    const uint8_t *payload; /* into the bytes parsed */
    size_t payload_len;
};

/* The frame at the front of `data`: the bytes it takes up; 0 when more are
 * needed; -1 when they cannot be a frame. */
int64_t pd_frame_parse(const void *data, size_t len, struct pd_frame *ret_frame);

struct pd_field {
    int tag;
    const uint8_t *data;
    size_t len;
};
struct pd_fields {
    const uint8_t *at;
    size_t left;
    bool malformed;
};

void pd_fields_init(struct pd_fields *fields, const void *payload, size_t len);
/* False at the end or at the first malformed field (then fields->malformed). */
bool pd_fields_next(struct pd_fields *fields, struct pd_field *ret_field);
/* Big-endian, of 0 to 8 bytes; longer ones read as their first 8. */
uint64_t pd_field_number(const struct pd_field *field);

#endif
