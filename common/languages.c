#include "common/languages.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/schema.h"
#include "common/yaml.h"

static struct pd_strings env_of(const struct pd_node *map)
{
    struct pd_strings env = {.count = pd_node_count(map)};

    env.items = pd_calloc(env.count + 1, sizeof *env.items);
    for (size_t i = 0; i < env.count; i++) {
        const struct pd_member *member = &map->map.members[i];
        env.items[i] = pd_asprintf("%s=%s", member->key, pd_node_text(member->value, ""));
    }
    return env;
}

static void decode(const struct pd_node *node, struct pd_language *language)
{
    pd_strcpy(language->name, sizeof language->name, pd_node_text(pd_node_get(node, "name"), ""));
    language->aliases = pd_strings_from(pd_node_get(node, "aliases"));
    language->file = pd_strdup(pd_node_text(pd_node_get(node, "file"), ""));
    language->compile = pd_strings_from(pd_node_get(node, "compile"));
    language->run = pd_strings_from(pd_node_get(node, "run"));
    language->version = pd_strings_from(pd_node_get(node, "version"));
    language->spare = pd_strdup(pd_node_text(pd_node_get(node, "spare"), ""));
    language->spare_command = pd_strings_from(pd_node_get(node, "spareCommand"));
    language->spare_file = pd_node_bool(pd_node_get(node, "spareFile"), false);
    language->start_env = pd_strings_from(pd_node_get(node, "startEnv"));
    language->zygote = pd_node_bool(pd_node_get(node, "zygote"), false);
    language->env = env_of(pd_node_get(node, "env"));
}

static void language_fini(struct pd_language *language)
{
    pd_strings_fini(&language->aliases);
    free(language->file);
    pd_strings_fini(&language->compile);
    pd_strings_fini(&language->run);
    pd_strings_fini(&language->version);
    free(language->spare);
    pd_strings_fini(&language->spare_command);
    pd_strings_fini(&language->start_env);
    pd_strings_fini(&language->env);
}

/* ---- what no single field tells ---- */

static bool answers_to(const struct pd_language *language, const char *name)
{
    for (size_t i = 0; i < language->aliases.count; i++) {
        if (strcmp(language->aliases.items[i], name) == 0)
            return true;
    }
    return strcmp(language->name, name) == 0;
}

/* Whether one before the i-th answers to a name already. */
static void check_name(const struct pd_languages *languages, size_t i, const char *name,
                       const char *path, int line, struct pd_problems *problems)
{
    for (size_t j = 0; j < i; j++) {
        if (answers_to(&languages->items[j], name))
            pd_problems_add(problems, path, line, "%s is taken by %s", name,
                            languages->items[j].name);
    }
}

static void check_names(const struct pd_languages *languages, size_t i, int line,
                        struct pd_problems *problems)
{
    const struct pd_language *language = &languages->items[i];
    char path[64];

    snprintf(path, sizeof path, "languages[%zu].name", i);
    check_name(languages, i, language->name, path, line, problems);
    snprintf(path, sizeof path, "languages[%zu].aliases", i);
    for (size_t j = 0; j < language->aliases.count; j++)
        check_name(languages, i, language->aliases.items[j], path, line, problems);
}

static void check_spare(const struct pd_language *language, size_t i, int line,
                        struct pd_problems *problems)
{
    char path[64];

    snprintf(path, sizeof path, "languages[%zu].spareCommand", i);
    if (*language->spare && language->spare_command.count == 0)
        pd_problems_add(problems, path, line, "must not be empty where there is a spare");
    snprintf(path, sizeof path, "languages[%zu].zygote", i);
    if (language->zygote && !*language->spare)
        pd_problems_add(problems, path, line, "needs a spare");
}

static void check_command(const struct pd_strings *command, size_t i, const char *what, int line,
                          struct pd_problems *problems)
{
    char path[64];

    snprintf(path, sizeof path, "languages[%zu].%s[0]", i, what);
    if (command->count > 0 && !*command->items[0])
        pd_problems_add(problems, path, line, "must not be empty");
}

/* ---- parsing ---- */

static void add_language(struct pd_languages *languages, const struct pd_node *node,
                         struct pd_problems *problems)
{
    size_t i = languages->count; /* below PD_LANGUAGES_MAX: the schema's maxItems */
    struct pd_language *language = &languages->items[i];

    assert(i < PD_LANGUAGES_MAX);
    decode(node, language);
    check_names(languages, i, node->line, problems);
    check_spare(language, i, node->line, problems);
    check_command(&language->run, i, "run", node->line, problems);
    check_command(&language->compile, i, "compile", node->line, problems);
    check_command(&language->version, i, "version", node->line, problems);
    languages->count++;
}

static int apply_schema(struct pd_node *tree, struct pd_problems *problems)
{
    struct pd_schema *schema;
    struct pd_err err;
    int rc = pd_schema_new_asset("conf/schemas/languages.yaml", &schema, &err);

    if (rc < 0) {
        pd_problems_add(problems, "", 0, "%.300s", err.msg);
        return rc;
    }
    rc = pd_schema_apply(schema, tree, problems);
    pd_schema_free(schema);
    return rc;
}

int pd_languages_parse_node(const struct pd_node *node, struct pd_languages **ret_languages,
                            struct pd_problems *problems)
{
    struct pd_languages *languages = PD_NEW(struct pd_languages);
    size_t before = problems->count + problems->dropped;
    const struct pd_node *list;

    languages->node = pd_node_copy(node);
    if (apply_schema(languages->node, problems) == 0) {
        list = pd_node_get(languages->node, "languages");
        for (size_t i = 0; i < list->list.count; i++)
            add_language(languages, list->list.items[i], problems);
    }
    if (problems->count + problems->dropped > before) {
        pd_languages_free(languages);
        return PD_INVALID;
    }
    *ret_languages = languages;
    return 0;
}

int pd_languages_parse(const char *text, size_t len, struct pd_languages **ret_languages,
                       struct pd_problems *problems)
{
    pd_autonode struct pd_node *node = NULL;
    struct pd_err err;

    if (pd_yaml_parse(text, len, &node, &err) < 0) {
        pd_problems_add(problems, "", 0, "%.300s", err.msg);
        return PD_INVALID;
    }
    return pd_languages_parse_node(node, ret_languages, problems);
}

void pd_languages_free(struct pd_languages *languages)
{
    if (!languages)
        return;
    for (size_t i = 0; i < languages->count; i++)
        language_fini(&languages->items[i]);
    pd_node_free(languages->node);
    free(languages);
}

const struct pd_language *pd_languages_find(const struct pd_languages *languages, const char *name)
{
    for (size_t i = 0; i < languages->count; i++) {
        if (answers_to(&languages->items[i], name))
            return &languages->items[i];
    }
    return NULL;
}

void pd_languages_check_pool(const struct pd_languages *languages, const struct pd_pool_spec *spec,
                             struct pd_problems *problems)
{
    const char *names[PD_LANGUAGES_MAX], *nearest;

    for (size_t i = 0; i < languages->count; i++)
        names[i] = languages->items[i].name;
    for (size_t i = 0; i < spec->languages.count; i++) {
        const char *given = spec->languages.items[i];
        const struct pd_language *found = pd_languages_find(languages, given);
        char path[64];
        if (found && strcmp(found->name, given) == 0)
            continue;
        nearest = found ? found->name : pd_nearest(given, names, languages->count);
        snprintf(path, sizeof path, "spec.languages[%zu]", i);
        pd_problems_add(problems, path, 0, "%s is not in the catalogue of languages%s%s%s", given,
                        nearest ? "; did you mean " : "", nearest ? nearest : "",
                        nearest ? "?" : "");
    }
}
