#include "api/kube_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/server.h"
#include "common/mem.h"

#define ACCEPT_BYTES 2048
#define AGENT_BYTES 512
#define SMALL_BYTES 64
#define SEGMENTS_MAX 8
#define LIMIT_MAX 1000000

/* ---- the path ---- */

struct segments {
    char *copy;
    const char *list[SEGMENTS_MAX];
    size_t count;
};

static bool split(const char *path, struct segments *ret)
{
    char *at = ret->copy = pd_strdup(path);

    ret->count = 0;
    while (*at) {
        while (*at == '/')
            *at++ = '\0';
        if (!*at)
            break;
        if (ret->count == SEGMENTS_MAX)
            return false;
        ret->list[ret->count++] = at;
        at += strcspn(at, "/");
    }
    return true;
}

static const struct pd_kube_kind *kind_of(const struct pd_kube_kinds *kinds, const char *group,
                                          const char *plural)
{
    for (size_t i = 0; i < PD_KUBE_KINDS; i++) {
        if (strcmp(kinds->list[i].group, group) == 0 && strcmp(kinds->list[i].plural, plural) == 0)
            return &kinds->list[i];
    }
    return NULL;
}

static bool take_part(const char *text, struct pd_kube_target *target)
{
    if (!target->kind->scalable)
        return false;
    if (strcmp(text, "status") == 0)
        target->part = PD_KUBE_STATUS;
    else if (strcmp(text, "scale") == 0)
        target->part = PD_KUBE_SCALE;
    else
        return false;
    return true;
}

/* What follows the group and its version. */
static bool parse_rest(const struct pd_kube_kinds *kinds, const char *group,
                       const char *const *words, size_t count, struct pd_kube_target *ret)
{
    bool core = *group == '\0';

    if (count >= 2 && strcmp(words[0], "namespaces") == 0 && (!core || count > 2)) {
        pd_strcpy(ret->namespace, sizeof ret->namespace, words[1]);
        words += 2;
        count -= 2;
    }
    if (count < 1 || count > 3)
        return false;
    ret->kind = kind_of(kinds, group, words[0]);
    if (!ret->kind || (*ret->namespace && !ret->kind->namespaced))
        return false;
    if (count >= 2) {
        if (strlen(words[1]) >= sizeof ret->name || (ret->kind->namespaced && !*ret->namespace))
            return false;
        pd_strcpy(ret->name, sizeof ret->name, words[1]);
    }
    return count < 3 || take_part(words[2], ret);
}

bool pd_kube_target_parse(const struct pd_kube_kinds *kinds, const char *path,
                          struct pd_kube_target *ret_target)
{
    struct segments segments;
    bool found = false;

    *ret_target = (struct pd_kube_target){.kind = NULL};
    if (split(path, &segments) && segments.count >= 3) {
        if (strcmp(segments.list[0], "api") == 0 && strcmp(segments.list[1], "v1") == 0)
            found = parse_rest(kinds, "", segments.list + 2, segments.count - 2, ret_target);
        else if (strcmp(segments.list[0], "apis") == 0 &&
                 strcmp(segments.list[1], PD_KUBE_GROUP) == 0 &&
                 strcmp(segments.list[2], "v1") == 0)
            found =
                parse_rest(kinds, PD_KUBE_GROUP, segments.list + 3, segments.count - 3, ret_target);
    }
    free(segments.copy);
    return found;
}

/* ---- query and headers ---- */

bool pd_kube_wants_table(const char *accept)
{
    /* In the order of preference: the first one that is understood counts. */
    for (const char *p = accept; *p; p += strcspn(p, ",")) {
        size_t len;
        p += strspn(p, ", ");
        len = strcspn(p, ",");
        if (memmem(p, len, "as=Table", 8) && !memmem(p, len, "v=v1beta1", 9))
            return true;
        if (!memmem(p, len, "as=", 3) && strncmp(p, "application/json", 16) == 0)
            return false;
    }
    return false;
}

static bool is_true(const struct pd_exchange *exchange, const char *name)
{
    char text[SMALL_BYTES];

    return pd_exchange_query(exchange, name, text, sizeof text) &&
           (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

/* Whole numbers from 0; `max` where more is asked. */
static int take_number(const struct pd_exchange *exchange, const char *name, long max, long *ret,
                       struct pd_err *err)
{
    char text[SMALL_BYTES], *end;
    long value;

    *ret = 0;
    if (!pd_exchange_query(exchange, name, text, sizeof text) || !*text)
        return 0;
    errno = 0;
    value = strtol(text, &end, 10);
    if (*end || value < 0 || text[0] < '0' || text[0] > '9')
        return pd_err_set(err, PD_INVALID, "%s: must be a whole number", name);
    *ret = errno || value > max ? max : value;
    return 0;
}

/* A parameter that is there, but longer than anything could mean, is an error
 * and not an absent one. */
static int take_text(const struct pd_exchange *exchange, const char *name, char *out, size_t bytes,
                     struct pd_err *err)
{
    char probe[PD_KUBE_SELECTOR_BYTES_MAX];

    out[0] = '\0';
    if (!pd_exchange_query(exchange, name, probe, sizeof probe))
        return 0;
    if (strlen(probe) >= bytes)
        return pd_err_set(err, PD_INVALID, "%s: is too long", name);
    memcpy(out, probe, strlen(probe) + 1);
    return 0;
}

static int read_selectors(const struct pd_exchange *exchange, struct pd_kube_request *request,
                          struct pd_err *err)
{
    char text[PD_KUBE_SELECTOR_BYTES_MAX];
    int rc = 0;

    if (pd_exchange_query(exchange, "labelSelector", text, sizeof text))
        rc = pd_kube_labels_parse(text, &request->labels, err);
    if (rc == 0 && pd_exchange_query(exchange, "fieldSelector", text, sizeof text))
        rc = pd_kube_fields_parse(text, &request->fields, err);
    return rc;
}

static int read_writing(const struct pd_exchange *exchange, struct pd_kube_request *request,
                        struct pd_err *err)
{
    char text[SMALL_BYTES], agent[AGENT_BYTES];
    int rc = take_text(exchange, "fieldManager", request->manager, sizeof request->manager, err);

    if (rc < 0)
        return rc;
    if (!*request->manager && pd_exchange_header(exchange, "user-agent", agent, sizeof agent)) {
        agent[strcspn(agent, "/ ")] = '\0';
        pd_strcpy(request->manager, sizeof request->manager, agent);
    }
    if (!*request->manager)
        pd_strcpy(request->manager, sizeof request->manager, "unknown");
    request->force = is_true(exchange, "force");
    if (pd_exchange_query(exchange, "dryRun", text, sizeof text)) {
        request->dry_run = strcmp(text, "All") == 0;
        if (!request->dry_run && *text)
            return pd_err_set(err, PD_INVALID, "dryRun: must be All");
    }
    if (!pd_exchange_query(exchange, "fieldValidation", text, sizeof text) || !*text)
        return 0;
    if (strcmp(text, "Strict") == 0)
        request->validation = PD_KUBE_VALIDATE_STRICT;
    else if (strcmp(text, "Ignore") == 0)
        request->validation = PD_KUBE_VALIDATE_IGNORE;
    else if (strcmp(text, "Warn") != 0)
        return pd_err_set(err, PD_INVALID, "fieldValidation: must be Strict, Warn or Ignore");
    return 0;
}

static void read_headers(const struct pd_exchange *exchange, struct pd_kube_request *request)
{
    char text[ACCEPT_BYTES];

    if (pd_exchange_header(exchange, "accept", text, sizeof text))
        request->table = pd_kube_wants_table(text);
    if (pd_exchange_header(exchange, "content-type", request->content_type,
                           sizeof request->content_type))
        request->content_type[strcspn(request->content_type, "; ")] = '\0';
    if (!pd_exchange_query(exchange, "includeObject", text, sizeof text))
        return;
    if (strcmp(text, "None") == 0)
        request->include = PD_KUBE_INCLUDE_NONE;
    else if (strcmp(text, "Object") == 0)
        request->include = PD_KUBE_INCLUDE_OBJECT;
}

int pd_kube_request_read(const struct pd_exchange *exchange, const struct pd_kube_target *target,
                         struct pd_kube_request *ret, struct pd_err *err)
{
    struct pd_kube_request *request = ret;
    long limit, timeout_s;
    int rc;

    *request = (struct pd_kube_request){.target = *target};
    request->method = pd_exchange_method(exchange);
    request->watch = is_true(exchange, "watch");
    request->bookmarks = is_true(exchange, "allowWatchBookmarks");
    request->initial_events = is_true(exchange, "sendInitialEvents");
    read_headers(exchange, request);
    rc = read_selectors(exchange, request, err);
    if (rc == 0)
        rc = take_number(exchange, "limit", LIMIT_MAX, &limit, err);
    if (rc == 0)
        rc = take_number(exchange, "timeoutSeconds", PD_KUBE_TIMEOUT_MAX_S, &timeout_s, err);
    if (rc == 0)
        rc = take_text(exchange, "continue", request->token, sizeof request->token, err);
    if (rc == 0)
        rc = take_text(exchange, "resourceVersion", request->since, sizeof request->since, err);
    if (rc == 0)
        rc = read_writing(exchange, request, err);
    if (rc < 0)
        return rc;
    request->limit = (size_t)limit;
    request->timeout_s = (int)timeout_s;
    return 0;
}

void pd_kube_request_fini(struct pd_kube_request *request)
{
    pd_kube_selector_fini(&request->labels);
    pd_kube_selector_fini(&request->fields);
}
