#include "common/link_frames.h"

#include <string.h>

#include "common/mem.h"

#define PATH_BYTES_MAX 255

static void put_texts(struct pd_wire *wire, enum pd_field_tag tag, const struct pd_strings *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        pd_wire_text(wire, tag, texts->items[i]);
}

static void put_language(struct pd_wire *wire, const struct pd_language *language)
{
    size_t handle = pd_wire_open(wire, PD_FIELD_LANGUAGE);

    pd_wire_text(wire, PD_FIELD_NAME, language->name);
    pd_wire_text(wire, PD_FIELD_FILE_NAME, language->file);
    put_texts(wire, PD_FIELD_COMPILE, &language->compile);
    put_texts(wire, PD_FIELD_COMMAND, &language->run);
    put_texts(wire, PD_FIELD_VERSION_COMMAND, &language->version);
    put_texts(wire, PD_FIELD_LANGUAGE_ENV, &language->env);
    if (language->spare[0]) {
        pd_wire_text(wire, PD_FIELD_HOOK, language->spare);
        put_texts(wire, PD_FIELD_SPARE_COMMAND, &language->spare_command);
        pd_wire_number(wire, PD_FIELD_ZYGOTE, language->zygote);
        if (language->spare_file)
            pd_wire_flag(wire, PD_FIELD_SPARE_FILE);
        put_texts(wire, PD_FIELD_START_ENV, &language->start_env);
    }
    pd_wire_close(wire, handle);
}

/* The languages of the pool in its own order (the first one's spares are kept
 * from the start), or else all, in the catalogue's. */
static void put_languages(struct pd_wire *wire, const struct pd_link_config *config)
{
    const struct pd_strings *wanted = &config->spec->languages;

    for (size_t i = 0; i < wanted->count; i++) {
        const struct pd_language *language = pd_languages_find(config->languages, wanted->items[i]);
        if (language)
            put_language(wire, language);
    }
    for (size_t i = 0; wanted->count == 0 && i < config->languages->count; i++)
        put_language(wire, &config->languages->items[i]);
}

int pd_link_encode_attach(struct pd_wire *wire, const struct pd_link_config *config,
                          const uint8_t nonce[8], struct pd_err *err)
{
    const struct pd_pool_spec *spec = config->spec;

    pd_wire_begin(wire, PD_FRAME_ATTACH, config->epoch, 0);
    pd_wire_number(wire, PD_FIELD_VERSION, PD_PROTO_VERSION);
    pd_wire_bytes(wire, PD_FIELD_NONCE, nonce, 8);
    pd_wire_number(wire, PD_FIELD_ISOLATION, (uint64_t)spec->isolation);
    pd_wire_number(wire, PD_FIELD_SPARES_WANTED, (uint64_t)spec->warm.spares);
    pd_wire_number(wire, PD_FIELD_ZYGOTE, spec->warm.zygote);
    put_texts(wire, PD_FIELD_PRELOAD, &spec->warm.preload);
    pd_wire_number(wire, PD_FIELD_PIDS, (uint64_t)spec->resources.pids);
    pd_wire_number(wire, PD_FIELD_DISK_BYTES, (uint64_t)spec->resources.disk_bytes);
    pd_wire_number(wire, PD_FIELD_MEMORY_BYTES, (uint64_t)spec->resources.memory_bytes);
    pd_wire_number(wire, PD_FIELD_NETWORK, (uint64_t)spec->network);
    if (config->want_versions)
        pd_wire_flag(wire, PD_FIELD_WANT_VERSIONS);
    put_languages(wire, config);
    if (!pd_wire_end(wire))
        return pd_err_set(err, PD_LIMIT, "the languages of pool '%s' do not fit into a frame",
                          spec->name);
    return 0;
}

void pd_link_encode_run(struct pd_wire *wire, const struct pd_run_request *request)
{
    pd_wire_text(wire, PD_FIELD_ID, request->id);
    pd_wire_text(wire, PD_FIELD_NAME, request->language);
    pd_wire_number(wire, PD_FIELD_TIMEOUT_MS, (uint64_t)request->timeout_ms);
    if (request->compile_ms > 0)
        pd_wire_number(wire, PD_FIELD_COMPILE_MS, (uint64_t)request->compile_ms);
    if (request->cpu_ms > 0)
        pd_wire_number(wire, PD_FIELD_CPU_MS, (uint64_t)request->cpu_ms);
    pd_wire_number(wire, PD_FIELD_OUTPUT_MAX, (uint64_t)request->output_max_bytes);
    pd_wire_number(wire, PD_FIELD_CREDIT, PD_RUN_OUTPUT_WINDOW_BYTES);
    put_texts(wire, PD_FIELD_ARG, &request->args);
    put_texts(wire, PD_FIELD_ENV, &request->env);
    put_texts(wire, PD_FIELD_GLOB, &request->artifacts);
    if (request->tty) {
        pd_wire_flag(wire, PD_FIELD_TTY);
        pd_wire_number(wire, PD_FIELD_ROWS, request->rows);
        pd_wire_number(wire, PD_FIELD_COLS, request->cols);
    }
}

int pd_link_check_path(const char *path, struct pd_err *err)
{
    size_t len = strlen(path);

    if (len == 0 || len > PATH_BYTES_MAX)
        return pd_err_set(err, PD_INVALID, "a path must have 1 to %d bytes", PATH_BYTES_MAX);
    if (path[0] == '/' || path[len - 1] == '/')
        return pd_err_set(err, PD_INVALID, "'%s' must be relative and name a file", path);
    for (const char *part = path; part;) {
        size_t part_len = strcspn(part, "/");
        if (part_len == 0 || (part_len == 1 && part[0] == '.') ||
            (part_len == 2 && part[0] == '.' && part[1] == '.'))
            return pd_err_set(err, PD_INVALID, "'%s' has an empty part, '.' or '..'", path);
        part = part[part_len] ? part + part_len + 1 : NULL;
    }
    return 0;
}

/* ---- hearing ---- */

static void copy_text(char *out, size_t out_bytes, const struct pd_field *field)
{
    size_t len = field->len < out_bytes ? field->len : out_bytes - 1;

    memcpy(out, field->data, len);
    out[len] = '\0';
}

bool pd_link_decode_hello(const struct pd_frame *frame, struct pd_hello *ret_hello)
{
    struct pd_hello hello = {.n_languages = 0};
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        uint64_t number = pd_field_number(&field);
        switch (field.tag) {
        case PD_FIELD_VERSION:
            hello.agent_version = (uint32_t)number;
            break;
        case PD_FIELD_ISOLATION:
            hello.isolation = number <= PD_ISOLATION_CONTAINER ? (enum pd_isolation)number
                                                               : PD_ISOLATION_CONTAINER;
            break;
        case PD_FIELD_TEXT:
            copy_text(hello.isolation_reason, sizeof hello.isolation_reason, &field);
            break;
        case PD_FIELD_RUNS:
            hello.runs = number;
            break;
        case PD_FIELD_NAME:
            if (hello.n_languages < PD_LANGUAGES_MAX)
                copy_text(hello.languages[hello.n_languages++].name, PD_LANGUAGE_NAME_MAX, &field);
            break;
        default:
            break;
        }
    }
    if (!fields.malformed)
        *ret_hello = hello;
    return !fields.malformed;
}

bool pd_link_decode_exit(const struct pd_frame *frame, struct pd_run_result *ret_result)
{
    struct pd_run_result result = {.message = "", .usage.memory_method = "rusage"};
    struct pd_fields fields;
    struct pd_field field;
    size_t stage = 0;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        uint64_t number = pd_field_number(&field);
        int64_t amount = number > INT64_MAX ? INT64_MAX : (int64_t)number;
        switch (field.tag) {
        case PD_FIELD_CAUSE:
            result.cause = number <= PD_CAUSE_CANCELED ? (enum pd_cause)number : PD_CAUSE_LOST;
            break;
        case PD_FIELD_EXIT_CODE:
            result.exit_code = (int)(number & 0xff);
            break;
        case PD_FIELD_SIGNO:
            result.signal = (int)(number & 0x7f);
            break;
        case PD_FIELD_START:
            result.start = number <= PD_START_COLD ? (enum pd_start)number : PD_START_COLD;
            break;
        case PD_FIELD_COMPILE_US:
            result.compile_us = amount;
            break;
        case PD_FIELD_COMPILE_FAILED:
            result.compile_failed = true;
            break;
        case PD_FIELD_STDOUT_BYTES:
            result.stdout_bytes = amount;
            break;
        case PD_FIELD_STDERR_BYTES:
            result.stderr_bytes = amount;
            break;
        case PD_FIELD_TRUNCATED:
            result.truncated = true;
            break;
        case PD_FIELD_WALL_US:
            result.usage.wall_us = amount;
            break;
        case PD_FIELD_CPU_US:
            result.usage.cpu_us = amount;
            break;
        case PD_FIELD_MEMORY_PEAK:
            result.usage.memory_peak_bytes = amount;
            break;
        case PD_FIELD_MEMORY_METHOD:
            result.usage.memory_method = number == 0 ? "cgroup" : "rusage";
            break;
        case PD_FIELD_STAGE_US:
            if (stage < PD_COUNT(result.usage.stage_us))
                result.usage.stage_us[stage++] = amount;
            break;
        default:
            break;
        }
    }
    if (!fields.malformed)
        *ret_result = result;
    return !fields.malformed;
}

bool pd_link_field(const struct pd_frame *frame, enum pd_field_tag tag, struct pd_field *ret_field)
{
    struct pd_fields fields;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, ret_field)) {
        if (ret_field->tag == (int)tag)
            return true;
    }
    return false;
}
