/* The languages of an ATTACH, and which of them this image has. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

extern char **environ;

static const char *keep(struct agent *agent, const void *text, size_t len)
{
    char *at = agent->strings + agent->strings_len;

    if (len + 1 > sizeof agent->strings - agent->strings_len)
        return "";
    memcpy(at, text, len);
    at[len] = '\0';
    agent->strings_len += len + 1;
    return at;
}

static void append(struct agent *agent, const char **list, size_t cap, const struct pd_field *field)
{
    size_t n = 0;

    while (n < cap - 1 && list[n])
        n++;
    if (n < cap - 1)
        list[n] = keep(agent, field->data, field->len);
}

static bool is_in_path(const char *name)
{
    const char *path = getenv("PATH");
    char candidate[512];

    if (!name)
        return false;
    if (strchr(name, '/'))
        return access(name, X_OK) == 0;
    for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path;) {
        size_t len = strcspn(path, ":");
        if (len + strlen(name) + 2 < sizeof candidate) {
            memcpy(candidate, path, len);
            candidate[len] = '/';
            memcpy(candidate + len + 1, name, strlen(name) + 1);
            if (access(candidate, X_OK) == 0)
                return true;
        }
        path += len + (path[len] == ':');
    }
    return false;
}

static void read_language(struct agent *agent, const struct pd_field *nested)
{
    struct lang *lang = &agent->langs[agent->n_langs];
    struct pd_fields fields;
    struct pd_field field;

    if (agent->n_langs == LANGS_MAX)
        return;
    *lang = (struct lang){.name = "", .file = "main", .hook = ""};
    lang->zygote.sock = lang->next.sock = -1;
    pd_fields_init(&fields, nested->data, nested->len);
    while (pd_fields_next(&fields, &field)) {
        switch (field.tag) {
        case PD_FIELD_NAME:
            lang->name = keep(agent, field.data, field.len);
            break;
        case PD_FIELD_FILE_NAME:
            lang->file = keep(agent, field.data, field.len);
            break;
        case PD_FIELD_HOOK:
            lang->hook = keep(agent, field.data, field.len);
            break;
        case PD_FIELD_ZYGOTE:
            lang->zygote_wanted = pd_field_number(&field) != 0;
            break;
        case PD_FIELD_COMPILE:
            append(agent, lang->compile, ARGV_MAX + 1, &field);
            break;
        case PD_FIELD_COMMAND:
            append(agent, lang->run, ARGV_MAX + 1, &field);
            break;
        case PD_FIELD_VERSION_COMMAND:
            append(agent, lang->version, ARGV_MAX + 1, &field);
            break;
        case PD_FIELD_SPARE_COMMAND:
            append(agent, lang->spare, ARGV_MAX + 1, &field);
            break;
        case PD_FIELD_SPARE_FILE:
            lang->spare_file = true;
            break;
        case PD_FIELD_START_ENV:
            append(agent, lang->start_env, ARGV_MAX + 1, &field);
            break;
        case PD_FIELD_LANGUAGE_ENV:
            append(agent, lang->env, ARGV_MAX + 1, &field);
            break;
        default:
            break;
        }
    }
    /* A compiled program's own command is made by the compiler. */
    lang->found = lang->compile[0] ? is_in_path(lang->compile[0]) : is_in_path(lang->run[0]);
    agent->n_langs++;
}

/* RLIMIT_NPROC counts a user's processes on the whole host: with isolation
 * container those of every sandbox, and only the container's own limit stands. */
static bool has_count_of_its_own(const struct platform *platform)
{
    return platform->isolation == ISOLATION_UID ||
           (platform->isolation == ISOLATION_CELL && platform->has_nproc_per_cell);
}

static void set_up(struct agent *agent, enum isolation asked, int network, uint64_t pids)
{
    platform_enter(&agent->platform, asked);
    agent->next_uid = agent->platform.first_run_uid;
    agent->confine.has_cell = agent->platform.isolation == ISOLATION_CELL;
    agent->confine.pids_max = has_count_of_its_own(&agent->platform) ? pids : 0;
    agent->confine.file_bytes_max = agent->limits.disk_bytes;
    agent->confine.filter_len = (uint32_t)pd_filter_build(
        network == 0, network != 0, agent->confine.filter, PD_FILTER_INSNS_MAX);
    if (agent->confine.filter_len == 0)
        abort();
    if (agent->confine.has_cell) {
        int result = cell_try(&agent->platform, &agent->limits, &agent->confine);
        if (result < 0) {
            platform_give_up_cells(&agent->platform, -result);
            agent->confine.has_cell = 0;
            agent->confine.pids_max = 0;
        }
    }
    /* A program of the same user could look into the agent, and write its frames. */
    if (!agent->confine.has_cell)
        prctl(PR_SET_DUMPABLE, 0);
    agent->oom_kills = platform_oom_kills(&agent->platform);
}

/* Only the first ATTACH configures: what a sandbox is made for does not change
 * in its life, a changed pool makes new ones. */
void lang_configure(struct agent *agent, const struct pd_frame *attach)
{
    enum isolation asked = ISOLATION_CONTAINER;
    struct pd_fields fields;
    struct pd_field field;
    uint64_t pids = 0;
    int network = 0;
    size_t n_preload = 0;

    if (agent->configured)
        return;
    agent->configured = true;
    pd_fields_init(&fields, attach->payload, attach->payload_len);
    while (pd_fields_next(&fields, &field)) {
        uint64_t number = pd_field_number(&field);
        switch (field.tag) {
        case PD_FIELD_ISOLATION:
            asked = (enum isolation)number;
            break;
        case PD_FIELD_SPARES_WANTED:
            agent->spares_wanted = (int)number;
            break;
        case PD_FIELD_ZYGOTE:
            agent->zygotes = number != 0;
            break;
        case PD_FIELD_PIDS:
            pids = number;
            break;
        case PD_FIELD_NETWORK:
            network = (int)number;
            break;
        case PD_FIELD_DISK_BYTES:
            agent->limits.disk_bytes = number;
            break;
        case PD_FIELD_MEMORY_BYTES:
            agent->memory_bytes = number;
            break;
        case PD_FIELD_LANGUAGE:
            read_language(agent, &field);
            break;
        case PD_FIELD_PRELOAD:
            if (n_preload < sizeof agent->preload / sizeof agent->preload[0] - 1)
                agent->preload[n_preload++] = keep(agent, field.data, field.len);
            break;
        default:
            break;
        }
    }
    agent->limits.inodes = agent->limits.disk_bytes / 8192 + 1024;
    if (agent->spares_wanted > SPARES_PER_LANG_MAX)
        agent->spares_wanted = SPARES_PER_LANG_MAX;
    set_up(agent, asked, network, pids);
}

struct lang *lang_find(struct agent *agent, const char *name, size_t len)
{
    for (size_t i = 0; i < agent->n_langs; i++) {
        if (strlen(agent->langs[i].name) == len && memcmp(agent->langs[i].name, name, len) == 0)
            return &agent->langs[i];
    }
    return NULL;
}

static bool is_hidden(const char *entry)
{
    static const char *const hidden[] = {"AWS_", "ECS_", "HOSTNAME=", "HOME=", "PADDOCK_"};

    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        if (strncmp(entry, hidden[i], strlen(hidden[i])) == 0)
            return true;
    }
    return false;
}

/* The image's environment less what tells of the platform, and the language's. */
void lang_env(struct agent *agent, const struct lang *lang, const char **env, size_t cap)
{
    size_t n = 0;
    (void)agent;

    for (char **entry = environ; *entry && n < cap - ARGV_MAX - 2; entry++) {
        if (!is_hidden(*entry))
            env[n++] = *entry;
    }
    env[n++] = "HOME=/workspace";
    for (size_t i = 0; lang && lang->env[i] && n < cap - 1; i++)
        env[n++] = lang->env[i];
    env[n] = NULL;
}

static bool is_named(const char *const *patterns, const char *entry, size_t len)
{
    size_t name_len = 0;

    while (name_len < len && entry[name_len] != '=')
        name_len++;
    for (; *patterns; patterns++) {
        size_t n = strlen(*patterns);
        bool is_prefix = n > 0 && (*patterns)[n - 1] == '*';
        if (is_prefix ? n - 1 <= name_len && memcmp(*patterns, entry, n - 1) == 0
                      : n == name_len && memcmp(*patterns, entry, n) == 0)
            return true;
    }
    return false;
}

bool lang_reads_at_start(const struct lang *lang, const char *entry, size_t len)
{
    static const char *const any[] = {"PATH", "HOME",     "LANG",    "TZ", "LC_*",
                                      "LD_*", "MALLOC_*", "GLIBC_*", NULL};

    return is_named(any, entry, len) || is_named(lang->start_env, entry, len);
}
