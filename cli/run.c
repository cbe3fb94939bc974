#include "cli/run.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/client.h"
#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/yaml.h"

#define CODE_BYTES_MAX (16u * 1024 * 1024)
#define STDIN_BYTES_MAX (16u * 1024 * 1024)
#define REQUEST_BYTES_MAX (128u * 1024 * 1024)
#define WAIT_S 3600L
#define STATUS_NOT_RUN 125 /* as env(1) and docker run have it */

static const char usage[] =
    "usage: paddock run FILE|- [--language NAME] [--pool NAME] [--timeout SECONDS]\n"
    "                   [--stdin] [--url URL] [--state-dir DIR] [-- ARGUMENT...]\n\n"
    "Runs one program and exits as it did (125: it was not run). The language is told\n"
    "from the file's name where it is not given; --stdin hands on what this command\n"
    "reads.\n" PD_CLIENT_HELP;

struct run {
    const char *file, *language, *pool, *timeout, *url, *state_dir;
    bool with_stdin;
    char **args;
    int n_args;
};

/* By the file names of the catalogue: "main.py". */
static const char *language_of(const char *file, const struct pd_node *catalogue)
{
    const struct pd_node *languages = pd_node_get(catalogue, "languages");
    const char *suffix = strrchr(file, '.');

    for (size_t i = 0; suffix && i < pd_node_count(languages); i++) {
        const struct pd_node *language = languages->list.items[i];
        const char *name = strrchr(pd_node_text(pd_node_get(language, "file"), ""), '.');
        if (name && strcasecmp(name, suffix) == 0)
            return pd_node_text(pd_node_get(language, "name"), NULL);
    }
    return NULL;
}

static int set_file(struct pd_node *request, const char *member, const char *path, size_t max,
                    struct pd_err *err)
{
    pd_autofree char *text = NULL;
    size_t len;
    int rc = pd_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, max, &text, &len, err);

    if (rc == 0)
        pd_node_set(request, member, pd_node_string_new_len(text, len));
    return rc;
}

static int set_timeout(struct pd_node *request, const char *text, struct pd_err *err)
{
    char *end;
    double seconds = strtod(text, &end);

    if (*end || end == text || !isfinite(seconds) || seconds <= 0)
        return pd_err_set(err, PD_INVALID, "'%.40s' is no number of seconds", text);
    pd_node_set_number(request, "timeout", seconds);
    return 0;
}

static int make_request(const struct run *run, struct pd_node *request, struct pd_err *err)
{
    pd_autonode struct pd_node *catalogue = NULL;
    const char *language = run->language;
    int rc = pd_yaml_parse_asset("conf/languages.yaml", &catalogue, err);

    if (rc == 0 && !language)
        language = language_of(run->file, catalogue);
    if (rc == 0)
        rc = set_file(request, "code", run->file, CODE_BYTES_MAX, err);
    if (rc == 0 && run->with_stdin)
        rc = set_file(request, "stdin", "-", STDIN_BYTES_MAX, err);
    if (rc == 0 && run->timeout)
        rc = set_timeout(request, run->timeout, err);
    if (rc < 0)
        return rc;
    if (language)
        pd_node_set_string(request, "language", language);
    if (run->pool)
        pd_node_set_string(request, "pool", run->pool);
    if (run->n_args > 0) {
        struct pd_node *args = pd_node_set(request, "args", pd_node_list_new());
        for (int i = 0; i < run->n_args; i++)
            pd_node_add(args, pd_node_string_new(run->args[i]));
    }
    return 0;
}

static void print_stream(const struct pd_node *answer, const char *member, FILE *out)
{
    const struct pd_node *text = pd_node_get(answer, member);

    if (text && text->kind == PD_NODE_STRING)
        fwrite(text->string.text, 1, text->string.len, out);
}

/* What the program did, and how it ended where that was not by itself. */
static int report(const struct pd_node *answer)
{
    const struct pd_node *code = pd_node_get(answer, "exit_code");
    const struct pd_node *status = pd_node_get(answer, "status");

    print_stream(answer, "stdout", stdout);
    print_stream(answer, "stderr", stderr);
    fflush(stdout);
    if (status && status->kind == PD_NODE_STRING && strcmp(status->string.text, "exited") != 0 &&
        strcmp(status->string.text, "signaled") != 0)
        fprintf(stderr, "paddock run: %s\n", status->string.text);
    return code && code->kind == PD_NODE_INT ? (int)(code->integer & 255) : STATUS_NOT_RUN;
}

static int ask(const struct run *run, struct pd_node **ret_answer, struct pd_err *err)
{
    pd_autonode struct pd_node *request = pd_node_map_new();
    struct pd_client *client = NULL;
    pd_autobuf struct pd_buf body;
    int rc;

    pd_buf_init(&body, REQUEST_BYTES_MAX);
    rc = make_request(run, request, err);
    if (rc == 0)
        rc = pd_json_format(request, &body, err);
    if (rc == 0)
        rc = pd_client_open(run->url, run->state_dir, &client, err);
    if (rc == 0)
        rc = pd_client_ask(client,
                           &(struct pd_client_call){.method = "POST",
                                                    .path = "/execute",
                                                    .body = body.data,
                                                    .body_len = body.len,
                                                    .timeout_s = WAIT_S},
                           ret_answer, err);
    pd_client_close(client);
    return rc;
}

/* -1: go on; else the exit status. */
static int parse(struct run *run, int argc, char **argv)
{
    static const struct option table[] = {
        {"language", required_argument, NULL, 'l'}, {"pool", required_argument, NULL, 'p'},
        {"timeout", required_argument, NULL, 't'},  {"stdin", no_argument, NULL, 'i'},
        {"url", required_argument, NULL, 'u'},      {"state-dir", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };

    for (int c; (c = getopt_long(argc, argv, "l:p:t:ih", table, NULL)) != -1;) {
        switch (c) {
        case 'l':
            run->language = optarg;
            break;
        case 'p':
            run->pool = optarg;
            break;
        case 't':
            run->timeout = optarg;
            break;
        case 'i':
            run->with_stdin = true;
            break;
        case 'u':
            run->url = optarg;
            break;
        case 's':
            run->state_dir = optarg;
            break;
        default:
            fputs(usage, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (optind == argc || (run->with_stdin && strcmp(argv[optind], "-") == 0)) {
        fputs(usage, stderr);
        return 2;
    }
    run->file = argv[optind];
    run->args = argv + optind + 1;
    run->n_args = argc - optind - 1;
    return -1;
}

int pd_run_main(int argc, char **argv)
{
    pd_autonode struct pd_node *answer = NULL;
    struct run run = {.file = NULL};
    struct pd_err err;
    int status = parse(&run, argc, argv);

    if (status >= 0)
        return status;
    if (ask(&run, &answer, &err) < 0) {
        fprintf(stderr, "paddock run: %s\n", err.msg);
        return STATUS_NOT_RUN;
    }
    return report(answer);
}
