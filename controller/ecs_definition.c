#include "controller/ecs_definition.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define MIB (INT64_C(1024) * 1024)
#define AGENT_VOLUME "paddock"
#define AGENT_FOLDER "/paddock"
#define AGENT_USER "0:0"
#define NOFILE 4096
#define RUN_FOLDER_MIB 1
#define BODY_BYTES_MAX (64u * 1024) /* RegisterTaskDefinition's */
#define CPU_UNITS 1024

/* ---- Fargate's sizes (task CPU and memory, Amazon ECS Developer Guide) ---- */

static const struct {
    int cpu, least_mib, most_mib, step_mib;
} sizes[] = {
    {256, 512, 2048, 0}, /* 512, 1024, 2048 */
    {512, 1024, 4096, 1024},   {1024, 2048, 8192, 1024},   {2048, 4096, 16384, 1024},
    {4096, 8192, 30720, 1024}, {8192, 16384, 61440, 4096}, {16384, 32768, 122880, 8192},
};

static int memory_of(size_t i, int64_t wanted_mib)
{
    int mib = sizes[i].least_mib;

    while (mib < wanted_mib)
        mib += sizes[i].step_mib ? sizes[i].step_mib : mib;
    return mib <= sizes[i].most_mib ? mib : 0;
}

int pd_ecs_size(int64_t cpu_milli, int64_t memory_bytes, int *ret_cpu, int *ret_memory_mib,
                struct pd_err *err)
{
    int64_t mib = (memory_bytes + MIB - 1) / MIB + PD_ECS_INIT_MEMORY_MIB;

    for (size_t i = 0; i < PD_COUNT(sizes); i++) {
        if ((int64_t)sizes[i].cpu * 1000 < cpu_milli * CPU_UNITS || memory_of(i, mib) == 0)
            continue;
        *ret_cpu = sizes[i].cpu;
        *ret_memory_mib = memory_of(i, mib);
        return 0;
    }
    return pd_err_set(err, PD_INVALID,
                      "resources: Fargate has no task for so much (at most 16 processors and "
                      "119 GiB)");
}

/* ---- small pieces ---- */

static struct pd_node *texts(const char *const *items)
{
    struct pd_node *list = pd_node_list_new();

    for (; *items; items++)
        pd_node_add(list, pd_node_string_new(*items));
    return list;
}

static void set_number_text(struct pd_node *map, const char *key, int number)
{
    char text[16];

    snprintf(text, sizeof text, "%d", number);
    pd_node_set_string(map, key, text);
}

static struct pd_node *mount_new(bool read_only)
{
    struct pd_node *list = pd_node_list_new(), *mount = pd_node_map_new();

    pd_node_set_string(mount, "sourceVolume", AGENT_VOLUME);
    pd_node_set_string(mount, "containerPath", AGENT_FOLDER);
    pd_node_set_bool(mount, "readOnly", read_only);
    pd_node_add(list, mount);
    return list;
}

static void add_ulimit(struct pd_node *list, const char *name, int64_t value)
{
    struct pd_node *limit = pd_node_map_new();

    pd_node_set_string(limit, "name", name);
    pd_node_set_int(limit, "softLimit", value);
    pd_node_set_int(limit, "hardLimit", value);
    pd_node_add(list, limit);
}

static void add_tmpfs(struct pd_node *list, const char *path, int64_t mib, bool exec)
{
    const char *const options[] = {"rw", "nosuid", "nodev", exec ? "exec" : "noexec", NULL};
    struct pd_node *tmpfs = pd_node_map_new();

    pd_node_set_string(tmpfs, "containerPath", path);
    pd_node_set_int(tmpfs, "size", mib);
    pd_node_set(tmpfs, "mountOptions", texts(options));
    pd_node_add(list, tmpfs);
}

/* Fargate cannot add back what ALL took: where the agent changes users, for runs or to
 * give its rights up, the others of Docker's default capabilities are taken one by one. */
static struct pd_node *capabilities_new(bool changes_uid)
{
    static const char *const all[] = {"ALL", NULL};
    static const char *const others[] = {"AUDIT_WRITE",      "FOWNER",  "FSETID",  "MKNOD",
                                         "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETPCAP",
                                         "SYS_CHROOT",       NULL};
    struct pd_node *capabilities = pd_node_map_new();

    pd_node_set(capabilities, "drop", texts(changes_uid ? others : all));
    return capabilities;
}

/* ---- containers ---- */

static struct pd_node *init_container(const struct pd_ecs_template *template)
{
    static const char *const agent[] = {"/agent", NULL};
    static const char *const install[] = {"install", AGENT_FOLDER, NULL};
    struct pd_node *container = pd_node_map_new();

    pd_node_set_string(container, "name", "agent");
    pd_node_set_string(container, "image", template->agent_image);
    pd_node_set_bool(container, "essential", false);
    pd_node_set_int(container, "memory", PD_ECS_INIT_MEMORY_MIB);
    pd_node_set(container, "entryPoint", texts(agent));
    pd_node_set(container, "command", texts(install));
    pd_node_set_string(container, "user", AGENT_USER);
    pd_node_set_bool(container, "readonlyRootFilesystem", true);
    pd_node_set(container, "mountPoints", mount_new(false));
    pd_node_set(pd_node_set(container, "linuxParameters", pd_node_map_new()), "capabilities",
                capabilities_new(false));
    return container;
}

static struct pd_node *linux_parameters(const struct pd_pool_spec *spec)
{
    struct pd_node *parameters = pd_node_map_new(), *tmpfs = pd_node_list_new();
    int64_t disk_mib = (spec->resources.disk_bytes + MIB - 1) / MIB;

    add_tmpfs(tmpfs, "/workspace", disk_mib, true);
    add_tmpfs(tmpfs, "/tmp", disk_mib, true);
    add_tmpfs(tmpfs, "/var/tmp", disk_mib, false);
    add_tmpfs(tmpfs, "/run/paddock", RUN_FOLDER_MIB, false);
    pd_node_set(parameters, "capabilities", capabilities_new(true));
    pd_node_set_bool(parameters, "initProcessEnabled", false);
    pd_node_set(parameters, "tmpfs", tmpfs);
    return parameters;
}

static void set_process(struct pd_node *container, const struct pd_ecs_template *template,
                        bool changes_uid)
{
    static const char *const agent[] = {AGENT_FOLDER "/agent", NULL};
    struct pd_node *environment = pd_node_set(container, "environment", pd_node_list_new());
    struct pd_node *owner = pd_node_map_new(), *plain;

    pd_node_set(container, "entryPoint", texts(agent));
    pd_node_set_string(container, "user", AGENT_USER);
    pd_node_set_string(container, "workingDirectory", "/workspace");
    pd_node_set_int(container, "stopTimeout", PD_ECS_STOP_TIMEOUT_S);
    pd_node_set_string(owner, "name", "PADDOCK_OWNER_KEY");
    pd_node_set_string(owner, "value", template->owner_key);
    pd_node_add(environment, owner);
    if (changes_uid)
        return;
    plain = pd_node_map_new(); /* the agent gives its rights up, once it has set its folders */
    pd_node_set_string(plain, "name", "PADDOCK_PLAIN_USER");
    pd_node_set_string(plain, "value", "1");
    pd_node_add(environment, plain);
}

static void set_limits(struct pd_node *container, const struct pd_pool_spec *spec)
{
    struct pd_node *ulimits = pd_node_set(container, "ulimits", pd_node_list_new());

    pd_node_set_int(container, "cpu", spec->resources.cpu_milli * CPU_UNITS / 1000);
    pd_node_set_int(container, "memory", (spec->resources.memory_bytes + MIB - 1) / MIB);
    add_ulimit(ulimits, "nofile", NOFILE);
    add_ulimit(ulimits, "core", 0);
}

static struct pd_node *sandbox_container(const struct pd_ecs_template *template)
{
    const struct pd_pool_spec *spec = template->spec;
    struct pd_node *container = pd_node_map_new(), *after = pd_node_map_new();
    bool changes_uid = spec->isolation == PD_ISOLATION_UID;

    pd_node_set_string(container, "name", "sandbox");
    pd_node_set_string(container, "image", spec->image);
    pd_node_set_bool(container, "essential", true);
    pd_node_set_string(after, "containerName", "agent");
    pd_node_set_string(after, "condition", "SUCCESS");
    pd_node_add(pd_node_set(container, "dependsOn", pd_node_list_new()), after);
    set_process(container, template, changes_uid);
    set_limits(container, spec);
    pd_node_set_bool(container, "readonlyRootFilesystem", true);
    pd_node_set(container, "mountPoints", mount_new(true));
    pd_node_set(container, "linuxParameters", linux_parameters(spec));
    return container;
}

/* ---- the whole ---- */

static int name_family(struct pd_node *body, const char *pool, struct pd_err *err)
{
    pd_autobuf struct pd_buf text;
    unsigned char hash[SHA256_DIGEST_LENGTH];
    char family[PD_ECS_FAMILY_MAX];
    int rc;

    pd_buf_init(&text, BODY_BYTES_MAX);
    rc = pd_json_format(body, &text, err);
    if (rc < 0)
        return rc;
    SHA256((const unsigned char *)text.data, text.len, hash);
    snprintf(family, sizeof family, "paddock-%s-%02x%02x%02x%02x%02x%02x%02x%02x", pool, hash[0],
             hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]);
    pd_node_set_string(body, "family", family);
    return 0;
}

static int check(const struct pd_ecs_template *template, struct pd_err *err)
{
    if (template->spec->network != PD_NETWORK_NONE)
        return pd_err_set(err, PD_INVALID,
                          "network: egress is not supported on ECS; use network: none");
    if (!*template->agent_image)
        return pd_err_set(err, PD_INVALID,
                          "spec.ecs.agentImage is not set, nor ECS_AGENT_IMAGE: push the agent's "
                          "image with deploy/ecs/agent/push.sh");
    return 0;
}

int pd_ecs_definition(const struct pd_ecs_template *template, struct pd_node **ret_body,
                      struct pd_err *err)
{
    static const char *const fargate[] = {"FARGATE", NULL};
    pd_autonode struct pd_node *body = pd_node_map_new();
    struct pd_node *containers, *volume = pd_node_map_new(), *platform;
    int cpu = 0, memory_mib = 0, rc = check(template, err);

    pd_node_set_string(volume, "name", AGENT_VOLUME);
    pd_node_set(volume, "host", pd_node_map_new());
    pd_node_add(pd_node_set(body, "volumes", pd_node_list_new()), volume);
    if (rc < 0 ||
        (rc = pd_ecs_size(template->spec->resources.cpu_milli,
                          template->spec->resources.memory_bytes, &cpu, &memory_mib, err)) < 0)
        return rc;
    pd_node_set_string(body, "networkMode", "awsvpc");
    pd_node_set(body, "requiresCompatibilities", texts(fargate));
    set_number_text(body, "cpu", cpu);
    set_number_text(body, "memory", memory_mib);
    platform = pd_node_set(body, "runtimePlatform", pd_node_map_new());
    pd_node_set_string(platform, "cpuArchitecture", "X86_64");
    pd_node_set_string(platform, "operatingSystemFamily", "LINUX");
    if (*template->execution_role_arn)
        pd_node_set_string(body, "executionRoleArn", template->execution_role_arn);
    containers = pd_node_set(body, "containerDefinitions", pd_node_list_new());
    pd_node_add(containers, init_container(template));
    pd_node_add(containers, sandbox_container(template));
    rc = name_family(body, template->spec->name, err);
    if (rc == 0)
        *ret_body = PD_STEAL(body);
    return rc;
}
