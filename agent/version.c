/* Versions: each language's own command for it is run once, in a cell, while
 * the sandbox has nothing else to do. A run never waits for one: the probe under
 * way is killed and done again later. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

#define PROBE_US INT64_C(10000000) /* then the version stays unknown */

void version_on_attach(struct agent *agent, const struct pd_frame *attach)
{
    struct pd_fields fields;
    struct pd_field field;

    version_abandon(agent);
    agent->probe.lang = agent->n_langs;
    pd_fields_init(&fields, attach->payload, attach->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_WANT_VERSIONS)
            agent->probe.lang = 0;
    }
}

/* Whether anything is being prepared that a run may soon need. */
static bool is_busy(const struct agent *agent)
{
    if (agent->run.state != RUN_NONE)
        return true;
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        enum slot_state state = agent->slots[i].state;
        if (state == SLOT_MAKING || state == SLOT_JOINING || state == SLOT_ENDING)
            return true;
    }
    for (size_t i = 0; i < agent->n_langs; i++) {
        if (agent->langs[i].zygote.state == ZYGOTE_STARTING)
            return true;
    }
    return false;
}

static struct slot *take_bare_cell(struct agent *agent)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (agent->slots[i].state == SLOT_BARE)
            return &agent->slots[i];
    }
    return agent->platform.isolation == ISOLATION_CELL ? NULL : slot_make(agent, NULL);
}

static void begin(struct agent *agent, struct slot *slot)
{
    struct probe *probe = &agent->probe;
    const struct lang *lang = &agent->langs[probe->lang];
    const char *env[RUN_ENV_MAX];

    slot->state = SLOT_PROBING;
    probe->slot = slot;
    probe->len = 0;
    probe->has_line = false;
    lang_env(agent, lang, env, RUN_ENV_MAX);
    if (!slot_launch(agent, slot, lang->version, env, false)) {
        version_abandon(agent);
        probe->lang++;
        return;
    }
    sys_close(&slot->stdin_w);
    slot_watch_output(agent, slot, true);
    timer_set(agent, sys_now_us() + PROBE_US);
}

void version_poke(struct agent *agent)
{
    struct probe *probe = &agent->probe;
    struct slot *slot;

    if (!agent->attached || probe->slot || probe->lang >= agent->n_langs || is_busy(agent))
        return;
    while (probe->lang < agent->n_langs &&
           (!agent->langs[probe->lang].found || !agent->langs[probe->lang].version[0]))
        probe->lang++;
    slot = probe->lang < agent->n_langs ? take_bare_cell(agent) : NULL;
    if (slot)
        begin(agent, slot);
}

void version_abandon(struct agent *agent)
{
    struct slot *slot = agent->probe.slot;

    if (!slot)
        return;
    agent->probe.slot = NULL;
    timer_set(agent, 0);
    slot_end(agent, slot);
}

static void finish(struct agent *agent)
{
    struct probe *probe = &agent->probe;
    struct pd_wire wire = wire_begin(agent, PD_FRAME_VERSION);

    pd_wire_text(&wire, PD_FIELD_NAME, agent->langs[probe->lang].name);
    pd_wire_bytes(&wire, PD_FIELD_TEXT, probe->text, probe->len);
    wire_end(agent, &wire);
    version_abandon(agent);
    probe->lang++;
}

/* The first line that is not empty, without what a log could not print. */
static void add(struct probe *probe, const char *data, size_t len)
{
    for (size_t i = 0; i < len && !probe->has_line; i++) {
        if (data[i] == '\n')
            probe->has_line = probe->len > 0;
        else if (data[i] >= ' ' && data[i] <= '~' && probe->len < sizeof probe->text)
            probe->text[probe->len++] = data[i];
    }
}

void version_on_output(struct agent *agent, int *fd)
{
    struct slot *slot = agent->probe.slot;
    char data[512];
    ssize_t n = read(*fd, data, sizeof data);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        add(&agent->probe, data, (size_t)n);
    else
        sys_close(fd);
    if (agent->probe.has_line || (slot->stdout_r < 0 && slot->stderr_r < 0))
        finish(agent);
}

void version_on_timer(struct agent *agent)
{
    if (!agent->probe.slot)
        return;
    version_abandon(agent);
    agent->probe.lang++;
}
