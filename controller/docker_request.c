#include "controller/docker_request.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/fnv.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/proto.h"
#include "controller/docker_reply.h"

#define NOFILE_MAX 4096
#define SHM_BYTES_MAX (INT64_C(16) * 1024 * 1024)
#define RUN_BYTES_MAX (INT64_C(1024) * 1024)
#define TMPFS_BYTES_PER_INODE 4096 /* so many files, however small, as there are pages */
#define HOSTNAME_MAX 63
/* Where the host's memory runs out, sandboxes die before what is theirs to serve;
 * in a sandbox, spares (500) and runs (1000) before the agent, and what starts
 * here can be lowered by nobody in it. */
#define OOM_SCORE_AGENT 400
#define FILTERS_BYTES_MAX 4096

/* ---- privilege ---- */

/* What the agent needs where it changes uid for every run (isolation uid). */
static const char *const caps_uid[] = {"SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "KILL", NULL};
static const char *const caps_none[] = {NULL};

unsigned pd_docker_agent_uid(const char *id)
{
    uint32_t hash = pd_fnv_add(PD_FNV_BEGIN, id, strlen(id));

    return PD_DOCKER_AGENT_UID + hash % PD_DOCKER_AGENT_UIDS;
}

struct pd_docker_privilege pd_docker_privilege_of(enum pd_isolation isolation, const char *id)
{
    unsigned uid = pd_docker_agent_uid(id);

    switch (isolation) {
    case PD_ISOLATION_UID:
        return (struct pd_docker_privilege){0, 0, false, caps_uid};
    case PD_ISOLATION_CELL:
        return (struct pd_docker_privilege){uid, uid, true, caps_none};
    case PD_ISOLATION_CONTAINER:
        break;
    }
    return (struct pd_docker_privilege){uid, uid, false, caps_none};
}

bool pd_docker_privilege_is_safe(const struct pd_docker_privilege *privilege)
{
    return privilege->uid != 0 || !privilege->proc_unmasked;
}

/* ---- small pieces ---- */

static struct pd_node *strings_new(const char *const *items)
{
    struct pd_node *list = pd_node_list_new();

    for (; *items; items++)
        pd_node_add(list, pd_node_string_new(*items));
    return list;
}

static void set_text(struct pd_node *map, const char *key, char *text)
{
    pd_node_set_string(map, key, text);
    free(text);
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int pd_docker_container_name(const char *id, char out[static PD_DOCKER_CONTAINER_NAME_MAX],
                             struct pd_err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "0123456789_.-";
    size_t len = strlen(id);

    if (len == 0 || len >= PD_SANDBOX_ID_MAX || id[strspn(id, allowed)])
        return pd_err_set(err, PD_INVALID, "'%.80s' cannot name a container", id);
    snprintf(out, PD_DOCKER_CONTAINER_NAME_MAX, "paddock-%s", id);
    return 0;
}

/* ---- mounts ---- */

/* Docker's own default for a tmpfs is noexec. mode is octal text. */
static void add_tmpfs(struct pd_node *tmpfs, const char *path, int64_t bytes, const char *mode,
                      unsigned uid, bool exec)
{
    int64_t inodes = bytes / TMPFS_BYTES_PER_INODE + 16;

    set_text(tmpfs, path,
             pd_asprintf("rw,nosuid,nodev,%s,size=%" PRId64 ",nr_inodes=%" PRId64
                         ",mode=%s,uid=%u,gid=%u",
                         exec ? "exec" : "noexec", bytes, inodes, mode, uid, uid));
}

static struct pd_node *tmpfs_new(const struct pd_docker_sandbox *sandbox,
                                 const struct pd_docker_privilege *privilege)
{
    int64_t disk = sandbox->spec->resources.disk_bytes;
    struct pd_node *tmpfs = pd_node_map_new();
    /* Where each run has a uid of its own, the folders below belong to the runs. */
    const char *mode = privilege->uid == 0 ? "0711" : "0700";

    add_tmpfs(tmpfs, "/workspace", disk, mode, privilege->uid, true);
    add_tmpfs(tmpfs, "/tmp", disk, "1777", privilege->uid, true);
    add_tmpfs(tmpfs, "/var/tmp", disk, "1777", privilege->uid, false);
    /* In place of Docker's own, which bounds no inodes. */
    add_tmpfs(tmpfs, "/dev/shm", min64(disk, SHM_BYTES_MAX), "1777", privilege->uid, false);
    add_tmpfs(tmpfs, "/run/paddock", min64(disk, RUN_BYTES_MAX), mode, privilege->uid, false);
    return tmpfs;
}

static void add_volume(struct pd_node *mounts, const char *source, const char *target, bool copy)
{
    struct pd_node *mount = pd_node_map_new();

    pd_node_set_string(mount, "Type", "volume");
    if (source)
        pd_node_set_string(mount, "Source", source);
    pd_node_set_string(mount, "Target", target);
    pd_node_set_bool(mount, "ReadOnly", true);
    if (!copy)
        pd_node_set_bool(pd_node_set(mount, "VolumeOptions", pd_node_map_new()), "NoCopy", true);
    pd_node_add(mounts, mount);
}

static void add_bind(struct pd_node *mounts, const char *source, const char *target)
{
    struct pd_node *mount = pd_node_map_new();

    pd_node_set_string(mount, "Type", "bind");
    pd_node_set_string(mount, "Source", source);
    pd_node_set_string(mount, "Target", target);
    pd_node_set_bool(mount, "ReadOnly", true);
    pd_node_add(mounts, mount);
}

/* A VOLUME of the image's would be a writable, unbounded folder on the host's
 * disk: it is mounted read-only instead, with the image's content. */
static struct pd_node *mounts_new(const struct pd_docker_sandbox *sandbox,
                                  const struct pd_node *tmpfs)
{
    struct pd_node *mounts = pd_node_list_new();
    size_t count = sandbox->image_volumes ? sandbox->image_volumes->count : 0;

    add_volume(mounts, sandbox->volume, "/paddock", false);
    if (sandbox->direct_folder)
        add_bind(mounts, sandbox->direct_folder, PD_DIRECT_FOLDER);
    for (size_t i = 0; i < count; i++) {
        const char *path = sandbox->image_volumes->items[i];
        if (!pd_node_get(tmpfs, path) && strcmp(path, "/paddock") != 0)
            add_volume(mounts, NULL, path, true);
    }
    return mounts;
}

/* ---- limits ---- */

static void add_ulimit(struct pd_node *list, const char *name, int64_t value)
{
    struct pd_node *limit = pd_node_map_new();

    pd_node_set_string(limit, "Name", name);
    pd_node_set_int(limit, "Soft", value);
    pd_node_set_int(limit, "Hard", value);
    pd_node_add(list, limit);
}

static void set_limits(struct pd_node *host, const struct pd_pool_spec *spec)
{
    struct pd_node *ulimits = pd_node_set(host, "Ulimits", pd_node_list_new());

    pd_node_set_int(host, "Memory", spec->resources.memory_bytes);
    pd_node_set_int(host, "MemorySwap", spec->resources.memory_bytes); /* no swap */
    pd_node_set_int(host, "NanoCpus", spec->resources.cpu_milli * 1000000);
    pd_node_set_int(host, "PidsLimit", spec->resources.pids + PD_DOCKER_PIDS_OVERHEAD);
    pd_node_set_int(host, "ShmSize", min64(spec->resources.disk_bytes, SHM_BYTES_MAX));
    add_ulimit(ulimits, "nofile", NOFILE_MAX);
    /* Not 0, which a core pattern that is a pipe to a program on the host ignores:
     * of limits only 1 stops it (core(5)). */
    add_ulimit(ulimits, "core", 1);
    pd_node_set_int(host, "OomScoreAdj", OOM_SCORE_AGENT);
}

/* ---- confinement ---- */

static struct pd_node *security_new(const struct pd_docker_sandbox *sandbox)
{
    struct pd_node *list = pd_node_list_new();
    pd_autofree char *seccomp =
        sandbox->seccomp ? pd_asprintf("seccomp=%s", sandbox->seccomp) : NULL;
    pd_autofree char *apparmor =
        sandbox->apparmor ? pd_asprintf("apparmor=%s", sandbox->apparmor) : NULL;

    pd_node_add(list, pd_node_string_new("no-new-privileges"));
    if (seccomp)
        pd_node_add(list, pd_node_string_new(seccomp));
    if (apparmor)
        pd_node_add(list, pd_node_string_new(apparmor));
    return list;
}

static void set_confinement(struct pd_node *host, const struct pd_docker_sandbox *sandbox,
                            const struct pd_docker_privilege *privilege)
{
    static const char *const all[] = {"ALL", NULL};

    assert(pd_docker_privilege_is_safe(privilege));
    pd_node_set(host, "CapDrop", strings_new(all));
    pd_node_set(host, "CapAdd", strings_new(privilege->caps));
    pd_node_set(host, "SecurityOpt", security_new(sandbox));
    if (privilege->proc_unmasked) { /* else absent: Docker's defaults */
        pd_node_set(host, "MaskedPaths", pd_node_list_new());
        pd_node_set(host, "ReadonlyPaths", pd_node_list_new());
    }
    pd_node_set_bool(host, "Privileged", false);
    pd_node_set_bool(host, "ReadonlyRootfs", true);
    pd_node_set_string(host, "NetworkMode", "none");
    pd_node_set_string(host, "IpcMode", "private");
    if (sandbox->cgroup_v2)
        pd_node_set_string(host, "CgroupnsMode", "private");
}

static struct pd_node *host_config_new(const struct pd_docker_sandbox *sandbox,
                                       const struct pd_docker_privilege *privilege)
{
    struct pd_node *host = pd_node_map_new();
    struct pd_node *tmpfs = tmpfs_new(sandbox, privilege);

    set_confinement(host, sandbox, privilege);
    set_limits(host, sandbox->spec);
    pd_node_set(host, "Mounts", mounts_new(sandbox, tmpfs));
    pd_node_set(host, "Tmpfs", tmpfs);
    pd_node_set_string(pd_node_set(host, "LogConfig", pd_node_map_new()), "Type", "none");
    pd_node_set_bool(host, "Init", false);
    pd_node_set_bool(host, "AutoRemove", false); /* how it died must stay readable */
    if (sandbox->spec->runtime && *sandbox->spec->runtime)
        pd_node_set_string(host, "Runtime", sandbox->spec->runtime);
    return host;
}

/* ---- the whole ---- */

static void set_labels(struct pd_node *body, const struct pd_docker_sandbox *sandbox)
{
    struct pd_node *labels = pd_node_set(body, "Labels", pd_node_map_new());

    pd_node_set_string(labels, PD_DOCKER_LABEL_INSTANCE, sandbox->instance);
    pd_node_set_string(labels, PD_DOCKER_LABEL_POOL, sandbox->spec->name);
    pd_node_set_string(labels, PD_DOCKER_LABEL_TEMPLATE_HASH, sandbox->spec->template_hash);
    pd_node_set_string(labels, PD_DOCKER_LABEL_SANDBOX, sandbox->id);
}

/* The image's own command, user, health check and volumes have no say; its
 * environment (PATH above all) stays. */
static void set_process(struct pd_node *body, const struct pd_docker_sandbox *sandbox,
                        const struct pd_docker_privilege *privilege)
{
    static const char *const agent[] = {PD_DOCKER_AGENT_PATH, NULL};
    static const char *const no_check[] = {"NONE", NULL};
    struct pd_node *entrypoint;

    if (sandbox->entrypoint) {
        entrypoint = pd_node_list_new();
        for (size_t i = 0; i < sandbox->entrypoint->count; i++)
            pd_node_add(entrypoint, pd_node_string_new(sandbox->entrypoint->items[i]));
    } else {
        entrypoint = strings_new(agent);
    }
    pd_node_set(body, "Entrypoint", entrypoint);
    pd_node_set(body, "Cmd", pd_node_list_new());
    set_text(body, "User", pd_asprintf("%u:%u", privilege->uid, privilege->gid));
    pd_node_set_string(body, "WorkingDir", "/workspace");
    pd_node_set(pd_node_set(body, "Healthcheck", pd_node_map_new()), "Test", strings_new(no_check));
    pd_node_set_int(body, "StopTimeout", 0);
}

/* stdin stays open whoever detaches; the only wire in. */
static void set_streams(struct pd_node *body)
{
    pd_node_set_bool(body, "OpenStdin", true);
    pd_node_set_bool(body, "StdinOnce", false);
    pd_node_set_bool(body, "Tty", false);
    pd_node_set_bool(body, "AttachStdin", false);
    pd_node_set_bool(body, "AttachStdout", false);
    pd_node_set_bool(body, "AttachStderr", false);
}

static void set_hostname(struct pd_node *body, const char *id)
{
    char hostname[HOSTNAME_MAX + 1];
    size_t len;

    pd_strcpy(hostname, sizeof hostname, id);
    len = strlen(hostname);
    while (len > 0 && (hostname[len - 1] == '-' || hostname[len - 1] == '.'))
        hostname[--len] = '\0';
    pd_node_set_string(body, "Hostname", len > 0 ? hostname : "sandbox");
}

int pd_docker_create_body(const struct pd_docker_sandbox *sandbox, struct pd_node **ret_body,
                          struct pd_err *err)
{
    struct pd_docker_privilege privilege =
        pd_docker_privilege_of(sandbox->spec->isolation, sandbox->id);
    char name[PD_DOCKER_CONTAINER_NAME_MAX];
    struct pd_node *body;

    if (sandbox->spec->network != PD_NETWORK_NONE)
        return pd_err_set(err, PD_INVALID,
                          "network: egress is not supported yet on Docker; use network: none");
    if (pd_docker_container_name(sandbox->id, name, err) < 0)
        return PD_INVALID;
    body = pd_node_map_new();
    pd_node_set_string(body, "Image", sandbox->spec->image);
    set_process(body, sandbox, &privilege);
    set_streams(body);
    set_hostname(body, sandbox->id);
    set_labels(body, sandbox);
    /* No interface at all, and none of the time that setting up a network costs. */
    pd_node_set_bool(body, "NetworkDisabled", true);
    pd_node_set(body, "HostConfig", host_config_new(sandbox, &privilege));
    *ret_body = body;
    return 0;
}

/* ---- queries ---- */

static char *percent_encode(const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = pd_calloc(strlen(text) * 3 + 1, 1), *to = out;

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (isalnum(c) || strchr("-_.~", c)) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    return out;
}

char *pd_docker_filters(const char *label, const char *const *events)
{
    static const char *const containers[] = {"container", NULL};
    const char *const labels[] = {label, NULL};
    pd_autonode struct pd_node *filters = pd_node_map_new();
    pd_autobuf struct pd_buf text;
    pd_autofree char *encoded = NULL;

    pd_buf_init(&text, FILTERS_BYTES_MAX);
    pd_node_set(filters, "label", strings_new(labels));
    if (events) {
        pd_node_set(filters, "type", strings_new(containers));
        pd_node_set(filters, "event", strings_new(events));
    }
    if (pd_json_format(filters, &text, NULL) < 0)
        abort();
    encoded = percent_encode(text.data);
    return pd_asprintf("filters=%s", encoded);
}
