#include "api/route.h"

#include <stdio.h>
#include <string.h>

static const char *const method_names[] = {
    [PD_METHOD_GET] = "GET", [PD_METHOD_HEAD] = "HEAD",       [PD_METHOD_POST] = "POST",
    [PD_METHOD_PUT] = "PUT", [PD_METHOD_PATCH] = "PATCH",     [PD_METHOD_DELETE] = "DELETE",
    [PD_METHOD_OTHER] = "",  [PD_METHOD_OPTIONS] = "OPTIONS",
};

const char *pd_method_name(enum pd_method method)
{
    return method_names[method];
}

static void allow_add(char allow[static PD_ALLOW_BYTES], enum pd_method method)
{
    size_t used = strlen(allow);

    snprintf(allow + used, PD_ALLOW_BYTES - used, "%s%s", used ? ", " : "", method_names[method]);
}

static bool answers(const struct pd_route *route, enum pd_method method)
{
    return route->method == method || (method == PD_METHOD_HEAD && route->method == PD_METHOD_GET);
}

static bool is_path(const char *pattern, const char *path)
{
    while (*pattern && *path) {
        if (pattern[0] == '{' && pattern[1] == '}') {
            size_t len = strcspn(path, "/");
            if (len == 0)
                return false;
            pattern += 2;
            path += len;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*pattern && !*path;
}

void pd_route_segment(const char *pattern, const char *path, char out[static PD_SEGMENT_BYTES])
{
    const char *place = strstr(pattern, "{}");
    size_t before = place ? (size_t)(place - pattern) : 0;
    size_t len = place && strlen(path) > before ? strcspn(path + before, "/") : 0;

    if (len >= PD_SEGMENT_BYTES)
        len = 0;
    memcpy(out, path + (len ? before : 0), len);
    out[len] = '\0';
}

enum pd_route_match pd_route_find(const struct pd_route *table, enum pd_method method,
                                  const char *path, const struct pd_route **ret_route,
                                  char allow[static PD_ALLOW_BYTES])
{
    const struct pd_route *found = NULL;

    allow[0] = '\0';
    for (const struct pd_route *route = table; route->path; route++) {
        if (!is_path(route->path, path))
            continue;
        if (!found && answers(route, method))
            found = route;
        allow_add(allow, route->method);
        if (route->method == PD_METHOD_GET)
            allow_add(allow, PD_METHOD_HEAD);
    }
    if (!allow[0])
        return PD_ROUTE_NO_PATH;
    allow_add(allow, PD_METHOD_OPTIONS);
    if (found) {
        *ret_route = found;
        return PD_ROUTE_FOUND;
    }
    return method == PD_METHOD_OPTIONS ? PD_ROUTE_OPTIONS : PD_ROUTE_NO_METHOD;
}
