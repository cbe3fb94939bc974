#include "api/client_frame.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "common/json.h"
#include "common/mem.h"

static const char *const type_names[] = {
    [PD_CLIENT_RUN] = "run",
    [PD_CLIENT_STDIN] = "stdin",
    [PD_CLIENT_STDIN_EOF] = "stdin_eof",
    [PD_CLIENT_SIGNAL] = "signal",
    [PD_CLIENT_RESIZE] = "resize",
    [PD_CLIENT_CANCEL] = "cancel",
};

static const struct {
    const char *name;
    int signo;
} signals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"KILL", SIGKILL},
    {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"CONT", SIGCONT},
    {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}, {"ALRM", SIGALRM}, {"WINCH", SIGWINCH},
};

/* ---- members ---- */

static int take_bool(struct pd_node *map, const char *name, bool *ret, struct pd_err *err)
{
    const struct pd_node *node = pd_node_get(map, name);

    if (node && node->kind != PD_NODE_BOOL)
        return pd_err_set(err, PD_DENIED, "%s must be true or false", name);
    *ret = pd_node_bool(node, false);
    pd_node_remove(map, name);
    return 0;
}

static int take_cells(struct pd_node *map, const char *name, bool required, uint16_t *ret,
                      struct pd_err *err)
{
    const struct pd_node *node = pd_node_get(map, name);

    if (!node && !required)
        return 0;
    if (!node || node->kind != PD_NODE_INT || node->integer < 1 ||
        node->integer > PD_TERMINAL_CELLS_MAX)
        return pd_err_set(err, PD_DENIED, "%s must be a whole number, 1 to %d", name,
                          PD_TERMINAL_CELLS_MAX);
    *ret = (uint16_t)node->integer;
    pd_node_remove(map, name);
    return 0;
}

static const struct pd_node *text_of(const struct pd_node *map, const char *name)
{
    const struct pd_node *node = pd_node_get(map, name);

    return node && node->kind == PD_NODE_STRING ? node : NULL;
}

static bool is_text(const struct pd_node *node, const char *text)
{
    return node && node->string.len == strlen(text) && strcmp(node->string.text, text) == 0;
}

/* ---- frames ---- */

static int read_run(struct pd_node *map, struct pd_client_frame *frame, struct pd_err *err)
{
    if (take_bool(map, "tty", &frame->tty, err) < 0 ||
        take_bool(map, "stdin_open", &frame->stdin_open, err) < 0 ||
        take_bool(map, "stdin_credit", &frame->stdin_credit, err) < 0 ||
        take_bool(map, "detach", &frame->detach, err) < 0 ||
        take_cells(map, "rows", false, &frame->rows, err) < 0 ||
        take_cells(map, "cols", false, &frame->cols, err) < 0)
        return PD_DENIED;
    return 0; /* the rest is the request's to check */
}

static int read_stdin(struct pd_node *map, struct pd_client_frame *frame, struct pd_err *err)
{
    const struct pd_node *data = text_of(map, "data");
    const struct pd_node *encoding = pd_node_get(map, "encoding");

    if (!data)
        return pd_err_set(err, PD_DENIED, "data must be a string");
    frame->data = pd_calloc(1, data->string.len + 1);
    frame->data_len = data->string.len;
    memcpy(frame->data, data->string.text, data->string.len);
    pd_node_remove(map, "data");
    if (!encoding)
        return 0;
    if (!is_text(text_of(map, "encoding"), "base64") ||
        pd_base64_decode(frame->data, frame->data_len, frame->data, &frame->data_len) < 0)
        return pd_err_set(err, PD_DENIED, "encoding must be base64, and data be that");
    pd_node_remove(map, "encoding");
    return 0;
}

static int read_signal(struct pd_node *map, struct pd_client_frame *frame, struct pd_err *err)
{
    const struct pd_node *name = text_of(map, "signal");
    const char *text =
        name && strlen(name->string.text) == name->string.len ? name->string.text : "";

    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < PD_COUNT(signals); i++) {
        if (strcmp(signals[i].name, text) == 0)
            frame->signo = signals[i].signo;
    }
    if (frame->signo == 0)
        return pd_err_set(err, PD_DENIED,
                          "signal must be one of HUP, INT, QUIT, KILL, USR1, "
                          "USR2, TERM, CONT, STOP, TSTP, ALRM, WINCH");
    pd_node_remove(map, "signal");
    return 0;
}

static int read_members(struct pd_node *map, struct pd_client_frame *frame, struct pd_err *err)
{
    switch (frame->type) {
    case PD_CLIENT_RUN:
        return read_run(map, frame, err);
    case PD_CLIENT_STDIN:
        return read_stdin(map, frame, err);
    case PD_CLIENT_SIGNAL:
        return read_signal(map, frame, err);
    case PD_CLIENT_RESIZE:
        return take_cells(map, "rows", true, &frame->rows, err) < 0
                   ? PD_DENIED
                   : take_cells(map, "cols", true, &frame->cols, err);
    case PD_CLIENT_STDIN_EOF:
    case PD_CLIENT_CANCEL:
        break;
    }
    return 0;
}

static int read_type(struct pd_node *map, struct pd_client_frame *frame, struct pd_err *err)
{
    const struct pd_node *type = text_of(map, "type");

    for (size_t i = 0; i < PD_COUNT(type_names); i++) {
        if (is_text(type, type_names[i])) {
            frame->type = (enum pd_client_frame_type)i;
            pd_node_remove(map, "type");
            return 0;
        }
    }
    return pd_err_set(err, PD_DENIED,
                      "type must be run, stdin, stdin_eof, signal, resize or cancel");
}

int pd_client_frame_parse(const char *text, size_t len, struct pd_client_frame *ret_frame,
                          struct pd_err *err)
{
    struct pd_client_frame frame = {.request = NULL};
    pd_autonode struct pd_node *map = NULL;
    int rc;

    if (pd_json_parse(len > 0 ? text : "", len, &map, err) < 0) /* an empty one may be NULL */
        return PD_INVALID;
    if (map->kind != PD_NODE_MAP)
        return pd_err_set(err, PD_INVALID, "a frame is a JSON object");
    rc = read_type(map, &frame, err);
    if (rc == 0)
        rc = read_members(map, &frame, err);
    if (rc == 0 && frame.type != PD_CLIENT_RUN && pd_node_count(map) > 0)
        rc = pd_err_set(err, PD_DENIED, "there is no member %.40s in a %s frame",
                        map->map.members[0].key, type_names[frame.type]);
    if (rc < 0) {
        pd_client_frame_fini(&frame);
        return rc;
    }
    if (frame.type == PD_CLIENT_RUN)
        frame.request = PD_STEAL(map);
    *ret_frame = frame;
    return 0;
}

void pd_client_frame_fini(struct pd_client_frame *frame)
{
    pd_node_free(PD_STEAL(frame->request));
    free(PD_STEAL(frame->data));
}
