#include "cli/check.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/redis_env.h"
#include "cli/source_redis.h"
#include "cli/check_live.h"
#include "common/asset.h"
#include "common/file.h"
#include "common/json.h"
#include "common/languages.h"
#include "common/mem.h"
#include "common/pool.h"
#include "common/schema.h"
#include "common/yaml.h"

#define FOLDER_DEPTH_MAX 8
#define DOCUMENTS_MAX 10000
#define CANONICAL_BYTES_MAX (8 * PD_YAML_BYTES_MAX)

struct document {
    char *path;
    struct pd_node *node;
    char pool[PD_POOL_NAME_MAX]; /* what it declares, "" for nothing */
};

struct check {
    FILE *out, *problems;
    size_t n_problems;
    struct document *documents;
    size_t n_documents;
    struct pd_schema *pool_schema;
    struct pd_languages *languages; /* of the first catalogue given, else the built-in one */
    enum pd_provider_kind provider;
    size_t printed;
};

/* ---- saying what is wrong ---- */

static void complain(struct check *check, const char *path, const struct pd_problem *problem)
{
    check->n_problems++;
    fputs(path, check->problems);
    if (problem->line)
        fprintf(check->problems, ":%d", problem->line);
    fprintf(check->problems, ": %s%s%s\n", problem->path, *problem->path ? ": " : "",
            problem->text);
}

static void complain_all(struct check *check, const char *path, const struct pd_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        complain(check, path, &problems->items[i]);
    if (problems->dropped)
        fprintf(check->problems, "%s: and %zu more\n", path, problems->dropped);
}

/* An error's text; where it ends in "(line N)" the line goes where it belongs. */
static void complain_err(struct check *check, const char *path, const struct pd_err *err)
{
    struct pd_problem problem = {.line = 0};
    char *mark;

    pd_strcpy(problem.text, sizeof problem.text, err->msg);
    mark = strstr(problem.text, " (line ");
    if (mark && sscanf(mark, " (line %d)", &problem.line) == 1)
        *mark = '\0';
    complain(check, path, &problem);
}

/* ---- reading ---- */

static void add_document(struct check *check, const char *path, struct pd_node *node)
{
    if (check->n_documents == DOCUMENTS_MAX) {
        pd_node_free(node);
        return;
    }
    check->documents =
        pd_realloc(check->documents, check->n_documents + 1, sizeof *check->documents);
    check->documents[check->n_documents++] = (struct document){pd_strdup(path), node, ""};
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t len = strlen(text), suffix_len = strlen(suffix);
    return len > suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

static void read_file(struct check *check, const char *path)
{
    pd_autofree char *text = NULL;
    pd_autonode struct pd_node *list = NULL;
    struct pd_node *node;
    struct pd_err err;
    size_t len;
    int rc = pd_file_read(path, PD_YAML_BYTES_MAX, &text, &len, &err);

    if (rc < 0) { /* its message names the file already */
        check->n_problems++;
        fprintf(check->problems, "%s\n", err.msg);
        return;
    }
    if (has_suffix(path, ".json")) {
        rc = pd_json_parse(text, len, &node, &err);
        if (rc == 0)
            add_document(check, path, node);
    } else {
        rc = pd_yaml_parse_all(text, len, &list, &err);
        for (size_t i = 0; rc == 0 && i < list->list.count; i++)
            add_document(check, path, pd_node_copy(list->list.items[i]));
        if (rc == 0 && list->list.count == 0)
            add_document(check, path, pd_node_null_new());
    }
    if (rc < 0)
        complain_err(check, path, &err);
}

static int is_ours(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void read_path(struct check *check, const char *path, int depth);

static void read_folder(struct check *check, const char *path, int depth)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_ours, alphasort);
    size_t len = strlen(path);

    if (count < 0) {
        check->n_problems++;
        fprintf(check->problems, "%s: cannot be listed\n", path);
        return;
    }
    for (int i = 0; i < count; i++) {
        pd_autofree char *below =
            pd_asprintf("%s%s%s", path, path[len - 1] == '/' ? "" : "/", entries[i]->d_name);
        read_path(check, below, depth + 1);
        free(entries[i]);
    }
    free(entries);
}

/* Files named on the command line are read whatever they are called. */
static void read_path(struct check *check, const char *path, int depth)
{
    struct stat st;

    if (*path && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        if (depth < FOLDER_DEPTH_MAX)
            read_folder(check, path, depth);
        return;
    }
    if (depth == 0 || has_suffix(path, ".yaml") || has_suffix(path, ".yml"))
        read_file(check, path);
}

/* ---- what a document is, and whether it is right ---- */

static void print(struct check *check, const struct document *document, const struct pd_node *node)
{
    struct pd_buf text pd_autobuf;
    struct pd_err err;

    pd_buf_init(&text, CANONICAL_BYTES_MAX);
    if (pd_yaml_format(node, &text, &err) < 0) {
        complain_err(check, document->path, &err);
        return;
    }
    fprintf(check->out, "%s# %s\n%s", check->printed++ ? "---\n" : "", document->path, text.data);
}

/* Whether another document declares this pool already. */
static void check_unique(struct check *check, const struct document *document,
                         struct pd_problems *problems)
{
    for (const struct document *other = check->documents; other < document; other++) {
        if (strcmp(other->pool, document->pool) == 0) {
            pd_problems_add(problems, "metadata.name", document->node->line,
                            "pool %s is declared already, in %.150s", document->pool, other->path);
            return;
        }
    }
}

static void check_languages_of(const struct check *check, const struct document *document,
                               const struct pd_pool_spec *spec, struct pd_problems *problems)
{
    const struct pd_node *list = pd_node_at(document->node, "spec", "languages", NULL);

    pd_languages_check_pool(check->languages, spec, problems);
    for (size_t i = 0; list && i < problems->count; i++)
        problems->items[i].line = list->line;
}

static void check_pool(struct check *check, struct document *document)
{
    struct pd_problems problems = {0};
    struct pd_pool_spec *spec = NULL;

    if (pd_pool_spec_parse(check->pool_schema, document->node, check->provider, &spec, &problems) ==
        0) {
        pd_strcpy(document->pool, sizeof document->pool, spec->name);
        check_languages_of(check, document, spec, &problems);
        check_unique(check, document, &problems);
    }
    if (problems.count == 0)
        print(check, document, spec->node);
    complain_all(check, document->path, &problems);
    pd_pool_spec_unref(spec);
}

static void check_catalogue(struct check *check, struct document *document)
{
    struct pd_problems problems = {0};
    struct pd_languages *languages = NULL;

    if (pd_languages_parse_node(document->node, &languages, &problems) == 0)
        print(check, document, languages->node);
    complain_all(check, document->path, &problems);
    pd_languages_free(languages);
}

static void check_schema(struct check *check, struct document *document)
{
    struct pd_schema *schema = NULL;
    struct pd_err err;

    if (pd_schema_new(document->node, &schema, &err) < 0)
        complain_err(check, document->path, &err);
    else
        print(check, document, document->node);
    pd_schema_free(schema);
}

/* ours is built in; another is looked at no closer than its schemas */
static void check_crd(struct check *check, struct document *document)
{
    const struct pd_node *versions = pd_node_at(document->node, "spec", "versions", NULL);
    struct pd_err err;

    for (size_t i = 0; versions && versions->kind == PD_NODE_LIST && i < versions->list.count;
         i++) {
        const struct pd_node *node =
            pd_node_at(versions->list.items[i], "schema", "openAPIV3Schema", NULL);
        struct pd_schema *schema = NULL;
        if (node && pd_schema_new(node, &schema, &err) < 0) {
            complain_err(check, document->path, &err);
            return;
        }
        pd_schema_free(schema);
    }
    print(check, document, document->node);
}

static void check_unknown(struct check *check, struct document *document)
{
    struct pd_problem problem = {
        .text =
            "neither a SandboxPool, nor its short form (sandbox:), nor a catalogue of "
            "languages (languages:)",
        .line = document->node->line,
    };

    if (document->node->kind == PD_NODE_NULL)
        pd_strcpy(problem.text, sizeof problem.text, "nothing is declared here");
    complain(check, document->path, &problem);
}

static bool is_text(const struct pd_node *node, const char *text)
{
    return node && node->kind == PD_NODE_STRING && strcmp(node->string.text, text) == 0;
}

static bool is_catalogue(const struct pd_node *node)
{
    return pd_node_get(node, "languages") && !pd_node_get(node, "kind");
}

static void check_document(struct check *check, struct document *document)
{
    const struct pd_node *node = document->node;

    if (is_text(pd_node_get(node, "kind"), "CustomResourceDefinition"))
        check_crd(check, document);
    else if (pd_pool_is_short_form(node) || pd_node_get(node, "kind") ||
             pd_node_get(node, "apiVersion"))
        check_pool(check, document);
    else if (is_catalogue(node))
        check_catalogue(check, document);
    else if (is_text(pd_node_get(node, "type"), "object") && pd_node_get(node, "properties"))
        check_schema(check, document);
    else
        check_unknown(check, document);
}

/* ---- the whole ---- */

/* The catalogue that pools are held against. A bad one is complained about in
 * its own turn. */
static int choose_languages(struct check *check, struct pd_err *err)
{
    struct pd_asset asset = pd_asset_find("conf/languages.yaml");
    struct pd_problems problems = {0};

    for (size_t i = 0; i < check->n_documents; i++) {
        struct pd_problems ignored = {0};
        if (is_catalogue(check->documents[i].node) &&
            pd_languages_parse_node(check->documents[i].node, &check->languages, &ignored) == 0)
            return 0;
    }
    if (pd_languages_parse((const char *)asset.data, asset.len, &check->languages, &problems) < 0) {
        pd_problems_err(&problems, err);
        return pd_err_wrap(err, "conf/languages.yaml");
    }
    return 0;
}

static int choose_provider(struct check *check, struct pd_err *err)
{
    const char *name = getenv("SANDBOX_PROVIDER");

    check->provider = PD_PROVIDER_DOCKER;
    if (!name || !*name || strcmp(name, "docker") == 0)
        return 0;
    if (strcmp(name, "ecs") != 0)
        return pd_err_set(err, PD_INVALID, "SANDBOX_PROVIDER must be docker or ecs, got \"%.40s\"",
                          name);
    check->provider = PD_PROVIDER_ECS;
    return 0;
}

static void check_fini(struct check *check)
{
    for (size_t i = 0; i < check->n_documents; i++) {
        free(check->documents[i].path);
        pd_node_free(check->documents[i].node);
    }
    free(check->documents);
    pd_schema_free(check->pool_schema);
    pd_languages_free(check->languages);
}

static void check_field(void *arg, const char *name, const char *text, size_t len)
{
    struct check *check = arg;
    pd_autofree char *path = pd_asprintf(PD_SOURCE_REDIS_KEY " '%s'", name);
    struct document document = {.path = path};
    struct pd_problems problems = {0};
    struct pd_pool_spec *spec = NULL;
    struct pd_err err;

    if (pd_source_redis_parse(check->pool_schema, name, text, len, check->provider, &spec, &err) < 0) {
        check->n_problems++;
        fprintf(check->problems, "%s\n", err.msg);
        return;
    }
    document.node = spec->node;
    check_languages_of(check, &document, spec, &problems);
    if (problems.count == 0)
        print(check, &document, spec->node);
    complain_all(check, path, &problems);
    pd_pool_spec_unref(spec);
}

size_t pd_check_redis(FILE *out, FILE *problems)
{
    struct check check = {.out = out, .problems = problems};
    struct pd_err err;

    if (pd_pool_schema_new(&check.pool_schema, &err) < 0 || choose_languages(&check, &err) < 0 ||
        choose_provider(&check, &err) < 0 || pd_source_redis_fetch(check_field, &check, &err) < 0) {
        check.n_problems++;
        fprintf(problems, "paddock: %s\n", err.msg);
    }
    check_fini(&check);
    return check.n_problems;
}

size_t pd_check_files(char *const *paths, size_t count, FILE *out, FILE *problems)
{
    struct check check = {.out = out, .problems = problems};
    struct pd_err err;

    for (size_t i = 0; i < count; i++)
        read_path(&check, paths[i], 0);
    if (pd_pool_schema_new(&check.pool_schema, &err) < 0 || choose_languages(&check, &err) < 0 ||
        choose_provider(&check, &err) < 0) {
        check.n_problems++;
        fprintf(problems, "paddock: %s\n", err.msg);
    } else {
        for (size_t i = 0; i < check.n_documents; i++)
            check_document(&check, &check.documents[i]);
    }
    check_fini(&check);
    return check.n_problems;
}

static void print_usage(FILE *out)
{
    fputs(
        "usage: paddock check [--live] [FILE...]\n\n"
        "Prints what each file means in full: SandboxPools, the short form of\n"
        "conf/default.yaml, catalogues of languages, and these in folders; or every\n"
        "problem, as file:line: path: text. Exit status 1 when there was a problem.\n"
        "Without a FILE: the pools in the Redis of REDIS_URL. With --live, also what they\n"
        "would work with: which gates of the engine's host are closed to cells and how\n"
        "each is opened; for ecs, whether AWS would let all of it be done.\n",
        out);
}

int pd_check_main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (argc < 2 && pd_redis_env_is_set())
        return pd_check_redis(stdout, stderr) ? 1 : 0;
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--live") == 0) {
        size_t n = argc > 2 ? pd_check_files(argv + 2, (size_t)argc - 2, stdout, stderr) : 0;
        return pd_check_live(stdout, stderr) + n ? 1 : 0;
    }
    return pd_check_files(argv + 1, (size_t)argc - 1, stdout, stderr) ? 1 : 0;
}
