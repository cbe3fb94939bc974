/* Spares: interpreters that wait in slots for their programs; how many of them there are,
 * and what they say. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/program.h"
#include "agent/sys.h"

#define SPARE_FAILURES_MAX 3 /* in a row, then a language keeps no spares */

static bool has_zygote(const struct agent *agent, const struct lang *lang)
{
    return agent->zygotes && lang->zygote_wanted && lang->zygote.state != ZYGOTE_FAILED;
}

/* Found by an interpreter that opens its script before its hook waits: one empty
 * line, for those that look at the first byte. */
static bool make_empty_file(const struct slot *slot)
{
    int fd = sys_open_beneath(slot->cell.dirfd, slot->lang->file,
                              O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    bool ok = fd >= 0 && write(fd, "\n", 1) == 1;

    sys_close(&fd);
    return ok;
}

bool spare_start(struct agent *agent, struct slot *slot)
{
    const char *env[RUN_ENV_MAX];
    struct program_ends ends;
    int fds[PD_JOIN_COUNT];
    size_t n;

    if ((slot->lang->spare_file && !make_empty_file(slot)) ||
        !program_make_pipes(slot, &ends, true))
        return false;
    program_join_fds(slot, &ends, fds);
    slot->state = SLOT_JOINING;
    if (has_zygote(agent, slot->lang)) {
        slot->start = START_ZYGOTE;
        zygote_fork(agent, slot, fds);
    } else {
        slot->start = START_SPARE;
        lang_env(agent, slot->lang, env, RUN_ENV_MAX - 1);
        for (n = 0; env[n]; n++)
            continue;
        env[n] = "PADDOCK_SPARE=exec";
        env[n + 1] = NULL;
        slot->prog = program_fork(agent, slot, fds, slot->lang->spare, env);
        if (slot->prog <= 0)
            slot->prog = 0;
    }
    program_close_ends(&ends);
    poll_change(agent, slot->ready_r, EPOLLIN, EVENT_SLOT, slot_index(agent, slot), SLOT_READY_FD);
    return slot->prog > 0 || slot->zygote;
}

/* ---- waiting ---- */

void spare_check_ready(struct agent *agent, struct slot *slot)
{
    if (slot->state != SLOT_JOINING || !slot->is_ready || slot->prog <= 0)
        return;
    slot->lang->spares_failed = 0;
    proc_open(&slot->proc, slot->prog);
    slot->state = SLOT_READY;
    hold_spares(agent);
    run_on_slot_ready(agent, slot);
}

static void on_ready_byte(struct agent *agent, struct slot *slot)
{
    char byte;
    ssize_t n = read(slot->ready_r, &byte, 1);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != 1) {
        /* The interpreter ended, or closed what it should write to. */
        slot_end(agent, slot);
        run_on_slot_lost(agent, slot);
        return;
    }
    /* Its end of the pipe may be closed from here on; what else may come on it
     * belongs to a run. */
    poll_change(agent, slot->ready_r, 0, EVENT_SLOT, slot_index(agent, slot), SLOT_READY_FD);
    slot->is_ready = true;
    spare_check_ready(agent, slot);
}

/* The spare's interpreter has done all that its program can see. */
static void on_done(struct agent *agent, struct slot *slot)
{
    struct pd_spare_done done;
    ssize_t n = read(slot->ready_r, &done, sizeof done);

    if (n == (ssize_t)sizeof done && done.magic == PD_SPARE_DONE)
        run_on_prog_done(agent, done.status & 0xff);
    else
        sys_close(&slot->ready_r); /* its end will be told as any program's */
}

void spare_on_readable(struct agent *agent, struct slot *slot)
{
    if (slot->state == SLOT_JOINING)
        on_ready_byte(agent, slot);
    else if (slot->state == SLOT_RUNNING)
        on_done(agent, slot);
}

/* ---- how many ---- */

int spares_ready(const struct agent *agent, const struct lang *lang)
{
    int n = 0;

    for (size_t i = 0; i < SLOTS_MAX; i++)
        n += agent->slots[i].state == SLOT_READY && agent->slots[i].lang == lang;
    return n;
}

static int count_coming(const struct agent *agent, const struct lang *lang)
{
    int n = 0;

    for (size_t i = 0; i < SLOTS_MAX; i++) {
        const struct slot *slot = &agent->slots[i];
        n += slot->lang == lang && slot->state >= SLOT_MAKING && slot->state <= SLOT_READY;
    }
    return n;
}

static bool wants_spares(const struct agent *agent, struct lang *lang, const struct lang *first,
                         int64_t now)
{
    if (!lang->found || !lang->spare[0] || lang->spares_failed >= SPARE_FAILURES_MAX)
        return false;
    if (agent->platform.isolation == ISOLATION_CONTAINER && agent->runs > 0)
        return false;
    if (agent->platform.isolation == ISOLATION_UID && lang->spare_file)
        return false; /* all share one folder, which is emptied for each run */
    return lang == first || (lang->used_us && now - lang->used_us < SPARE_IDLE_US);
}

void spares_refill(struct agent *agent)
{
    const struct lang *first = NULL;
    int64_t now = sys_now_us();

    if (!agent->configured || agent->run.state != RUN_NONE)
        return;
    zygotes_take_over(agent);
    for (size_t i = 0; i < agent->n_langs; i++) {
        struct lang *lang = &agent->langs[i];
        if (!first && lang->found)
            first = lang;
        if (!wants_spares(agent, lang, first, now))
            continue;
        if (has_zygote(agent, lang) && lang->zygote.state != ZYGOTE_READY) {
            if (lang->zygote.state == ZYGOTE_NONE)
                zygote_start(agent, lang, &lang->zygote);
            continue;
        }
        for (int n = count_coming(agent, lang); n < agent->spares_wanted; n++) {
            if (!slot_make(agent, lang))
                break;
        }
    }
    if (agent->platform.isolation == ISOLATION_CELL && count_coming(agent, NULL) == 0)
        (void)!slot_make(agent, NULL);
}
