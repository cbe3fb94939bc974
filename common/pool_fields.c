#include "common/pool_fields.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/quantity.h"

#define PATH_MAX_BYTES 64
#define TEMPLATE_BYTES_MAX (1024 * 1024)

static const char *const provider_names[] = {
    [PD_PROVIDER_DOCKER] = "docker", [PD_PROVIDER_ECS] = "ecs", NULL};
static const char *const network_names[] = {
    [PD_NETWORK_NONE] = "none", [PD_NETWORK_EGRESS] = "egress", NULL};
static const char *const isolation_names[] = {[PD_ISOLATION_CELL] = "cell",
                                              [PD_ISOLATION_UID] = "uid",
                                              [PD_ISOLATION_CONTAINER] = "container",
                                              NULL};
static const char *const update_names[] = {
    [PD_UPDATE_ROLLING] = "RollingUpdate", [PD_UPDATE_RECREATE] = "Recreate", NULL};

#define FIELD(p, k, member, ...)                                                                   \
    {                                                                                              \
        .path = p, .kind = PD_FIELD_##k, .offset = offsetof(struct pd_pool_spec, member),          \
        ##__VA_ARGS__                                                                              \
    }
#define TEMPLATE .template = PD_TEMPLATE_YES
#define ECS_TEMPLATE .template = PD_TEMPLATE_ECS

static const struct pd_pool_field fields[] = {
    FIELD("provider", ENUM, provider, .names = provider_names, TEMPLATE),
    FIELD("image", TEXT, image, .short_name = "default_image", TEMPLATE),
    FIELD("languages", TEXTS, languages, TEMPLATE),
    FIELD("minSize", INT, min_size, .short_name = "min_size"),
    FIELD("maxSize", INT, max_size, .short_name = "max_size"),
    FIELD("targetIdle", INT, target_idle),
    FIELD("resources.cpu", CPU, resources.cpu_milli, TEMPLATE),
    FIELD("resources.memory", BYTES, resources.memory_bytes, TEMPLATE),
    FIELD("resources.pids", INT, resources.pids, TEMPLATE),
    FIELD("resources.disk", BYTES, resources.disk_bytes, TEMPLATE),
    FIELD("run.timeout", DURATION, run.timeout_ms),
    FIELD("run.maxTimeout", DURATION, run.max_timeout_ms),
    FIELD("run.maxOutput", BYTES, run.max_output_bytes),
    FIELD("run.maxCode", BYTES, run.max_code_bytes),
    FIELD("run.maxFiles", BYTES, run.max_files_bytes),
    FIELD("network", ENUM, network, .names = network_names, TEMPLATE),
    FIELD("recycle.afterRuns", INT, recycle.after_runs),
    FIELD("recycle.afterAge", DURATION, recycle.after_age_ms),
    FIELD("recycle.share", BOOL, recycle.share),
    FIELD("isolation", ENUM, isolation, .names = isolation_names, TEMPLATE),
    FIELD("runtime", TEXT, runtime, TEMPLATE),
    FIELD("warm.spares", INT, warm.spares, TEMPLATE),
    FIELD("warm.zygote", BOOL, warm.zygote, TEMPLATE),
    FIELD("warm.preload", TEXTS, warm.preload, TEMPLATE),
    FIELD("queue.maxLength", INT, queue.max_length),
    FIELD("queue.maxWait", DURATION, queue.max_wait_ms),
    FIELD("scaleDownAfter", DURATION, scale_down_after_ms),
    FIELD("updateStrategy.type", ENUM, update.type, .names = update_names),
    FIELD("updateStrategy.maxSurge", INT, update.max_surge),
    FIELD("updateStrategy.maxUnavailable", INT, update.max_unavailable),
    FIELD("ecs.cluster", TEXT, ecs.cluster, ECS_TEMPLATE),
    FIELD("ecs.subnets", TEXTS, ecs.subnets, ECS_TEMPLATE),
    FIELD("ecs.securityGroups", TEXTS, ecs.security_groups, ECS_TEMPLATE),
    FIELD("ecs.capacityProviders", TEXTS, ecs.capacity_providers, ECS_TEMPLATE),
    FIELD("ecs.executionRoleArn", TEXT, ecs.execution_role_arn, ECS_TEMPLATE),
    FIELD("ecs.platformVersion", TEXT, ecs.platform_version, ECS_TEMPLATE),
    FIELD("ecs.agentImage", TEXT, ecs.agent_image, ECS_TEMPLATE),
    FIELD("ecs.taskDefinition", TEXT, ecs.task_definition, ECS_TEMPLATE),
};

const struct pd_pool_field *pd_pool_field_at(size_t i)
{
    return i < PD_COUNT(fields) ? &fields[i] : NULL;
}

const char *pd_provider_kind_name(enum pd_provider_kind kind)
{
    return provider_names[kind];
}

const char *pd_isolation_name(enum pd_isolation isolation)
{
    return isolation_names[isolation];
}

/* "run.timeout" into its folder "run" ("" for none) and the name "timeout". */
static const char *split(const char *path, char folder[static PATH_MAX_BYTES])
{
    const char *dot = strchr(path, '.');

    snprintf(folder, PATH_MAX_BYTES, "%.*s", dot ? (int)(dot - path) : 0, path);
    return dot ? dot + 1 : path;
}

struct pd_node *pd_pool_field_node(const struct pd_node *spec_node,
                                   const struct pd_pool_field *field)
{
    char folder[PATH_MAX_BYTES];
    const char *name = split(field->path, folder);

    return pd_node_get(*folder ? pd_node_get(spec_node, folder) : spec_node, name);
}

/* ---- tree to struct ---- */

static int decode_enum(const struct pd_pool_field *field, const char *text)
{
    int value = 0;

    while (field->names[value] && strcmp(field->names[value], text) != 0)
        value++;
    assert(field->names[value]); /* else the schema has a name that the table lacks */
    return value;
}

/* Quantities may be written as integers too. */
static int64_t decode_amount(const struct pd_pool_field *field, const struct pd_node *node)
{
    char digits[24];
    const char *text = digits;
    int64_t amount = 0;
    int rc;

    if (node->kind == PD_NODE_INT)
        snprintf(digits, sizeof digits, "%lld", (long long)node->integer);
    else
        text = pd_node_text(node, "");
    if (field->kind == PD_FIELD_DURATION)
        rc = pd_duration_parse(text, &amount, NULL);
    else if (field->kind == PD_FIELD_BYTES)
        rc = pd_quantity_parse_bytes(text, &amount, NULL);
    else
        rc = pd_quantity_parse(text, &amount, NULL);
    assert(rc == 0);
    return amount;
}

static void decode(const struct pd_pool_field *field, const struct pd_node *node,
                   struct pd_pool_spec *spec)
{
    void *slot = (char *)spec + field->offset;

    switch (field->kind) {
    case PD_FIELD_INT:
        *(int *)slot = (int)pd_node_int(node, 0);
        break;
    case PD_FIELD_BOOL:
        *(bool *)slot = pd_node_bool(node, false);
        break;
    case PD_FIELD_TEXT:
        *(char **)slot = pd_strdup(pd_node_text(node, ""));
        break;
    case PD_FIELD_TEXTS:
        *(struct pd_strings *)slot = pd_strings_from(node);
        break;
    case PD_FIELD_ENUM:
        *(int *)slot = decode_enum(field, pd_node_text(node, ""));
        break;
    case PD_FIELD_CPU:
    case PD_FIELD_BYTES:
    case PD_FIELD_DURATION:
        *(int64_t *)slot = decode_amount(field, node);
        break;
    }
}

void pd_pool_fields_decode(const struct pd_node *spec_node, struct pd_pool_spec *spec)
{
    for (size_t i = 0; i < PD_COUNT(fields); i++)
        decode(&fields[i], pd_pool_field_node(spec_node, &fields[i]), spec);
}

/* ---- struct to tree ---- */

static struct pd_node *encode(const struct pd_pool_field *field, const struct pd_pool_spec *spec)
{
    const void *slot = (const char *)spec + field->offset;
    char text[48];

    switch (field->kind) {
    case PD_FIELD_INT:
        return pd_node_int_new(*(const int *)slot);
    case PD_FIELD_BOOL:
        return pd_node_bool_new(*(const bool *)slot);
    case PD_FIELD_TEXT:
        return pd_node_string_new(*(char *const *)slot);
    case PD_FIELD_TEXTS:
        return pd_strings_node(slot);
    case PD_FIELD_ENUM:
        return pd_node_string_new(field->names[*(const int *)slot]);
    case PD_FIELD_CPU:
        return pd_node_string_new(pd_quantity_format(*(const int64_t *)slot, text, sizeof text));
    case PD_FIELD_BYTES:
        return pd_node_string_new(
            pd_quantity_format_bytes(*(const int64_t *)slot, text, sizeof text));
    case PD_FIELD_DURATION:
        return pd_node_string_new(pd_duration_format(*(const int64_t *)slot, text, sizeof text));
    }
    return NULL;
}

struct pd_node *pd_pool_fields_encode(const struct pd_pool_spec *spec)
{
    struct pd_node *map = pd_node_map_new();

    for (size_t i = 0; i < PD_COUNT(fields); i++) {
        char folder[PATH_MAX_BYTES];
        const char *name = split(fields[i].path, folder);
        struct pd_node *parent = *folder ? pd_node_get(map, folder) : map;
        if (!parent)
            parent = pd_node_set(map, folder, pd_node_map_new());
        pd_node_set(parent, name, encode(&fields[i], spec));
    }
    return map;
}

static bool is_of_template(const struct pd_pool_field *field, const struct pd_pool_spec *spec)
{
    return field->template == PD_TEMPLATE_YES ||
           (field->template == PD_TEMPLATE_ECS && spec->provider == PD_PROVIDER_ECS);
}

void pd_pool_fields_hash(struct pd_pool_spec *spec)
{
    pd_autonode struct pd_node *template = pd_node_map_new();
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct pd_buf text pd_autobuf;
    int rc;

    for (size_t i = 0; i < PD_COUNT(fields); i++) {
        if (is_of_template(&fields[i], spec))
            pd_node_append(template, fields[i].path, encode(&fields[i], spec));
    }
    pd_buf_init(&text, TEMPLATE_BYTES_MAX);
    rc = pd_json_format(template, &text, NULL);
    assert(rc == 0); /* the schema's bounds keep it far below */
    SHA256((const unsigned char *)text.data, text.len, digest);
    for (size_t i = 0; i < (PD_TEMPLATE_HASH_BYTES - 1) / 2; i++)
        snprintf(spec->template_hash + 2 * i, 3, "%02x", digest[i]);
}

void pd_pool_fields_fini(struct pd_pool_spec *spec)
{
    for (size_t i = 0; i < PD_COUNT(fields); i++) {
        void *slot = (char *)spec + fields[i].offset;
        if (fields[i].kind == PD_FIELD_TEXT)
            free(*(char **)slot);
        else if (fields[i].kind == PD_FIELD_TEXTS)
            pd_strings_fini(slot);
    }
}
