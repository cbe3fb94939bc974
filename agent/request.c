/* What a RUN frame asks for: its numbers, its texts, its files. The frame is kept
 * for the run's life and read again wherever something of it is needed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

void request_read(struct run *run)
{
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, run->frame, run->frame_len);
    while (pd_fields_next(&fields, &field)) {
        int64_t number = (int64_t)pd_field_number(&field);
        switch (field.tag) {
        case PD_FIELD_TIMEOUT_MS:
            run->timeout_us = number * 1000;
            break;
        case PD_FIELD_COMPILE_MS:
            run->compile_us = number * 1000;
            break;
        case PD_FIELD_CPU_MS:
            run->cpu_us = number * 1000;
            break;
        case PD_FIELD_OUTPUT_MAX:
            run->output_max = number;
            break;
        case PD_FIELD_CREDIT:
            run->window = number;
            break;
        case PD_FIELD_MORE:
            run->more = true;
            break;
        case PD_FIELD_STDIN_OPEN:
            run->stdin_open = true;
            break;
        case PD_FIELD_TTY:
            run->tty = true;
            break;
        case PD_FIELD_ROWS:
            run->rows = (uint16_t)number;
            break;
        case PD_FIELD_COLS:
            run->cols = (uint16_t)number;
            break;
        case PD_FIELD_GLOB:
            run->wants_artifacts = true;
            break;
        case PD_FIELD_DATA:
            run->stdin_len = field.len < STDIN_BYTES_MAX ? field.len : STDIN_BYTES_MAX;
            memcpy(run->stdin_data, field.data, run->stdin_len);
            break;
        default:
            break;
        }
    }
    run->stdin_eof = !run->stdin_open;
}

/* Copy the texts of one tag out of the frame, terminated, into `list`. */
size_t request_texts(struct run *run, int tag, char *store, size_t store_bytes, const char **list,
                     size_t cap)
{
    struct pd_fields fields;
    struct pd_field field;
    size_t n = 0, used = 0;

    pd_fields_init(&fields, run->frame, run->frame_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag != tag || n == cap || field.len + 1 > store_bytes - used)
            continue;
        memcpy(store + used, field.data, field.len);
        store[used + field.len] = '\0';
        list[n++] = store + used;
        used += field.len + 1;
    }
    return n;
}
/* ---- files ---- */

static bool is_below(const char *path)
{
    if (path[0] == '/')
        return false;
    for (const char *name = path; name; name = strchr(name, '/')) {
        name += *name == '/';
        if (strncmp(name, "..", 2) == 0 && (name[2] == '/' || name[2] == '\0'))
            return false;
    }
    return true;
}

static int create_file(struct agent *agent, const char *path)
{
    struct slot *slot = agent->run.slot;
    char prefix[512];
    int fd;

    if (!is_below(path))
        return -EINVAL;
    snprintf(prefix, sizeof prefix, "%s", path);
    for (char *slash = strchr(prefix, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(slot->cell.dirfd, prefix, 0755) == 0 && slot->uid)
            (void)!fchownat(slot->cell.dirfd, prefix, slot->uid, slot->uid, AT_SYMLINK_NOFOLLOW);
        *slash = '/';
    }
    fd = sys_open_beneath(slot->cell.dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    if (fd >= 0 && slot->uid)
        (void)!fchown(fd, slot->uid, slot->uid);
    return fd;
}

static void write_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n <= 0)
            return; /* the workspace is full: the program finds its file cut */
        at += n;
        len -= (size_t)n;
    }
}

void request_write_code(struct agent *agent)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, run->frame, run->frame_len);
    while (pd_fields_next(&fields, &field)) {
        int fd;
        if (field.tag != PD_FIELD_CODE)
            continue;
        fd = create_file(agent, run->lang->file);
        if (fd >= 0) {
            write_all(fd, field.data, field.len);
            close(fd);
        }
    }
}

void request_on_file(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;
    char path[512] = "";

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag != PD_FIELD_PATH)
            continue;
        snprintf(path, sizeof path, "%.*s", (int)field.len, (const char *)field.data);
        if (field.len >= sizeof path)
            path[0] = '/'; /* too long: refused, like all that is not below the workspace */
    }
    /* Without a path: the program itself. */
    sys_close(&run->file_fd);
    run->file_fd = create_file(agent, path[0] ? path : run->lang->file);
}

/* Arguments and environment for a waiting interpreter: their number, the
 * arguments, the environment, each ended by a NUL; then end of file. Returns
 * false where they do not fit into a pipe. */
bool request_go(struct run *run, char *message, size_t *ret_len)
{
    struct pd_fields fields;
    struct pd_field field;
    unsigned n_args = 0;
    size_t len;

    pd_fields_init(&fields, run->frame, run->frame_len);
    while (pd_fields_next(&fields, &field))
        n_args += field.tag == PD_FIELD_ARG;
    len = (size_t)snprintf(message, 16, "%u", n_args) + 1;
    for (int tag = PD_FIELD_ARG; tag <= PD_FIELD_ENV; tag++) {
        pd_fields_init(&fields, run->frame, run->frame_len);
        while (pd_fields_next(&fields, &field)) {
            if (field.tag != tag)
                continue;
            if (len + field.len + 1 > GO_BYTES_MAX)
                return false;
            memcpy(message + len, field.data, field.len);
            len += field.len;
            message[len++] = '\0';
        }
    }
    *ret_len = len;
    return true;
}

/* Where a variable of this entry's name is; n where it is not. */
static size_t find_entry(const char *const *env, size_t n, const char *entry)
{
    size_t name = strcspn(entry, "=") + 1;
    size_t at = 0;

    while (at < n && strncmp(env[at], entry, name) != 0)
        at++;
    return at;
}

bool request_launch(struct agent *agent, const char *const *command, bool with_args)
{
    static char store[PD_FRAME_PAYLOAD_MAX + 1024];
    const char *argv[RUN_ARGV_MAX + 1], *env[RUN_ENV_MAX + 1], *own[RUN_ENV_MAX];
    struct run *run = &agent->run;
    size_t n = 0, n_env = 0, n_own;
    char *rest = store;
    bool on_terminal = run->tty && with_args; /* a compiler has no use for one */

    for (; command[n]; n++)
        argv[n] = command[n];
    if (with_args)
        n += request_texts(run, PD_FIELD_ARG, store, sizeof store / 2, argv + n, RUN_ARGV_MAX - n);
    argv[n] = NULL;
    rest += sizeof store / 2;
    lang_env(agent, run->lang, env, RUN_ENV_MAX / 2);
    while (env[n_env])
        n_env++;
    n_own = request_texts(run, PD_FIELD_ENV, rest, sizeof store / 2, own, RUN_ENV_MAX - n_env);
    for (size_t i = 0; i < n_own; i++) {
        size_t at = find_entry(env, n_env, own[i]);
        env[at] = own[i];
        n_env += at == n_env;
    }
    if (on_terminal && find_entry(env, n_env, "TERM=") == n_env && n_env < RUN_ENV_MAX)
        env[n_env++] = "TERM=xterm-256color";
    env[n_env] = NULL;
    return slot_launch(agent, run->slot, argv, env, on_terminal);
}

static bool sets_start_env(const struct run *run)
{
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, run->frame, run->frame_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_ENV &&
            lang_reads_at_start(run->lang, (const char *)field.data, field.len))
            return true;
    }
    return false;
}

bool request_fits_spare(struct run *run)
{
    static char message[GO_BYTES_MAX];
    size_t len;

    /* What waits has its pipes already, and asked them what they are as it started. */
    return !run->tty && !run->lang->compile[0] && run->lang->spare[0] && !sets_start_env(run) &&
           request_go(run, message, &len);
}

void request_on_data(struct agent *agent, const struct pd_frame *frame)
{
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_DATA && agent->run.file_fd >= 0)
            write_all(agent->run.file_fd, field.data, field.len);
    }
}
