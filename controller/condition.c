#include "controller/condition.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

static void say(struct pd_condition *condition, bool status, const char *reason, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));

static void say(struct pd_condition *condition, bool status, const char *reason, const char *fmt,
                ...)
{
    va_list ap;

    condition->status = status;
    pd_strcpy(condition->reason, sizeof condition->reason, reason);
    va_start(ap, fmt);
    vsnprintf(condition->message, sizeof condition->message, fmt, ap);
    va_end(ap);
}

static void set_available(const struct pd_pool_spec *spec, const struct pd_view *view,
                          const struct pd_findings *findings, struct pd_condition *condition)
{
    int least = spec->min_size - findings->tolerated;
    bool enough = findings->serving >= (least > 0 || spec->min_size == 0 ? least : 1);

    if (view->deleting)
        say(condition, false, "Deleting", "the pool is being deleted");
    else if (!enough)
        say(condition, false, "TooFewSandboxes", "%d of at least %d sandboxes can serve",
            findings->serving, spec->min_size);
    else if (findings->serving == 0)
        say(condition, true, "ScaledToZero", "sandboxes are made when a run asks for one");
    else
        say(condition, true, "SandboxesReady", "%d of %d wanted sandboxes can serve",
            findings->serving, findings->wanted);
}

static void set_progressing(const struct pd_view *view, const struct pd_findings *findings,
                            struct pd_condition *condition)
{
    const struct pd_growth *growth = view->growth;

    if (view->deleting)
        say(condition, true, "Draining", "%zu sandboxes are left", view->n_members);
    else if (growth->failures > 0 && growth->held)
        say(condition, false, "Held", "waiting for capacity: %s", growth->message);
    else if (growth->failures > 0)
        say(condition, false, findings->outdated > 0 ? "UpdateStopped" : "BackingOff",
            "%d attempts in a row failed: %s", growth->failures, growth->message);
    else if (findings->outdated > 0)
        say(condition, true, "Updating", "%d sandboxes are of an earlier template",
            findings->outdated);
    else if (findings->changing)
        say(condition, true, "Resizing", "on the way to %d sandboxes", findings->wanted);
    else
        say(condition, false, "Settled", "what exists is what is wanted");
}

static void set_degraded(const struct pd_view *view, struct pd_condition *condition)
{
    const struct pd_growth *growth = view->growth;

    if (view->provider_error[0])
        say(condition, true, "ProviderUnavailable", "%s", view->provider_error);
    else if (growth->failures > 0)
        say(condition, true, growth->held ? "NoCapacity" : "CreateFailed", "%s", growth->message);
    else if (view->source_error[0])
        say(condition, true, "SourceRejected", "the last good spec is in force: %s",
            view->source_error);
    else if (view->conflict[0])
        say(condition, true, "SourceConflict", "%s", view->conflict);
    else if (view->isolation_error[0])
        say(condition, true, "IsolationWeaker", "every sandbox serves one run only: %s",
            view->isolation_error);
    else
        say(condition, false, "AsExpected", "nothing needs attention");
}

/* A condition dates from its last change of status. */
static void set_since(struct pd_condition *condition, const struct pd_condition *previous,
                      int64_t wall_ms)
{
    bool same = previous->since_wall_ms != 0 && previous->status == condition->status;

    condition->since_wall_ms = same ? previous->since_wall_ms : wall_ms;
}

void pd_conditions_set(const struct pd_pool_spec *spec, const struct pd_view *view,
                       const struct pd_findings *findings, struct pd_pool_status *status)
{
    set_available(spec, view, findings, &status->available);
    set_progressing(view, findings, &status->progressing);
    set_degraded(view, &status->degraded);
    set_since(&status->available, &view->previous->available, view->wall_ms);
    set_since(&status->progressing, &view->previous->progressing, view->wall_ms);
    set_since(&status->degraded, &view->previous->degraded, view->wall_ms);
}
