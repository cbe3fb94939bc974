#include "cli/apply.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/yaml.h"

#define PATH_BYTES 256
#define APPLY_QUERY "?fieldManager=paddock&force=true&fieldValidation=Strict"

static const char apply_usage[] =
    "usage: paddock apply -f FILE|- [--url URL] [--state-dir DIR]\n\n"
    "Makes the pools of a file of SandboxPool manifests, or changes them to what it "
    "says.\n" PD_CLIENT_HELP;
static const char scale_usage[] =
    "usage: paddock scale pool NAME MINSIZE [--url URL] [--state-dir DIR]\n\n"
    "Changes how many sandboxes a pool has at least.\n" PD_CLIENT_HELP;
static const char delete_usage[] =
    "usage: paddock delete pool NAME [--url URL] [--state-dir DIR]\n\n"
    "Deletes a pool: what runs in it may finish.\n" PD_CLIENT_HELP;

struct command {
    const char *name, *usage;
    const char *file, *url, *state_dir;
    char **words;
    int n_words;
};

/* ---- manifests ---- */

static bool is_pool_name(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len < 64 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static int pool_path(const char *name, const char *rest, char out[static PATH_BYTES],
                     struct pd_err *err)
{
    if (!is_pool_name(name))
        return pd_err_set(err, PD_INVALID, "'%.64s' is no name of a pool", name);
    snprintf(out, PATH_BYTES, "%s/%s%s", pd_client_collection("pools"), name, rest);
    return 0;
}

static int apply_one(struct pd_client *client, const struct pd_node *manifest, struct pd_err *err)
{
    const struct pd_node *name = pd_node_at(manifest, "metadata", "name", NULL);
    pd_autonode struct pd_node *answer = NULL;
    pd_autobuf struct pd_buf body;
    char path[PATH_BYTES];
    int rc;

    pd_buf_init(&body, PD_YAML_BYTES_MAX);
    if (!name || name->kind != PD_NODE_STRING)
        return pd_err_set(err, PD_INVALID, "line %d: a manifest without metadata.name",
                          manifest->line);
    rc = pool_path(name->string.text, APPLY_QUERY, path, err);
    if (rc == 0)
        rc = pd_json_format(manifest, &body, err);
    if (rc == 0)
        rc = pd_client_ask(client,
                           &(struct pd_client_call){.method = "PATCH",
                                                    .path = path,
                                                    .content_type = "application/apply-patch+yaml",
                                                    .body = body.data,
                                                    .body_len = body.len},
                           &answer, err);
    if (rc == 0)
        printf("sandboxpool/%s %s\n", name->string.text,
               pd_client_status(client) == 201 ? "created" : "applied");
    return rc;
}

static int apply(struct pd_client *client, const struct command *command, struct pd_err *err)
{
    const char *path = strcmp(command->file, "-") == 0 ? "/dev/stdin" : command->file;
    pd_autonode struct pd_node *documents = NULL;
    pd_autofree char *text = NULL;
    size_t len, applied = 0;
    int rc = pd_file_read(path, PD_YAML_BYTES_MAX, &text, &len, err);

    if (rc == 0)
        rc = pd_yaml_parse_all(text, len, &documents, err);
    if (rc < 0)
        return pd_err_wrap(err, "%s", command->file);
    for (size_t i = 0; i < documents->list.count; i++) {
        if (documents->list.items[i]->kind == PD_NODE_NULL)
            continue;
        rc = apply_one(client, documents->list.items[i], err);
        if (rc < 0)
            return rc;
        applied++;
    }
    return applied ? 0 : pd_err_set(err, PD_INVALID, "%s: no manifest", command->file);
}

/* ---- the other two ---- */

static int scale(struct pd_client *client, const struct command *command, struct pd_err *err)
{
    pd_autonode struct pd_node *answer = NULL;
    pd_autofree char *body = NULL;
    char path[PATH_BYTES], *end;
    long count;
    int rc;

    errno = 0;
    count = strtol(command->words[2], &end, 10);
    if (*end || errno || count < 0)
        return pd_err_set(err, PD_INVALID, "'%.40s' is no number of sandboxes", command->words[2]);
    body = pd_asprintf("{\"spec\":{\"replicas\":%ld}}", count);
    rc = pool_path(command->words[1], "/scale", path, err);
    if (rc == 0)
        rc = pd_client_ask(client,
                           &(struct pd_client_call){.method = "PATCH",
                                                    .path = path,
                                                    .content_type = "application/merge-patch+json",
                                                    .body = body,
                                                    .body_len = strlen(body)},
                           &answer, err);
    if (rc == 0)
        printf("sandboxpool/%s scaled\n", command->words[1]);
    return rc;
}

static int remove_pool(struct pd_client *client, const struct command *command, struct pd_err *err)
{
    pd_autonode struct pd_node *answer = NULL;
    char path[PATH_BYTES];
    int rc = pool_path(command->words[1], "", path, err);

    if (rc == 0)
        rc = pd_client_ask(client, &(struct pd_client_call){.method = "DELETE", .path = path},
                           &answer, err);
    if (rc == 0)
        printf("sandboxpool/%s is being deleted\n", command->words[1]);
    return rc;
}

/* ---- commands ---- */

/* -1: go on; else the exit status. */
static int parse(struct command *command, int argc, char **argv)
{
    static const struct option table[] = {
        {"file", required_argument, NULL, 'f'},
        {"url", required_argument, NULL, 'u'},
        {"state-dir", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };

    for (int c; (c = getopt_long(argc, argv, "f:h", table, NULL)) != -1;) {
        switch (c) {
        case 'f':
            command->file = optarg;
            break;
        case 'u':
            command->url = optarg;
            break;
        case 's':
            command->state_dir = optarg;
            break;
        default:
            fputs(command->usage, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    command->words = argv + optind;
    command->n_words = argc - optind;
    return -1;
}

static int carry_out(const struct command *command,
                     int (*action)(struct pd_client *client, const struct command *command,
                                   struct pd_err *err))
{
    struct pd_client *client = NULL;
    struct pd_err err;
    int rc = pd_client_open(command->url, command->state_dir, &client, &err);

    if (rc == 0)
        rc = action(client, command, &err);
    if (rc < 0)
        fprintf(stderr, "paddock %s: %s\n", command->name, err.msg);
    pd_client_close(client);
    return rc < 0 ? 1 : 0;
}

static int misused(const struct command *command)
{
    fputs(command->usage, stderr);
    return 2;
}

int pd_apply_main(int argc, char **argv)
{
    struct command command = {.name = "apply", .usage = apply_usage};
    int status = parse(&command, argc, argv);

    if (status >= 0)
        return status;
    return command.file && command.n_words == 0 ? carry_out(&command, apply) : misused(&command);
}

int pd_scale_main(int argc, char **argv)
{
    struct command command = {.name = "scale", .usage = scale_usage};
    int status = parse(&command, argc, argv);

    if (status >= 0)
        return status;
    return command.n_words == 3 && strcmp(command.words[0], "pool") == 0
               ? carry_out(&command, scale)
               : misused(&command);
}

int pd_delete_main(int argc, char **argv)
{
    struct command command = {.name = "delete", .usage = delete_usage};
    int status = parse(&command, argc, argv);

    if (status >= 0)
        return status;
    return command.n_words == 2 && strcmp(command.words[0], "pool") == 0
               ? carry_out(&command, remove_pool)
               : misused(&command);
}
