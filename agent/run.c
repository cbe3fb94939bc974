/* One run: from its RUN frame to its EXIT frame.
 *
 *   NONE -> WAIT -> FILES -> ACTIVE -> DRAIN -> (COLLECT) -> NONE
 *
 * A run has exactly one cause of its end. Its slot's cell is killed before the
 * EXIT is sent, and no further run begins until everything in it is gone. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sweep.h"
#include "agent/sys.h"

#define WAIT_US INT64_C(1000000) /* for a spare that is coming; then without it */
#define CPU_CHECK_US INT64_C(20000)

static void advance(struct agent *agent);

/* ---- the request ---- */

static void read_request(struct run *run)
{
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, run->frame, run->frame_len);
    while (pd_fields_next(&fields, &field)) {
        int64_t number = (int64_t)pd_field_number(&field);
        switch (field.tag) {
        case PD_FIELD_TIMEOUT_MS: run->timeout_us = number * 1000; break;
        case PD_FIELD_COMPILE_MS: run->compile_us = number * 1000; break;
        case PD_FIELD_CPU_MS: run->cpu_us = number * 1000; break;
        case PD_FIELD_OUTPUT_MAX: run->output_max = number; break;
        case PD_FIELD_CREDIT: run->window = number; break;
        case PD_FIELD_MORE: run->more = true; break;
        case PD_FIELD_STDIN_OPEN: run->stdin_open = true; break;
        case PD_FIELD_GLOB: run->wants_artifacts = true; break;
        case PD_FIELD_DATA:
            run->stdin_len = field.len < STDIN_BYTES_MAX ? field.len : STDIN_BYTES_MAX;
            memcpy(run->stdin_data, field.data, run->stdin_len);
            break;
        default: break;
        }
    }
    run->stdin_eof = !run->stdin_open;
}

/* Copy the texts of one tag out of the frame, terminated, into `list`. */
static size_t take_texts(struct run *run, int tag, char *store, size_t store_bytes,
                         const char **list, size_t cap)
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

static void write_code(struct agent *agent)
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

static void on_file(struct agent *agent, const struct pd_frame *frame)
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

/* ---- starting ---- */

static void say_stage(struct agent *agent, const char *name)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_STAGE);

    pd_wire_text(&wire, PD_FIELD_NAME, name);
    wire_end(agent, &wire);
}

/* The run dies first where memory runs out, and what it forks too: so before its
 * program is told to begin. What is exec'd was told at its start. */
static void offer_to_oom_killer(const struct slot *slot)
{
    char path[64];

    if (slot->prog <= 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", slot->prog);
    sys_write_file(path, "1000");
}

/* Arguments and environment for a waiting interpreter: their number, the
 * arguments, the environment, each ended by a NUL; then end of file. Returns
 * false where they do not fit into a pipe. */
static bool make_go(struct run *run, char *message, size_t *ret_len)
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

static bool launch(struct agent *agent, const char *const *command, bool with_args)
{
    static char store[PD_FRAME_PAYLOAD_MAX + 1024];
    const char *argv[RUN_ARGV_MAX + 1], *env[RUN_ENV_MAX + 1], *own[RUN_ENV_MAX];
    struct run *run = &agent->run;
    size_t n = 0, n_env = 0, n_own;
    char *rest = store;

    for (; command[n]; n++)
        argv[n] = command[n];
    if (with_args)
        n += take_texts(run, PD_FIELD_ARG, store, sizeof store / 2, argv + n, RUN_ARGV_MAX - n);
    argv[n] = NULL;
    rest += sizeof store / 2;
    lang_env(agent, run->lang, env, RUN_ENV_MAX / 2);
    while (env[n_env])
        n_env++;
    n_own = take_texts(run, PD_FIELD_ENV, rest, sizeof store / 2, own, RUN_ENV_MAX - n_env);
    for (size_t i = 0; i < n_own; i++) {
        size_t name = strcspn(own[i], "=") + 1, at = 0;
        while (at < n_env && strncmp(env[at], own[i], name) != 0)
            at++;
        env[at] = own[i];
        n_env += at == n_env;
    }
    env[n_env] = NULL;
    return slot_launch(agent, run->slot, argv, env);
}

static void arm_timer(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t at = run->deadline_us;

    if (run->cpu_us && !run->compiling && run->cpu_check_us < at)
        at = run->cpu_check_us;
    timer_set(agent, at);
}

static void stage_begin(struct agent *agent)
{
    struct run *run = &agent->run;

    run->end = (struct end){.known = false};
    run->state = RUN_ACTIVE;
    run->deadline_us = sys_now_us() + (run->compiling ? run->compile_us : run->timeout_us);
    if (run->cpu_us) {
        run->cpu_before_us = platform_cpu_us(&agent->platform);
        run->cpu_check_us = sys_now_us() + CPU_CHECK_US;
    }
    arm_timer(agent);
}

static void could_not_start(struct agent *agent)
{
    struct run *run = &agent->run;

    run->end = (struct end){.known = true, .status = 126};
    run->ended_us = sys_now_us();
    run->state = RUN_DRAIN;
    sys_close(&run->slot->stdout_r);
    sys_close(&run->slot->stderr_r);
    advance(agent);
}

static void begin_program(struct agent *agent)
{
    static char message[GO_BYTES_MAX];
    struct run *run = &agent->run;
    struct slot *slot = run->slot;
    size_t len;
    bool ok;

    stage_begin(agent);
    if (slot->is_ready) {
        offer_to_oom_killer(slot);
        ok = make_go(run, message, &len) && write(slot->go_w, message, len) == (ssize_t)len;
        sys_close(&slot->go_w);
    } else {
        ok = launch(agent, run->lang->run, true);
    }
    if (!ok) {
        could_not_start(agent);
        return;
    }
    slot_watch_output(agent, slot, true);
    poll_add(agent, slot->stdin_w, EPOLLOUT, EVENT_SLOT, (unsigned)(slot - agent->slots),
             SLOT_STDIN);
    run_on_stdin_writable(agent);
}

static void begin_compiler(struct agent *agent)
{
    struct run *run = &agent->run;

    run->compiling = true;
    stage_begin(agent);
    say_stage(agent, "compile");
    if (!launch(agent, run->lang->compile, false)) {
        could_not_start(agent);
        return;
    }
    sys_close(&run->slot->stdin_w);
    slot_watch_output(agent, run->slot, true);
}

static void start(struct agent *agent)
{
    struct run *run = &agent->run;
    struct pd_wire wire = wire_begin(agent, PD_FRAME_STARTED);

    wire_end(agent, &wire);
    run->started_us = sys_now_us();
    if (run->lang->compile[0])
        begin_compiler(agent);
    else
        begin_program(agent);
}

static void take_slot(struct agent *agent, struct slot *slot)
{
    struct run *run = &agent->run;

    if (slot->state == SLOT_READY)
        hold_spares(agent);
    slot->state = SLOT_RUNNING;
    run->slot = slot;
    run->state = RUN_FILES;
    timer_set(agent, 0);
    if (!agent->confine.has_cell)
        slots_stop_starting(agent);
    if (!sweep_files(agent, slot->uid)) {
        wire_fault(agent, "the workspace could not be emptied");
        return;
    }
    write_code(agent);
    wire_pause(agent, false);
    if (!run->more)
        start(agent);
}

/* ---- choosing a slot ---- */

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

static bool is_spare_usable(struct run *run)
{
    static char message[GO_BYTES_MAX];
    size_t len;

    return !run->lang->compile[0] && run->lang->spare[0] && !sets_start_env(run) &&
           make_go(run, message, &len);
}

static struct slot *find_slot(struct agent *agent, const struct lang *lang, enum slot_state from,
                              enum slot_state to)
{
    struct slot *best = NULL;

    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot->lang != lang || slot->state < from || slot->state > to)
            continue;
        if (!best || slot->state > best->state ||
            (slot->state == best->state && slot->since_us < best->since_us))
            best = slot;
    }
    return best;
}

static void choose_slot(struct agent *agent)
{
    struct run *run = &agent->run;
    struct slot *slot = NULL;

    if (slots_ending(agent))
        return; /* until the last run is gone for good */
    if (is_spare_usable(run))
        slot = find_slot(agent, run->lang, SLOT_MAKING, SLOT_READY);
    if (!slot)
        slot = find_slot(agent, NULL, SLOT_MAKING, SLOT_BARE);
    if (!slot) {
        slot = slot_make(agent, NULL);
        if (slot)
            slot->start = START_COLD;
    }
    run->slot = slot;
    if (!slot) {
        wire_fault(agent, "no cell could be made");
        run->state = RUN_NONE;
        return;
    }
    if (slot->state == SLOT_READY || slot->state == SLOT_BARE)
        take_slot(agent, slot);
}

void run_on_slot_ready(struct agent *agent, struct slot *slot)
{
    struct run *run = &agent->run;

    if (run->state == RUN_WAIT && run->slot == slot)
        take_slot(agent, slot);
}

void run_on_slot_lost(struct agent *agent, struct slot *slot)
{
    struct run *run = &agent->run;

    if (run->slot == slot && run->state == RUN_WAIT)
        run->slot = NULL; /* another is chosen when this one is gone */
}

static void on_run(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;
    struct lang *lang = NULL;

    if (run->state != RUN_NONE) {
        wire_fault(agent, "a second run");
        return;
    }
    if (agent->platform.isolation == ISOLATION_CONTAINER && agent->runs > 0) {
        wire_fault(agent, "a second run, where nothing would stand between it and the first");
        return;
    }
    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_NAME)
            lang = lang_find(agent, (const char *)field.data, field.len);
    }
    if (!lang || fields.malformed) {
        wire_fault(agent, "a run of no known language");
        return;
    }
    version_abandon(agent);
    memset(run, 0, offsetof(struct run, frame));
    memcpy(run->frame, frame->payload, frame->payload_len);
    run->frame_len = frame->payload_len;
    run->lang = lang;
    run->file_fd = -1;
    run->compile_us = COMPILE_US;
    run->received_us = sys_now_us();
    lang->used_us = run->received_us;
    read_request(run);
    run->state = RUN_WAIT;
    wire_pause(agent, true);
    timer_set(agent, run->received_us + WAIT_US);
    choose_slot(agent);
}

/* ---- output ---- */

static void count_output(struct run *run, int stream, ssize_t len)
{
    if (stream == 1)
        run->out_bytes += len;
    else
        run->err_bytes += len;
    if (!run->has_output) {
        run->has_output = true;
        run->first_output_us = sys_now_us();
    }
}

/* Where no init takes everybody with it. */
static void empty_cell(struct agent *agent)
{
    if (!sweep_processes(agent, agent->run.slot->uid))
        wire_fault(agent, "a program's processes could not be ended");
}

static void kill_run(struct agent *agent, enum cause cause)
{
    struct run *run = &agent->run;

    if (run->killed || run->state < RUN_ACTIVE)
        return;
    run->killed = true;
    run->cause = cause;
    if (run->wants_artifacts && run->slot->cell.init > 0 && run->slot->prog > 0)
        kill(run->slot->prog, SIGKILL); /* the init kills the others before it collects */
    else
        cell_kill(&run->slot->cell);
    if (run->slot->prog > 0)
        kill(run->slot->prog, SIGKILL);
    empty_cell(agent);
}

static void deliver(struct agent *agent, int stream, const char *data, size_t len)
{
    struct run *run = &agent->run;
    struct pd_wire wire;
    int64_t left = run->output_max - run->delivered;

    if ((int64_t)len > left)
        len = (size_t)left;
    if (len == 0)
        return;
    wire = wire_begin(agent, stream == 1 ? PD_FRAME_OUT : PD_FRAME_ERR);
    pd_wire_bytes(&wire, PD_FIELD_DATA, data, len);
    wire_end(agent, &wire);
    hold_output(agent);
    run->delivered += (int64_t)len;
    run->window -= (int64_t)len;
}

static bool may_read(const struct agent *agent)
{
    const struct run *run = &agent->run;

    return run->delivered >= run->output_max ||
           (run->window > 0 && wire_room(agent) > PD_FRAME_BYTES_MAX);
}

/* Once around: false at the end of this stream, or when nothing is there now. */
static bool pump_once(struct agent *agent, int stream, int *fd)
{
    static char data[PD_FRAME_DATA_MAX];
    struct run *run = &agent->run;
    size_t want = sizeof data;
    ssize_t n;

    if (run->delivered < run->output_max && (int64_t)want > run->window)
        want = (size_t)run->window;
    n = read(*fd, data, want);
    if (n < 0)
        return errno == EINTR;
    if (n == 0) {
        sys_close(fd);
        return false;
    }
    count_output(run, stream, n);
    deliver(agent, stream, data, (size_t)n);
    if (run->out_bytes + run->err_bytes > run->output_max * OUTPUT_KILL_FACTOR &&
        run->out_bytes + run->err_bytes > OUTPUT_KILL_BYTES_MIN)
        kill_run(agent, CAUSE_OUTPUT);
    return true;
}

static void pump_what_is_there(struct agent *agent)
{
    struct slot *slot = agent->run.slot;

    for (int stream = 1; stream <= 2; stream++) {
        int *fd = stream == 1 ? &slot->stdout_r : &slot->stderr_r;
        while (*fd >= 0 && may_read(agent) && pump_once(agent, stream, fd))
            continue;
    }
}

void run_on_output(struct agent *agent, int stream)
{
    struct run *run = &agent->run;
    int *fd = stream == 1 ? &run->slot->stdout_r : &run->slot->stderr_r;

    /* A few rounds, then others get their turn. */
    for (int i = 0; i < 4 && *fd >= 0 && may_read(agent) && pump_once(agent, stream, fd); i++)
        continue;
    if (*fd >= 0 && !may_read(agent))
        slot_watch_output(agent, run->slot, false);
    if (run->state == RUN_DRAIN)
        advance(agent);
}

/* ---- input ---- */

static void grant_stdin(struct agent *agent, size_t bytes)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_WINDOW);

    pd_wire_number(&wire, PD_FIELD_CREDIT, bytes);
    wire_end(agent, &wire);
}

void run_on_stdin_writable(struct agent *agent)
{
    struct run *run = &agent->run;
    struct slot *slot = run->slot;
    size_t freed = 0;

    if (run->state != RUN_ACTIVE || slot->stdin_w < 0 || run->compiling)
        return;
    while (run->stdin_at < run->stdin_len) {
        ssize_t n = write(slot->stdin_w, run->stdin_data + run->stdin_at,
                          run->stdin_len - run->stdin_at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) /* nobody reads it any more: it is as good as read */
            n = (ssize_t)(run->stdin_len - run->stdin_at);
        run->stdin_at += (size_t)n;
        freed += (size_t)n;
    }
    if (run->stdin_at == run->stdin_len) {
        run->stdin_at = run->stdin_len = 0;
        poll_change(agent, slot->stdin_w, 0, EVENT_SLOT, (unsigned)(slot - agent->slots),
                    SLOT_STDIN);
        if (run->stdin_eof)
            sys_close(&slot->stdin_w);
    }
    if (freed > 0 && run->stdin_open)
        grant_stdin(agent, freed);
}

static void on_stdin(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag != PD_FIELD_DATA)
            continue;
        if (run->stdin_at > 0) {
            memmove(run->stdin_data, run->stdin_data + run->stdin_at,
                    run->stdin_len - run->stdin_at);
            run->stdin_len -= run->stdin_at;
            run->stdin_at = 0;
        }
        if (field.len > STDIN_BYTES_MAX - run->stdin_len) {
            wire_fault(agent, "more stdin than was granted");
            return;
        }
        memcpy(run->stdin_data + run->stdin_len, field.data, field.len);
        run->stdin_len += field.len;
    }
    if (run->state == RUN_ACTIVE && run->slot->stdin_w >= 0) {
        poll_change(agent, run->slot->stdin_w, EPOLLOUT, EVENT_SLOT,
                    (unsigned)(run->slot - agent->slots), SLOT_STDIN);
        run_on_stdin_writable(agent);
    }
}

/* ---- the end ---- */

static enum cause find_cause(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t kills = platform_oom_kills(&agent->platform);
    bool oom = kills > agent->oom_kills;
    bool killed = run->end.by_signal ? run->end.status == SIGKILL : run->end.status == 128 + SIGKILL;

    agent->oom_kills = kills;
    if (run->killed)
        return run->cause;
    if (oom && killed)
        return CAUSE_MEMORY;
    return run->end.by_signal ? CAUSE_SIGNALED : CAUSE_EXITED;
}

static bool is_truncated(const struct run *run)
{
    return run->out_bytes + run->err_bytes > run->delivered;
}

/* What the program and those it waited for have used; where the limit of the
 * whole cell was passed, what was counted against that. */
static int64_t cpu_used(const struct agent *agent, enum cause cause)
{
    const struct run *run = &agent->run;

    if (cause == CAUSE_CPU)
        return platform_cpu_us(&agent->platform) - run->cpu_before_us;
    return run->end.cpu_us;
}

static void send_exit(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t now = sys_now_us();
    int64_t first = run->has_output ? run->first_output_us : run->ended_us;
    int64_t compiled_us = run->compile_failed ? 0 : run->compile_took_us;
    int64_t stages[4] = {run->started_us - run->received_us - compiled_us,
                         first - run->started_us, run->ended_us - first, now - run->ended_us};
    enum cause cause = find_cause(agent);
    struct pd_wire wire = wire_begin(agent, PD_FRAME_EXIT);

    pd_wire_number(&wire, PD_FIELD_CAUSE, cause);
    pd_wire_number(&wire, PD_FIELD_EXIT_CODE,
                   (uint64_t)(run->end.by_signal ? 128 + run->end.status : run->end.status));
    if (run->end.by_signal)
        pd_wire_number(&wire, PD_FIELD_SIGNO, (uint64_t)run->end.status);
    pd_wire_number(&wire, PD_FIELD_START, run->slot->start);
    if (run->compile_took_us > 0)
        pd_wire_number(&wire, PD_FIELD_COMPILE_US, (uint64_t)run->compile_took_us);
    if (run->compile_failed)
        pd_wire_flag(&wire, PD_FIELD_COMPILE_FAILED);
    pd_wire_number(&wire, PD_FIELD_STDOUT_BYTES, (uint64_t)run->out_bytes);
    pd_wire_number(&wire, PD_FIELD_STDERR_BYTES, (uint64_t)run->err_bytes);
    if (run->compile_truncated || is_truncated(run))
        pd_wire_flag(&wire, PD_FIELD_TRUNCATED);
    pd_wire_number(&wire, PD_FIELD_WALL_US, (uint64_t)(run->ended_us - run->started_us));
    pd_wire_number(&wire, PD_FIELD_CPU_US, (uint64_t)cpu_used(agent, cause));
    pd_wire_number(&wire, PD_FIELD_MEMORY_PEAK, (uint64_t)run->end.maxrss_bytes);
    pd_wire_number(&wire, PD_FIELD_MEMORY_METHOD, 1);
    for (int i = 0; i < 4; i++)
        pd_wire_number(&wire, PD_FIELD_STAGE_US, (uint64_t)(stages[i] > 0 ? stages[i] : 0));
    wire_end(agent, &wire);
}

static void finish(struct agent *agent)
{
    struct run *run = &agent->run;
    struct slot *slot = run->slot;

    sys_close(&run->file_fd);
    timer_set(agent, 0);
    agent->runs++;
    send_exit(agent);
    if (agent->spares_changed)
        wire_tell_spares(agent);
    wire_flush(agent);
    run->state = RUN_NONE;
    run->slot = NULL;
    slot_end(agent, slot);
    /* At once: what is started from now on must not find what the run left. */
    if (!sweep_files(agent, 0))
        wire_fault(agent, "the workspace could not be emptied");
}

static void collect(struct agent *agent)
{
    static char request[ARTIFACT_GLOBS_BYTES];
    struct run *run = &agent->run;
    const char *globs[64];
    size_t n, len = 1;

    request[0] = 'A';
    n = take_texts(run, PD_FIELD_GLOB, request + 1, sizeof request - 1, globs, 64);
    for (size_t i = 0; i < n; i++)
        len += strlen(globs[i]) + 1;
    run->state = RUN_COLLECT;
    if (n == 0 || artifact_ask(agent, request, len) < 0)
        run->wants_artifacts = false;
}

static bool is_drained(const struct slot *slot)
{
    return slot->stdout_r < 0 && slot->stderr_r < 0;
}

/* The program's own stage: its output has a bound of its own. */
static void begin_anew(struct run *run)
{
    run->compile_truncated = is_truncated(run);
    run->out_bytes = run->err_bytes = run->delivered = 0;
    run->has_output = false;
    run->started_us = run->ended_us;
}

static void end_of_compiler(struct agent *agent)
{
    struct run *run = &agent->run;

    sys_close(&run->slot->stdout_r);
    sys_close(&run->slot->stderr_r);
    run->compiling = false;
    run->compile_took_us = run->ended_us - run->started_us;
    if (!run->killed && !run->end.by_signal && run->end.status == 0) {
        begin_anew(run);
        say_stage(agent, "run");
        begin_program(agent);
        return;
    }
    run->compile_failed = true;
    advance(agent);
}

/* What remains to be done after a program's end, as far as it can be done now. */
static void advance(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state == RUN_DRAIN && run->compiling) {
        pump_what_is_there(agent);
        if (may_read(agent)) /* else credit follows, and the rest with it */
            end_of_compiler(agent);
        return;
    }
    if (run->state == RUN_DRAIN && run->wants_artifacts && !run->compile_failed)
        collect(agent);
    if (run->state == RUN_COLLECT && run->wants_artifacts)
        return;
    if (run->end.known && is_drained(run->slot))
        finish(agent);
}

void run_on_prog_end(struct agent *agent, const struct end *end)
{
    struct run *run = &agent->run;

    if (run->state != RUN_ACTIVE)
        return;
    run->end = *end;
    run->ended_us = sys_now_us();
    run->state = RUN_DRAIN;
    timer_set(agent, 0);
    /* Others of the run may live and hold its pipes: they die with the cell. A
     * compiler's cell goes on to the program, an artifact's is the init's work. */
    if (!run->compiling && (!run->wants_artifacts || run->slot->cell.init <= 0)) {
        cell_kill(&run->slot->cell);
        empty_cell(agent);
    }
    pump_what_is_there(agent);
    slot_watch_output(agent, run->slot, may_read(agent));
    advance(agent);
}

void run_on_prog_done(struct agent *agent, int status)
{
    struct run *run = &agent->run;
    struct slot *slot = run->slot;
    struct end end = {.known = true, .status = status};

    if (run->state != RUN_ACTIVE || run->killed)
        return;
    sys_usage(slot->prog, &end.cpu_us, &end.maxrss_bytes);
    /* All that it printed is in its pipes; their end would come with its own. */
    pump_what_is_there(agent);
    if (may_read(agent)) {
        sys_close(&slot->stdout_r);
        sys_close(&slot->stderr_r);
    }
    kill(slot->prog, SIGKILL);
    run_on_prog_end(agent, &end);
}

void run_on_ctl(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state != RUN_COLLECT)
        return;
    if (!artifact_forward(agent)) {
        run->wants_artifacts = false;
        cell_kill(&run->slot->cell);
        advance(agent);
    }
}

void run_on_timer(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t now = sys_now_us();

    if (run->state == RUN_WAIT && run->slot) {
        struct slot *late = run->slot;
        run->slot = NULL;
        slot_end(agent, late);
    } else if (run->state == RUN_ACTIVE && now >= run->deadline_us) {
        kill_run(agent, CAUSE_TIMED_OUT);
    } else if (run->state == RUN_ACTIVE && run->cpu_us && !run->compiling) {
        run->cpu_check_us = now + CPU_CHECK_US;
        if (platform_cpu_us(&agent->platform) - run->cpu_before_us > run->cpu_us)
            kill_run(agent, CAUSE_CPU);
        else
            arm_timer(agent);
    }
}

void run_poke(struct agent *agent)
{
    if (agent->run.state == RUN_WAIT && !agent->run.slot)
        choose_slot(agent);
}

void run_abandon(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state == RUN_NONE)
        return;
    sys_close(&run->file_fd);
    if (run->state > RUN_WAIT)
        agent->runs++;
    if (run->slot)
        slot_end(agent, run->slot);
    run->slot = NULL;
    run->state = RUN_NONE;
    if (!sweep_files(agent, 0))
        wire_fault(agent, "the workspace could not be emptied");
    timer_set(agent, 0);
    wire_pause(agent, false);
}

/* ---- frames ---- */

static void on_window(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_CREDIT)
            run->window += (int64_t)pd_field_number(&field);
    }
    if (run->state >= RUN_ACTIVE) {
        slot_watch_output(agent, run->slot, true);
        if (run->state == RUN_COLLECT)
            artifact_resume(agent);
    }
}

static void on_data(struct agent *agent, const struct pd_frame *frame)
{
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_DATA && agent->run.file_fd >= 0)
            write_all(agent->run.file_fd, field.data, field.len);
    }
}

static void on_signal(struct agent *agent, const struct pd_frame *frame)
{
    struct slot *slot = agent->run.slot;
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        uint64_t signo = pd_field_number(&field);
        if (field.tag == PD_FIELD_SIGNO && signo >= 1 && signo <= 31 &&
            agent->run.state == RUN_ACTIVE && slot->prog > 0)
            kill(-slot->prog, (int)signo); /* its session's group, as a terminal would */
    }
}

static void on_cancel(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state == RUN_FILES) {
        /* Nothing has begun: there is no program whose end would be told. */
        run->killed = true;
        run->cause = CAUSE_CANCELED;
        run->started_us = run->ended_us = sys_now_us();
        run->end = (struct end){.known = true, .by_signal = true, .status = SIGKILL};
        finish(agent);
        return;
    }
    kill_run(agent, CAUSE_CANCELED);
}

static void on_ping(struct agent *agent)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_PONG);

    wire_end(agent, &wire);
}

void run_on_frame(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;

    switch (frame->type) {
    case PD_FRAME_RUN: on_run(agent, frame); break;
    case PD_FRAME_PING: on_ping(agent); break;
    case PD_FRAME_FILE:
        if (run->state == RUN_FILES)
            on_file(agent, frame);
        break;
    case PD_FRAME_DATA:
        if (run->state == RUN_FILES)
            on_data(agent, frame);
        break;
    case PD_FRAME_START:
        if (run->state == RUN_FILES) {
            sys_close(&run->file_fd);
            start(agent);
        }
        break;
    case PD_FRAME_STDIN:
        if (run->state != RUN_NONE)
            on_stdin(agent, frame);
        break;
    case PD_FRAME_STDIN_EOF:
        run->stdin_eof = true;
        run_on_stdin_writable(agent);
        break;
    case PD_FRAME_SIGNAL: on_signal(agent, frame); break;
    case PD_FRAME_CANCEL: on_cancel(agent); break;
    case PD_FRAME_WINDOW:
        if (run->state != RUN_NONE)
            on_window(agent, frame);
        break;
    case PD_FRAME_RESIZE: break; /* only a terminal has a size */
    default: wire_fault(agent, "a frame that only agents send"); break;
    }
}
