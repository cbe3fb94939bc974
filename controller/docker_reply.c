#include "controller/docker_reply.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define API_MINOR_OLDEST 41 /* Docker 20.10 */
#define EXIT_CODE_KILLED "137"

static const struct pd_node *member(const struct pd_node *map, const char *key,
                                    enum pd_node_kind kind)
{
    const struct pd_node *node = map && map->kind == PD_NODE_MAP ? pd_node_get(map, key) : NULL;
    return node && node->kind == kind ? node : NULL;
}

const char *pd_docker_text(const struct pd_node *map, const char *key)
{
    const struct pd_node *node = member(map, key, PD_NODE_STRING);
    return node ? node->string.text : "";
}

int64_t pd_docker_int(const struct pd_node *map, const char *key)
{
    const struct pd_node *node = member(map, key, PD_NODE_INT);
    return node ? node->integer : 0;
}

const struct pd_node *pd_docker_list(const struct pd_node *map, const char *key)
{
    return member(map, key, PD_NODE_LIST);
}

const struct pd_node *pd_docker_map(const struct pd_node *map, const char *key)
{
    return member(map, key, PD_NODE_MAP);
}

const char *pd_docker_mount_source(const struct pd_node *inspect, const char *target)
{
    const struct pd_node *mounts = pd_docker_list(inspect, "Mounts");

    for (size_t i = 0; mounts && i < mounts->list.count; i++) {
        const struct pd_node *mount = mounts->list.items[i];
        if (strcmp(pd_docker_text(mount, "Destination"), target) == 0 &&
            strcmp(pd_docker_text(mount, "Type"), "bind") == 0)
            return pd_docker_text(mount, "Source");
    }
    return NULL;
}

/* ---- containers ---- */

static enum pd_instance_phase phase_of(const char *state)
{
    static const char *const alive[] = {"running", "paused", "restarting"};

    if (strcmp(state, "created") == 0)
        return PD_INSTANCE_CREATED;
    for (unsigned i = 0; i < PD_COUNT(alive); i++) {
        if (strcmp(state, alive[i]) == 0)
            return PD_INSTANCE_RUNNING;
    }
    return PD_INSTANCE_DEAD; /* exited, removing, dead */
}

static bool fits(const char *text, size_t bytes)
{
    return *text && strlen(text) < bytes;
}

/* An engine's seconds; 0 where they are no time that it could mean. */
static int64_t created_ms(int64_t seconds)
{
    return seconds < 0 || seconds > INT64_MAX / 1000 ? 0 : seconds * 1000;
}

static bool parse_instance(const struct pd_node *container, const char *instance,
                           struct pd_instance *out)
{
    const struct pd_node *labels = pd_docker_map(container, "Labels");
    const char *id = pd_docker_text(labels, PD_DOCKER_LABEL_SANDBOX);
    const char *pool = pd_docker_text(labels, PD_DOCKER_LABEL_POOL);
    const char *hash = pd_docker_text(labels, PD_DOCKER_LABEL_TEMPLATE_HASH);
    const char *provider_id = pd_docker_text(container, "Id");

    if (strcmp(pd_docker_text(labels, PD_DOCKER_LABEL_INSTANCE), instance) != 0 ||
        !fits(id, sizeof out->id) || !fits(pool, sizeof out->pool) ||
        !fits(provider_id, sizeof out->provider_id))
        return false;
    *out = (struct pd_instance){
        .phase = phase_of(pd_docker_text(container, "State")),
        .created_wall_ms = created_ms(pd_docker_int(container, "Created")),
    };
    pd_strcpy(out->id, sizeof out->id, id);
    pd_strcpy(out->pool, sizeof out->pool, pool);
    pd_strcpy(out->template_hash, sizeof out->template_hash, hash);
    pd_strcpy(out->provider_id, sizeof out->provider_id, provider_id);
    if (out->phase == PD_INSTANCE_DEAD)
        pd_strcpy(out->reason, sizeof out->reason, pd_docker_text(container, "Status"));
    return true;
}

/* The end of the value at `at`, in text that a parser will check afterwards:
 * where a comma or bracket stands outside of strings and nested values. */
static const char *value_end(const char *at, const char *end)
{
    int depth = 0;
    bool quoted = false;

    for (; at < end; at++) {
        if (quoted) {
            if (*at == '\\' && at + 1 < end)
                at++;
            else if (*at == '"')
                quoted = false;
        } else if (*at == '"') {
            quoted = true;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (depth == 0 && (*at == ',' || *at == ']')) {
            return at;
        } else if (*at == '}' || *at == ']') {
            depth--;
        }
    }
    return NULL;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

struct instances {
    struct pd_instance *items;
    size_t count, room;
};

static int add_container(struct instances *instances, const char *text, size_t len,
                         const char *instance)
{
    pd_autonode struct pd_node *container = NULL;
    struct pd_instance parsed;

    if (pd_json_parse(text, len, &container, NULL) < 0)
        return PD_UNAVAILABLE;
    if (!parse_instance(container, instance, &parsed))
        return 0;
    if (instances->count == instances->room) {
        instances->room = instances->room ? instances->room * 2 : 16;
        instances->items = pd_realloc(instances->items, instances->room, sizeof parsed);
    }
    instances->items[instances->count++] = parsed;
    return 0;
}

/* The elements of a JSON array, one after the other. */
static int parse_elements(const char *at, const char *end, const char *instance,
                          struct instances *instances)
{
    const char *stop;

    at = skip_blanks(at, end);
    if (at == end || *at != '[')
        return PD_UNAVAILABLE;
    at = skip_blanks(at + 1, end);
    if (at < end && *at == ']')
        return skip_blanks(at + 1, end) == end ? 0 : PD_UNAVAILABLE;
    for (; (stop = value_end(at, end)); at = stop + 1) {
        if (add_container(instances, at, (size_t)(stop - at), instance) < 0)
            return PD_UNAVAILABLE;
        if (*stop == ']')
            return skip_blanks(stop + 1, end) == end ? 0 : PD_UNAVAILABLE;
    }
    return PD_UNAVAILABLE;
}

int pd_docker_instances_parse(const char *text, size_t len, const char *instance,
                              struct pd_instance **ret_instances, size_t *ret_count,
                              struct pd_err *err)
{
    struct instances instances = {0};

    if (parse_elements(text, text + len, instance, &instances) < 0) {
        free(instances.items);
        return pd_err_set(err, PD_UNAVAILABLE, "the engine's list of containers is no list");
    }
    *ret_instances = instances.items;
    *ret_count = instances.count;
    return 0;
}

/* ---- events ---- */

static void say_why(const char *action, const struct pd_node *attributes,
                    struct pd_provider_event *event)
{
    const char *code = pd_docker_text(attributes, "exitCode");

    if (strcmp(action, "die") == 0)
        snprintf(event->reason, sizeof event->reason, "the container ended with exit code %.16s%s",
                 *code ? code : "?", strcmp(code, EXIT_CODE_KILLED) == 0 ? " (killed)" : "");
    else if (strcmp(action, "oom") == 0)
        pd_strcpy(event->reason, sizeof event->reason, "a process ran out of memory");
    else if (strcmp(action, "destroy") == 0)
        pd_strcpy(event->reason, sizeof event->reason, "the container was removed");
}

bool pd_docker_event_parse(const struct pd_node *message, const char *instance,
                           struct pd_provider_event *ret_event)
{
    static const char *const actions[] = {"start", "die", "oom", "destroy"};
    const struct pd_node *attributes = pd_docker_map(pd_docker_map(message, "Actor"), "Attributes");
    const char *action = pd_docker_text(message, "Action");
    const char *pool = pd_docker_text(attributes, PD_DOCKER_LABEL_POOL);
    const char *id = pd_docker_text(attributes, PD_DOCKER_LABEL_SANDBOX);
    bool known = false;

    for (unsigned i = 0; i < PD_COUNT(actions); i++)
        known = known || strcmp(action, actions[i]) == 0;
    if (!known || strcmp(pd_docker_text(message, "Type"), "container") != 0 ||
        strcmp(pd_docker_text(attributes, PD_DOCKER_LABEL_INSTANCE), instance) != 0 ||
        !fits(pool, sizeof ret_event->pool) || !fits(id, sizeof ret_event->id))
        return false;
    *ret_event = (struct pd_provider_event){
        .type = PD_PROVIDER_CHANGED,
        .dead = strcmp(action, "die") == 0 || strcmp(action, "destroy") == 0,
    };
    pd_strcpy(ret_event->pool, sizeof ret_event->pool, pool);
    pd_strcpy(ret_event->id, sizeof ret_event->id, id);
    say_why(action, attributes, ret_event);
    return true;
}

/* ---- version ---- */

static bool parse_minor(const char *version, int *ret_minor)
{
    int major, end = 0;
    int minor;

    if (strlen(version) > 8 || sscanf(version, "%2d.%3d%n", &major, &minor, &end) != 2 ||
        version[end] != '\0' || major != 1)
        return false;
    *ret_minor = minor;
    return true;
}

int pd_docker_version_choose(const struct pd_node *reply, char *out, size_t out_bytes,
                             struct pd_err *err)
{
    const char *newest_text = pd_docker_text(reply, "ApiVersion");
    int newest, oldest;

    if (!parse_minor(newest_text, &newest))
        return pd_err_set(err, PD_UNAVAILABLE, "what answers is no Docker engine");
    if (!parse_minor(pd_docker_text(reply, "MinAPIVersion"), &oldest))
        oldest = 0;
    if (newest < API_MINOR_OLDEST)
        return pd_err_set(err, PD_INVALID,
                          "the engine speaks API %s at most, 1.%d (Docker 20.10) is needed",
                          newest_text, API_MINOR_OLDEST);
    snprintf(out, out_bytes, "1.%d", oldest > API_MINOR_OLDEST ? oldest : API_MINOR_OLDEST);
    return 0;
}

/* ---- facts ---- */

static bool lists(const struct pd_node *list, const char *word)
{
    for (size_t i = 0; list && i < list->list.count; i++) {
        const struct pd_node *item = list->list.items[i];
        if (item->kind == PD_NODE_STRING && strstr(item->string.text, word))
            return true;
    }
    return false;
}

void pd_docker_info_read(const struct pd_node *info, struct pd_docker_facts *facts)
{
    const struct pd_node *options = pd_docker_list(info, "SecurityOptions");

    facts->apparmor = lists(options, "name=apparmor");
    facts->seccomp = lists(options, "name=seccomp");
    facts->rootless = lists(options, "name=rootless");
    facts->cgroup_v2 = strcmp(pd_docker_text(info, "CgroupVersion"), "2") == 0;
    pd_strcpy(facts->id, sizeof facts->id, pd_docker_text(info, "ID"));
}

/* ---- errors ---- */

/* What the engine says when the machine, not the request, is the matter. */
static bool says_exhausted(const char *message)
{
    static const char *const signs[] = {"no space left on device", "cannot allocate memory",
                                        "too many open files", "disk quota exceeded",
                                        "resource temporarily unavailable"};

    for (unsigned i = 0; i < PD_COUNT(signs); i++) {
        if (strcasestr(message, signs[i]))
            return true;
    }
    return false;
}

static int kind_of(int status, const char *message)
{
    if (says_exhausted(message))
        return PD_LIMIT;
    switch (status) {
    case 400:
        return PD_INVALID;
    case 401:
    case 403:
        return PD_DENIED;
    case 404:
        return PD_NOT_FOUND;
    case 409:
        return PD_CONFLICT;
    default:
        return PD_UNAVAILABLE;
    }
}

int pd_docker_status_err(int status, const char *text, size_t len, struct pd_err *err)
{
    pd_autonode struct pd_node *node = NULL;
    const char *message = "";

    if (pd_json_parse(text, len, &node, NULL) == 0)
        message = pd_docker_text(node, "message");
    if (!*message)
        message = text;
    return pd_err_set(err, kind_of(status, message), "the engine answers %d: %.400s", status,
                      message);
}
