#include "api/kube_route.h"

enum verb { GET, LIST, WATCH, CREATE, UPDATE, PATCH, DELETE, DELETE_ALL, OTHER, VERBS };

#define READS(resource)                                                                            \
    [GET] = resource ":get", [LIST] = resource ":list", [WATCH] = resource ":watch",               \
    [OTHER] = resource ":other"
#define ALL(resource)                                                                              \
    {                                                                                              \
        READS(resource), [CREATE] = resource ":create", [UPDATE] = resource ":update",             \
                         [PATCH] = resource ":patch", [DELETE] = resource ":delete",               \
                         [DELETE_ALL] = resource ":deletecollection"                               \
    }
#define NOT_WRITTEN(resource)                                                                      \
    {                                                                                              \
        READS(resource), [CREATE] = resource ":other", [UPDATE] = resource ":other",               \
                         [PATCH] = resource ":other", [DELETE] = resource ":other",                \
                         [DELETE_ALL] = resource ":other"                                          \
    }

static const char *const whole[PD_KUBE_KINDS][VERBS] = {
    [PD_KUBE_POOL] = ALL("sandboxpools"),
    [PD_KUBE_SANDBOX] = NOT_WRITTEN("sandboxes"),
    [PD_KUBE_EVENT] = NOT_WRITTEN("events"),
    [PD_KUBE_NAMESPACES] = NOT_WRITTEN("namespaces"),
};
static const char *const status[VERBS] = ALL("sandboxpools/status");
static const char *const scale[VERBS] = ALL("sandboxpools/scale");

static enum verb verb_of(const struct pd_kube_target *target, enum pd_method method, bool watch)
{
    switch (method) {
    case PD_METHOD_GET:
    case PD_METHOD_HEAD:
        return *target->name ? GET : watch ? WATCH : LIST;
    case PD_METHOD_POST:
        return CREATE;
    case PD_METHOD_PUT:
        return UPDATE;
    case PD_METHOD_PATCH:
        return PATCH;
    case PD_METHOD_DELETE:
        return *target->name ? DELETE : DELETE_ALL;
    default:
        return OTHER;
    }
}

const char *pd_kube_route(const struct pd_kube_target *target, enum pd_method method, bool watch)
{
    enum verb verb = verb_of(target, method, watch);

    if (target->kind->id == PD_KUBE_POOL && target->part != PD_KUBE_WHOLE)
        return target->part == PD_KUBE_SCALE ? scale[verb] : status[verb];
    return whole[target->kind->id][verb];
}
