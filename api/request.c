#include "api/request.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/strmap.h"

#define CHOICES_BYTES 200
#define WHERE_BYTES 48 /* "files[N].content" */
#define BODY_BYTES_MAX (64u * 1024 * 1024)
#define BODY_BYTES_SLACK (4u * 1024 * 1024) /* stdin, arguments, names */
#define FIELD_OVERHEAD 8                    /* of one argument in the frame */
#define COMPILE_MS_MAX 60000

/* ---- pools and languages ---- */

enum pd_has pd_pool_has_language(const struct pd_pool *pool, const char *name)
{
    if (!pd_pool_spec_has_language(pool->spec, name))
        return PD_HAS_NOT;
    if (pool->hello.n_languages == 0)
        return pool->spec->languages.count > 0 ? PD_HAS : PD_HAS_MAYBE;
    for (size_t i = 0; i < pool->hello.n_languages; i++) {
        if (strcmp(pool->hello.languages[i].name, name) == 0)
            return PD_HAS;
    }
    return PD_HAS_NOT;
}

static void add_choice(char choices[static CHOICES_BYTES], const char *name)
{
    size_t used = strlen(choices);

    snprintf(choices + used, CHOICES_BYTES - used, "%s%s", used ? ", " : "", name);
}

static bool some_pool_has(struct pd_store *store, const char *language)
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        if (!pool->deleting && pd_pool_has_language(pool, language) != PD_HAS_NOT)
            return true;
    }
    return false;
}

static void list_languages(const struct pd_request_rules *rules, char out[static CHOICES_BYTES])
{
    out[0] = '\0';
    for (size_t i = 0; i < rules->languages->count; i++) {
        if (some_pool_has(rules->store, rules->languages->items[i].name))
            add_choice(out, rules->languages->items[i].name);
    }
}

static void list_pools(struct pd_store *store, char out[static CHOICES_BYTES])
{
    struct pd_pool *pool;

    out[0] = '\0';
    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        if (!pool->deleting)
            add_choice(out, pool->spec->name);
    }
}

/* The pool named default where it surely has the language, else the first by
 * name that surely has, else likewise with those that may. */
static struct pd_pool *choose_pool(struct pd_store *store, const char *language)
{
    for (enum pd_has wanted = PD_HAS; wanted > PD_HAS_NOT; wanted--) {
        struct pd_pool *pool = pd_store_pool(store, "default");
        if (pool && !pool->deleting && pd_pool_has_language(pool, language) == wanted)
            return pool;
        for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
            if (!pool->deleting && pd_pool_has_language(pool, language) == wanted)
                return pool;
        }
    }
    return NULL;
}

static struct pd_pool *find_pool(const struct pd_request_rules *rules, const char *name,
                                 const char *language, struct pd_problems *problems)
{
    char choices[CHOICES_BYTES];
    struct pd_pool *pool =
        name ? pd_store_pool(rules->store, name) : choose_pool(rules->store, language);

    if (pool && !pool->deleting && pd_pool_has_language(pool, language) != PD_HAS_NOT)
        return pool;
    if (name && (!pool || pool->deleting)) {
        list_pools(rules->store, choices);
        pd_problems_add(problems, "pool", 0, "no such pool; there are: %s", choices);
        return NULL;
    }
    list_languages(rules, choices);
    if (name)
        pd_problems_add(problems, "language", 0, "pool %s has no %s; languages of all pools: %s",
                        name, language, choices);
    else
        pd_problems_add(problems, "language", 0, "no pool has %s; there are: %s", language,
                        choices);
    return NULL;
}

/* ---- single fields ---- */

/* A compiler has a minute, or what the pool gives any run at most. */
static int64_t compile_ms(const struct pd_pool_spec *spec)
{
    return spec->run.max_timeout_ms < COMPILE_MS_MAX ? spec->run.max_timeout_ms : COMPILE_MS_MAX;
}

static int64_t read_timeout(const struct pd_node *node, const struct pd_pool_spec *spec,
                            struct pd_problems *problems)
{
    double seconds = pd_node_number(node, (double)spec->run.timeout_ms / 1000);

    if (seconds * 1000 > (double)spec->run.max_timeout_ms) {
        pd_problems_add(problems, "timeout", 0, "must be <= %g seconds, this pool's maxTimeout",
                        (double)spec->run.max_timeout_ms / 1000);
        return 0;
    }
    return seconds * 1000 < 1 ? 1 : (int64_t)ceil(seconds * 1000);
}

static int64_t read_cpu_time(const struct pd_node *node)
{
    double seconds = pd_node_number(node, 0);

    return (int64_t)ceil(seconds * 1000);
}

static void borrow_strings(const struct pd_node *list, struct pd_strings *ret)
{
    ret->count = pd_node_count(list);
    ret->items = pd_calloc(ret->count, sizeof *ret->items);
    for (size_t i = 0; i < ret->count; i++)
        ret->items[i] = list->list.items[i]->string.text;
}

static void read_env(const struct pd_node *map, struct pd_strings *ret)
{
    ret->count = pd_node_count(map);
    ret->items = pd_calloc(ret->count, sizeof *ret->items);
    for (size_t i = 0; i < ret->count; i++)
        ret->items[i] =
            pd_asprintf("%s=%s", map->map.members[i].key, map->map.members[i].value->string.text);
}

static size_t strings_bytes(const struct pd_strings *strings)
{
    size_t bytes = 0;

    for (size_t i = 0; i < strings->count; i++)
        bytes += strlen(strings->items[i]) + FIELD_OVERHEAD;
    return bytes;
}

static void check_arguments(const struct pd_run_request *run, struct pd_problems *problems)
{
    size_t args = strings_bytes(&run->args);
    size_t env = strings_bytes(&run->env);
    size_t artifacts = strings_bytes(&run->artifacts);

    if (args + env + artifacts > PD_REQUEST_ARGUMENTS_BYTES_MAX)
        pd_problems_add(problems,
                        args >= env && args >= artifacts ? "args"
                        : env >= artifacts               ? "env"
                                                         : "artifacts",
                        0, "args, env and artifacts together may have at most %u bytes",
                        PD_REQUEST_ARGUMENTS_BYTES_MAX);
}

/* ---- files ---- */

/* What is wrong with a path below the workspace, or NULL. The same rules hold
 * for artifact patterns. */
static const char *path_fault(const char *path)
{
    const char *at = path;

    if (*path == '/')
        return "must be relative";
    while (at) {
        size_t len = strcspn(at, "/");
        if (len == 0)
            return "must not have empty parts";
        if ((len == 1 && at[0] == '.') || (len == 2 && at[0] == '.' && at[1] == '.'))
            return "must not have . or .. as a part";
        at = at[len] ? at + len + 1 : NULL;
    }
    return NULL;
}

static int read_file(struct pd_node *node, size_t i, struct pd_run_file *ret,
                     struct pd_problems *problems)
{
    struct pd_node *content = pd_node_get(node, "content");
    const char *fault = path_fault(pd_node_text(pd_node_get(node, "path"), ""));
    char where[WHERE_BYTES];

    ret->path = pd_node_text(pd_node_get(node, "path"), "");
    ret->data = content->string.text;
    ret->len = content->string.len;
    if (fault) {
        snprintf(where, sizeof where, "files[%zu].path", i);
        pd_problems_add(problems, where, 0, "%s", fault);
        return PD_INVALID;
    }
    if (strcmp(pd_node_text(pd_node_get(node, "encoding"), "utf-8"), "base64") == 0 &&
        pd_base64_decode(content->string.text, content->string.len, content->string.text,
                         &ret->len) < 0) {
        snprintf(where, sizeof where, "files[%zu].content", i);
        pd_problems_add(problems, where, 0, "is not base64 (RFC 4648, padded, no white space)");
        return PD_INVALID;
    }
    return 0;
}

/* A file may be named once, and may not be a folder of another's path. */
static void check_clashes(const struct pd_request *request, struct pd_problems *problems)
{
    struct pd_strmap paths = {.slots = NULL};
    char where[WHERE_BYTES];
    char prefix[256];

    pd_strmap_add(&paths, request->language->file, (void *)request->language);
    for (size_t i = 0; i < request->run.n_files; i++) {
        snprintf(where, sizeof where, "files[%zu].path", i);
        if (pd_strmap_get(&paths, request->files[i].path))
            pd_problems_add(problems, where, 0, "is taken by %s",
                            strcmp(request->files[i].path, request->language->file) == 0
                                ? "the program itself"
                                : "another file");
        else
            pd_strmap_add(&paths, request->files[i].path, &request->files[i]);
    }
    for (size_t i = 0; i < request->run.n_files; i++) {
        const char *path = request->files[i].path;
        for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
            snprintf(prefix, sizeof prefix, "%.*s", (int)(slash - path), path);
            if (!pd_strmap_get(&paths, prefix))
                continue;
            snprintf(where, sizeof where, "files[%zu].path", i);
            pd_problems_add(problems, where, 0, "goes through a file as if it were a folder");
        }
    }
    pd_strmap_fini(&paths);
}

/* Returns the bytes of all files. */
static size_t read_files(struct pd_request *request, struct pd_problems *problems)
{
    const struct pd_node *list = pd_node_get(request->node, "files");
    size_t count = pd_node_count(list);
    size_t before = problems->count;
    size_t bytes = 0;

    request->files = pd_calloc(count, sizeof *request->files);
    for (size_t i = 0; i < count; i++) {
        if (read_file(list->list.items[i], i, &request->files[i], problems) == 0)
            bytes += request->files[i].len;
    }
    request->run.files = request->files;
    request->run.n_files = count;
    if (problems->count == before && count > 0)
        check_clashes(request, problems);
    return bytes;
}

static void check_artifacts(const struct pd_strings *patterns, struct pd_problems *problems)
{
    char where[WHERE_BYTES];

    for (size_t i = 0; i < patterns->count; i++) {
        const char *fault = path_fault(patterns->items[i]);
        snprintf(where, sizeof where, "artifacts[%zu]", i);
        if (fault)
            pd_problems_add(problems, where, 0, "%s", fault);
    }
}

/* ---- the whole ---- */

static int refuse(struct pd_refusal *refusal, int status)
{
    struct pd_err err = {.msg = ""};

    refusal->status = status;
    pd_problems_err(&refusal->problems, &err);
    pd_strcpy(refusal->detail, sizeof refusal->detail, err.msg);
    return PD_INVALID;
}

static void read_texts(struct pd_request *request)
{
    const struct pd_node *code = pd_node_get(request->node, "code");
    const struct pd_node *text = pd_node_get(request->node, "stdin");

    request->run.code = code->string.text;
    request->run.code_len = code->string.len;
    request->run.stdin_data = text ? text->string.text : "";
    request->run.stdin_len = text ? text->string.len : 0;
    borrow_strings(pd_node_get(request->node, "args"), &request->run.args);
    borrow_strings(pd_node_get(request->node, "artifacts"), &request->run.artifacts);
    read_env(pd_node_get(request->node, "env"), &request->run.env);
}

static int find_target(struct pd_request *request, const struct pd_request_rules *rules,
                       struct pd_pool **ret_pool, struct pd_problems *problems)
{
    const char *name = pd_node_text(pd_node_get(request->node, "language"), "python");
    char choices[CHOICES_BYTES];
    char shown[PD_SHOWN_BYTES];

    request->language = pd_languages_find(rules->languages, name);
    if (!request->language) {
        list_languages(rules, choices);
        pd_problems_add(problems, "language", 0, "is not known: %s; there are: %s",
                        pd_shown(name, strlen(name), shown), choices);
        return PD_INVALID;
    }
    *ret_pool = find_pool(rules, pd_node_text(pd_node_get(request->node, "pool"), NULL),
                          request->language->name, problems);
    return *ret_pool ? 0 : PD_INVALID;
}

static int check(struct pd_request *request, const struct pd_request_rules *rules,
                 struct pd_refusal *refusal)
{
    struct pd_problems *problems = &refusal->problems;
    const struct pd_pool_spec *spec;
    struct pd_pool *pool;
    size_t file_bytes;

    if (find_target(request, rules, &pool, problems) < 0)
        return refuse(refusal, 422);
    spec = pool->spec;
    pd_strcpy(request->pool, sizeof request->pool, spec->name);
    request->run.language = request->language->name;
    request->run.output_max_bytes = spec->run.max_output_bytes;
    request->run.timeout_ms = read_timeout(pd_node_get(request->node, "timeout"), spec, problems);
    request->run.cpu_ms = read_cpu_time(pd_node_get(request->node, "cpu_time"));
    request->run.compile_ms = compile_ms(spec);
    read_texts(request);
    check_arguments(&request->run, problems);
    check_artifacts(&request->run.artifacts, problems);
    file_bytes = read_files(request, problems);
    if (problems->count > 0)
        return refuse(refusal, 422);
    if ((int64_t)request->run.code_len > spec->run.max_code_bytes)
        pd_problems_add(problems, "code", 0, "may have at most %lld bytes, has %zu",
                        (long long)spec->run.max_code_bytes, request->run.code_len);
    if ((int64_t)file_bytes > spec->run.max_files_bytes)
        pd_problems_add(problems, "files", 0, "may have at most %lld bytes together, have %zu",
                        (long long)spec->run.max_files_bytes, file_bytes);
    return problems->count > 0 ? refuse(refusal, 413) : 0;
}

int pd_request_take(const struct pd_request_rules *rules, struct pd_node *node, size_t len,
                    struct pd_request **ret_request, struct pd_refusal *ret_refusal)
{
    struct pd_request *request = PD_NEW(struct pd_request);
    int rc;

    *ret_refusal = (struct pd_refusal){.status = 400};
    request->bytes = len + sizeof *request;
    request->node = node;
    if (pd_schema_apply(rules->schema, request->node, &ret_refusal->problems) < 0)
        rc = refuse(ret_refusal, 422);
    else
        rc = check(request, rules, ret_refusal);
    if (rc < 0)
        pd_request_free(request);
    else
        *ret_request = request;
    return rc;
}

int pd_request_parse(const struct pd_request_rules *rules, const char *body, size_t len,
                     struct pd_request **ret_request, struct pd_refusal *ret_refusal)
{
    struct pd_err err = {.msg = ""};
    struct pd_node *node;

    if (pd_json_parse(body, len, &node, &err) == 0)
        return pd_request_take(rules, node, len, ret_request, ret_refusal);
    *ret_refusal = (struct pd_refusal){.status = 400};
    pd_strcpy(ret_refusal->detail, sizeof ret_refusal->detail, err.msg);
    return PD_INVALID;
}

void pd_request_free(struct pd_request *request)
{
    if (!request)
        return;
    for (size_t i = 0; i < request->run.env.count; i++)
        free(request->run.env.items[i]);
    free(request->run.env.items);
    free(request->run.args.items);
    free(request->run.artifacts.items);
    free(request->files);
    pd_node_free(request->node);
    free(request);
}

size_t pd_request_bytes_max(struct pd_store *store)
{
    struct pd_pool *pool;
    int64_t most = 0;

    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        /* A byte of code may take six in JSON (\u001b), three of a file four. */
        int64_t bytes = pool->spec->run.max_code_bytes * 6 + pool->spec->run.max_files_bytes * 2;
        if (bytes > most)
            most = bytes;
    }
    most += BODY_BYTES_SLACK;
    return most < BODY_BYTES_MAX ? (size_t)most : BODY_BYTES_MAX;
}
