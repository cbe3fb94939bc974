#include "tests/lib/decide_row.h"

#include <stdio.h>

#include "common/time.h"

static const char *const why_words[] = {
    [PD_WHY_SPENT] = "spent",       [PD_WHY_STUCK] = "stuck",     [PD_WHY_EXCESS] = "excess",
    [PD_WHY_OUTDATED] = "outdated", [PD_WHY_OLD] = "old",         [PD_WHY_OTHER_KEY] = "key",
    [PD_WHY_POOL_GONE] = "gone",    [PD_WHY_OVERDUE] = "overdue", [PD_WHY_WORN] = "worn",
};

size_t decide_members_read(const char *text, struct pd_view_member *members, char (*ids)[8])
{
    static const enum pd_sandbox_phase phases[128] = {
        ['c'] = PD_SANDBOX_CREATING, ['s'] = PD_SANDBOX_STARTING,    ['W'] = PD_SANDBOX_WARM,
        ['C'] = PD_SANDBOX_CLAIMED,  ['T'] = PD_SANDBOX_TERMINATING,
    };
    size_t count = 0;

    for (const char *p = text; *p; p++) {
        struct pd_view_member *member = &members[count == 0 ? 0 : count - 1];
        switch (*p) {
        case '!':
            member->spent = true;
            break;
        case '~':
            member->template_hash = "old";
            break;
        case '@':
            member->bound = true;
            break;
        case '$':
            member->created = (struct pd_time){1};
            break;
        case '#':
            member->worn = true;
            break;
        case '%':
            member->phase_since = (struct pd_time){1};
            break;
        case '&':
            member->phase_since = (struct pd_time){(DECIDE_NOW_MS - 5) * PD_NS_PER_MS};
            break;
        default:
            snprintf(ids[count], sizeof ids[count], "%zu", count);
            members[count] = (struct pd_view_member){
                .id = ids[count],
                .template_hash = "new",
                .phase = phases[(unsigned char)*p],
                .created = {(DECIDE_NOW_MS - 1000 + (int64_t)count) * PD_NS_PER_MS},
                .phase_since = {(DECIDE_NOW_MS - 500 + (int64_t)count) * PD_NS_PER_MS},
            };
            count++;
        }
    }
    return count;
}

void decide_plan_write(const struct pd_plan *plan, char *out, size_t out_bytes)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < plan->n_actions; i++) {
        const struct pd_action *action = &plan->actions[i];
        len += (size_t)snprintf(out + len, out_bytes - len, "%s%c%s:%s", len ? " " : "",
                                "-^!"[action->type], action -> id, why_words[action->why]);
    }
    if (plan->create)
        snprintf(out + len, out_bytes - len, "%s+%d", len ? " " : "", plan->create);
}

struct pd_pool_spec decide_row_spec(const struct decide_row *row)
{
    bool usual = row->min == 0 && row->max == 0;

    return (struct pd_pool_spec){
        .name = "table",
        .template_hash = "new",
        .min_size = usual ? 3 : row->min,
        .max_size = usual ? 10 : row->max,
        .target_idle = usual ? 1 : row->idle,
        .recycle = {.after_age_ms = 3600 * 1000},
        .scale_down_after_ms = 60000,
        .run = {.max_timeout_ms = 60000},
        .update = {.type = row->recreate ? PD_UPDATE_RECREATE : PD_UPDATE_ROLLING,
                   .max_surge = row->surge == 0    ? 1
                                : row->surge == -1 ? 0
                                                   : row->surge,
                   .max_unavailable = row->unavailable},
    };
}

static struct pd_growth row_growth(const struct decide_row *row)
{
    return (struct pd_growth){
        .template_hash = "new",
        .window = row->window ? row->window : PD_GROWTH_WINDOW_MAX,
        .failures = row->failures,
        .held = row->held,
        .retry_at = {(DECIDE_NOW_MS + (row->pausing ? 1000 : -1000)) * PD_NS_PER_MS},
        .message = "it failed",
    };
}

void decide_row(const struct decide_row *row, struct pd_plan *plan)
{
    static char ids[16][8]; /* the plan borrows them */
    struct pd_view_member members[16];
    struct pd_growth growth = row_growth(row);
    struct pd_pool_spec spec = decide_row_spec(row);
    struct pd_pool_status previous = {0};
    struct pd_view view = {
        .members = members,
        .n_members = decide_members_read(row->members, members, ids),
        .expected = row->expected,
        .deleting = row->deleting,
        .drain_begun = {row->deleting ? (DECIDE_NOW_MS - row->drain_ms) * PD_NS_PER_MS : 0},
        .may_act = !row->unknown,
        .peak_in_use = row->peak,
        .peak_needed = row->needed,
        .queued = row->queued,
        .blocked = row->blocked,
        .wait_ms = row->wait_ms,
        .start_ms = 500,
        .growth = &growth,
        .previous = &previous,
        .provider_error = "",
        .isolation_error = "",
        .source_error = "",
        .conflict = "",
    };

    pd_decide(&spec, &view, (struct pd_time){DECIDE_NOW_MS * PD_NS_PER_MS}, plan);
}
