#include "cli/key.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/keys.h"
#include "cli/state.h"
#include "common/mem.h"
#include "common/time.h"

static const char usage[] =
    "usage: paddock key new [--name NAME] [--scopes execute,read,admin] [--rate 100/m]\n"
    "                       [--concurrency N] [--share N] [--state-dir DIR]\n"
    "       paddock key list|show [--state-dir DIR]\n"
    "       paddock key revoke ID [--state-dir DIR]\n"
    "\n"
    "  new     makes a key and prints it: nobody can show it again. A running service\n"
    "          takes it at once. Scopes: execute (the default), read, admin. Without\n"
    "          --rate and --concurrency there is no limit; --share (1 to 100) is how\n"
    "          many turns it has in the queue where others have one.\n"
    "  list    shows the keys of the state folder.\n"
    "  revoke  takes one away, at once.\n"
    "  show    prints the key in force where none was made: $EXECUTION_API_KEY, or the\n"
    "          one kept in the state folder, which is made if there is none.\n";

struct request {
    char *dir;
    const char *id;
    struct pd_key_record record;
};

static int say(const char *verb, const struct pd_err *err)
{
    fprintf(stderr, "paddock key %s: %s\n", verb, err->msg);
    return 1;
}

/* ---- commands ---- */

static int show(const struct request *request)
{
    const char *env_key = getenv("EXECUTION_API_KEY");
    char text[PD_KEY_TEXT_MAX + 1];
    struct pd_err err = {0};

    if (env_key && *env_key) {
        puts(env_key);
        return 0;
    }
    if (pd_state_prepare(request->dir, &err) < 0 || pd_keys_load(request->dir, text, &err) < 0)
        return say("show", &err);
    puts(text);
    pd_wipe(text, sizeof text);
    return 0;
}

static int new_key(const struct request *request)
{
    struct pd_key_record record = request->record;
    char text[PD_KEY_TEXT_MAX + 1];
    struct pd_err err = {0};

    pd_keys_make(text, &record);
    record.created_wall_ms = pd_wall_ms();
    if (pd_state_prepare(request->dir, &err) < 0 ||
        pd_key_record_write(request->dir, &record, &err) < 0)
        return say("new", &err);
    puts(text);
    fprintf(stderr, "id: %s\n", record.id);
    pd_wipe(text, sizeof text);
    return 0;
}

static void list_one(void *arg, const char *id, const struct pd_key_record *record,
                     const struct pd_err *err)
{
    int *status = arg;
    char scopes[32];
    char rate[32] = "-";
    char when[PD_RFC3339_BYTES];

    if (err) {
        fprintf(stderr, "paddock key list: %s\n", err->msg);
        *status = 1;
        return;
    }
    if (record->rate_runs)
        snprintf(rate, sizeof rate, "%d/%ds", record->rate_runs, record->rate_seconds);
    printf("%-12s  %-20s  %-18s  %-10s  %-11d  %-5d  %s\n", id, record->name,
           pd_scopes_format(record->scopes, scopes, sizeof scopes), rate, record->concurrency,
           record->share, pd_wall_format(record->created_wall_ms, when));
}

static bool find_kept(const char *dir, char ret_id[static PD_KEY_ID_MAX])
{
    pd_autofree char *path = pd_asprintf("%s/key", dir);
    char text[PD_KEY_TEXT_MAX + 1];

    if (access(path, F_OK) < 0 || pd_keys_load(dir, text, NULL) < 0)
        return false;
    pd_keys_id_of(text, ret_id);
    pd_wipe(text, sizeof text);
    return true;
}

static int list(const struct request *request)
{
    char id[PD_KEY_ID_MAX];
    struct pd_err err = {0};
    int status = 0;

    printf("%-12s  %-20s  %-18s  %-10s  %-11s  %-5s  %s\n", "ID", "NAME", "SCOPES", "RATE",
           "CONCURRENCY", "SHARE", "CREATED");
    if (find_kept(request->dir, id))
        printf("%-12s  %-20s  %-18s  %-10s  %-11d  %-5d  %s\n", id, "kept", "execute,read,admin",
               "-", 0, 1, "-");
    if (pd_key_records_read(request->dir, list_one, &status, &err) < 0)
        return say("list", &err);
    return status;
}

/* The folder is what a running service watches. */
static void wake_service(const char *dir)
{
    pd_autofree char *path = pd_asprintf("%s/keys.d/.changed", dir);
    FILE *file = fopen(path, "we");

    if (file)
        fclose(file);
    unlink(path);
}

static int revoke_key(const struct request *request)
{
    pd_autofree char *path = NULL;
    char kept[PD_KEY_ID_MAX];
    struct pd_err err = {0};

    if (strchr(request->id, '/'))
        pd_err_set(&err, PD_INVALID, "'%s' is no id", request->id);
    else if (find_kept(request->dir, kept) && strcmp(kept, request->id) == 0)
        path = pd_asprintf("%s/key", request->dir);
    else
        path = pd_key_path(request->dir, request->id);
    if (path && unlink(path) < 0)
        pd_err_os(&err, PD_NOT_FOUND, errno, "no key %s: remove '%s'", request->id, path);
    if (err.kind)
        return say("revoke", &err);
    wake_service(request->dir);
    return 0;
}

/* ---- arguments ---- */

static int parse_number(const char *text, int most, const char *what, int *ret, struct pd_err *err)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (end == text || *end || number < 1 || number > most)
        return pd_err_set(err, PD_INVALID, "%s must be a whole number from 1 to %d", what, most);
    *ret = (int)number;
    return 0;
}

static int parse_name(const char *text, struct pd_key_record *record, struct pd_err *err)
{
    if (strlen(text) >= sizeof record->name)
        return pd_err_set(err, PD_INVALID, "a name has at most %zu bytes", sizeof record->name - 1);
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 127)
            return pd_err_set(err, PD_INVALID, "a name has no control characters");
    }
    pd_strcpy(record->name, sizeof record->name, text);
    return 0;
}

static int take_flag(int c, struct request *request, const char **ret_dir, struct pd_err *err)
{
    struct pd_key_record *record = &request->record;

    switch (c) {
    case 'n':
        return parse_name(optarg, record, err);
    case 's':
        return pd_scopes_parse(optarg, &record->scopes, err);
    case 'r':
        return pd_rate_parse(optarg, &record->rate_runs, &record->rate_seconds, err);
    case 'c':
        return parse_number(optarg, 1000000, "--concurrency", &record->concurrency, err);
    case 'w':
        return parse_number(optarg, PD_KEY_SHARE_MAX, "--share", &record->share, err);
    case 'd':
        *ret_dir = optarg;
        return 0;
    default:
        return pd_err_set(err, PD_INVALID, "unknown flag, or one without its value: %s",
                          "see paddock key");
    }
}

static int parse(int argc, char **argv, struct request *request, struct pd_err *err)
{
    static const struct option table[] = {
        {"name", required_argument, NULL, 'n'},      {"scopes", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},      {"concurrency", required_argument, NULL, 'c'},
        {"share", required_argument, NULL, 'w'},     {"state-dir", required_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    const char *dir = NULL;

    opterr = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, ":", table, NULL)) != -1;) {
        if (take_flag(c, request, &dir, err) < 0)
            return PD_INVALID;
    }
    request->id = argv[optind];
    if (argc - optind > 1)
        return pd_err_set(err, PD_INVALID, "unexpected argument '%s'", argv[optind + 1]);
    request->dir = pd_state_dir(dir);
    return 0;
}

int pd_key_main(int argc, char **argv)
{
    struct request request = {.record = {.scopes = PD_SCOPE_EXECUTE, .share = 1}};
    const char *verb = argc > 1 ? argv[1] : "";
    int (*command)(const struct request *request) = strcmp(verb, "show") == 0     ? show
                                                    : strcmp(verb, "new") == 0    ? new_key
                                                    : strcmp(verb, "list") == 0   ? list
                                                    : strcmp(verb, "revoke") == 0 ? revoke_key
                                                                                  : NULL;
    struct pd_err err = {0};
    int status;

    if (command && parse(argc - 1, argv + 1, &request, &err) < 0) {
        fprintf(stderr, "paddock key %s: %s\n\n", verb, err.msg);
        command = NULL;
    }
    if (!command || (command == revoke_key) != (request.id != NULL)) {
        fputs(usage, strcmp(verb, "--help") == 0 ? stdout : stderr);
        status = strcmp(verb, "--help") == 0 ? 0 : 2;
    } else {
        status = command(&request);
    }
    free(request.dir);
    return status;
}
