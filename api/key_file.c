#include "api/key_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"

#define FILE_BYTES_MAX 4096
#define ID_DIGITS 12
#define HASH_PREFIX "sha256:"
#define NUMBER_MAX 1000000000

/* ---- small notations ---- */

static const struct {
    unsigned bit;
    const char *name;
} scope_names[] = {
    {PD_SCOPE_EXECUTE, "execute"}, {PD_SCOPE_READ, "read"}, {PD_SCOPE_ADMIN, "admin"}};

static unsigned scope_bit(const char *name, size_t len)
{
    for (size_t i = 0; i < PD_COUNT(scope_names); i++) {
        if (strlen(scope_names[i].name) == len && strncmp(scope_names[i].name, name, len) == 0)
            return scope_names[i].bit;
    }
    return 0;
}

int pd_scopes_parse(const char *text, unsigned *ret_scopes, struct pd_err *err)
{
    unsigned scopes = 0;

    for (;;) {
        size_t len = strcspn(text, ",");
        unsigned bit = scope_bit(text, len);
        if (!bit)
            return pd_err_set(err, PD_INVALID, "'%.*s' is no scope: execute, read, admin", (int)len,
                              text);
        scopes |= bit;
        if (!text[len])
            break;
        text += len + 1;
    }
    *ret_scopes = scopes;
    return 0;
}

const char *pd_scopes_format(unsigned scopes, char *out, size_t out_bytes)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < PD_COUNT(scope_names) && used < out_bytes; i++) {
        if (scopes & scope_names[i].bit)
            used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", used ? "," : "",
                                     scope_names[i].name);
    }
    return out;
}

int pd_rate_parse(const char *text, int *ret_runs, int *ret_seconds, struct pd_err *err)
{
    char *end;
    long runs = strtol(text, &end, 10);
    int seconds = strcmp(end, "/s") == 0   ? 1
                  : strcmp(end, "/m") == 0 ? 60
                  : strcmp(end, "/h") == 0 ? 3600
                                           : 0;

    if (end == text || runs < 1 || runs > NUMBER_MAX || seconds == 0)
        return pd_err_set(err, PD_INVALID, "'%s' is no rate: write 5/s, 100/m or 1000/h", text);
    *ret_runs = (int)runs;
    *ret_seconds = seconds;
    return 0;
}

void pd_key_id_of(const unsigned char digest[static PD_KEY_DIGEST_BYTES],
                  char out[static PD_KEY_ID_MAX])
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < ID_DIGITS / 2; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[ID_DIGITS] = '\0';
}

/* ---- parsing ---- */

static int take_text(const struct pd_node *node, const char *key, char *out, size_t out_bytes,
                     struct pd_err *err)
{
    const struct pd_node *value = pd_node_get(node, key);

    if (!value || value->kind != PD_NODE_STRING || value->string.len >= out_bytes ||
        strlen(value->string.text) != value->string.len)
        return pd_err_set(err, PD_INVALID, "%s: must be a text of at most %zu bytes", key,
                          out_bytes - 1);
    pd_strcpy(out, out_bytes, value->string.text);
    return 0;
}

static int take_number(const struct pd_node *node, const char *key, int least, int most,
                       int fallback, int *out, struct pd_err *err)
{
    const struct pd_node *value = pd_node_get(node, key);

    *out = fallback;
    if (!value)
        return 0;
    if (value->kind != PD_NODE_INT || value->integer < least || value->integer > most)
        return pd_err_set(err, PD_INVALID, "%s: must be a whole number from %d to %d", key, least,
                          most);
    *out = (int)value->integer;
    return 0;
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static int take_hash(const struct pd_node *node, struct pd_key_record *record, struct pd_err *err)
{
    char text[sizeof HASH_PREFIX + 2 * PD_KEY_DIGEST_BYTES];
    const char *hex = text + sizeof HASH_PREFIX - 1;

    if (take_text(node, "hash", text, sizeof text, err) < 0)
        return PD_INVALID;
    if (strncmp(text, HASH_PREFIX, sizeof HASH_PREFIX - 1) != 0 ||
        strlen(hex) != (size_t)2 * PD_KEY_DIGEST_BYTES)
        return pd_err_set(err, PD_INVALID, "hash: must be sha256: and 64 hex digits");
    for (size_t i = 0; i < PD_KEY_DIGEST_BYTES; i++) {
        int high = hex_value(hex[2 * i]);
        int low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return pd_err_set(err, PD_INVALID, "hash: must be sha256: and 64 hex digits");
        record->digest[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}

static int take_scopes(const struct pd_node *node, struct pd_key_record *record,
                       struct pd_err *err)
{
    const struct pd_node *list = pd_node_get(node, "scopes");

    if (!list || list->kind != PD_NODE_LIST)
        return pd_err_set(err, PD_INVALID, "scopes: must be a list");
    for (size_t i = 0; i < list->list.count; i++) {
        const struct pd_node *item = list->list.items[i];
        unsigned bit = item->kind == PD_NODE_STRING
                           ? scope_bit(item->string.text, strlen(item->string.text))
                           : 0;
        if (!bit)
            return pd_err_set(err, PD_INVALID, "scopes[%zu]: must be execute, read or admin", i);
        record->scopes |= bit;
    }
    return 0;
}

static int take_rate(const struct pd_node *node, struct pd_key_record *record, struct pd_err *err)
{
    const struct pd_node *rate = pd_node_get(node, "rate");
    int rc;

    if (!rate || rate->kind == PD_NODE_NULL)
        return 0;
    if (rate->kind != PD_NODE_MAP)
        return pd_err_set(err, PD_INVALID, "rate: must be {\"runs\": N, \"seconds\": N}");
    rc = take_number(rate, "runs", 1, NUMBER_MAX, 0, &record->rate_runs, err);
    if (rc == 0)
        rc = take_number(rate, "seconds", 1, 86400, 0, &record->rate_seconds, err);
    if (rc == 0 && (!record->rate_runs || !record->rate_seconds))
        rc = pd_err_set(err, PD_INVALID, "rate: needs runs and seconds");
    return rc;
}

static int take_all(const struct pd_node *node, struct pd_key_record *record, struct pd_err *err)
{
    const struct pd_node *created = pd_node_get(node, "created");
    char id[PD_KEY_ID_MAX];

    if (node->kind != PD_NODE_MAP)
        return pd_err_set(err, PD_INVALID, "must be a JSON object");
    if (take_text(node, "id", record->id, sizeof record->id, err) < 0 ||
        take_text(node, "name", record->name, sizeof record->name, err) < 0 ||
        take_hash(node, record, err) < 0 || take_scopes(node, record, err) < 0 ||
        take_rate(node, record, err) < 0 ||
        take_number(node, "concurrency", 0, NUMBER_MAX, 0, &record->concurrency, err) < 0 ||
        take_number(node, "share", 1, PD_KEY_SHARE_MAX, 1, &record->share, err) < 0)
        return PD_INVALID;
    pd_key_id_of(record->digest, id);
    if (strcmp(id, record->id) != 0)
        return pd_err_set(err, PD_INVALID, "id: does not belong to this hash");
    if (created && created->kind == PD_NODE_INT)
        record->created_wall_ms = created->integer;
    return 0;
}

int pd_key_record_parse(const char *text, size_t len, struct pd_key_record *ret_record,
                        struct pd_err *err)
{
    pd_autonode struct pd_node *node = NULL;
    struct pd_key_record record = {.share = 1};
    int rc = pd_json_parse(text, len, &node, err);

    if (rc == 0)
        rc = take_all(node, &record, err);
    if (rc == 0)
        *ret_record = record;
    return rc;
}

/* ---- writing ---- */

static struct pd_node *record_node(const struct pd_key_record *record)
{
    struct pd_node *node = pd_node_map_new();
    struct pd_node *scopes = pd_node_list_new();
    char hash[sizeof HASH_PREFIX + 2 * PD_KEY_DIGEST_BYTES] = HASH_PREFIX;

    for (size_t i = 0; i < PD_KEY_DIGEST_BYTES; i++)
        snprintf(hash + sizeof HASH_PREFIX - 1 + 2 * i, 3, "%02x", record->digest[i]);
    for (size_t i = 0; i < PD_COUNT(scope_names); i++) {
        if (record->scopes & scope_names[i].bit)
            pd_node_add(scopes, pd_node_string_new(scope_names[i].name));
    }
    pd_node_set_string(node, "id", record->id);
    pd_node_set_string(node, "name", record->name);
    pd_node_set_string(node, "hash", hash);
    pd_node_set(node, "scopes", scopes);
    if (record->rate_runs) {
        struct pd_node *rate = pd_node_set(node, "rate", pd_node_map_new());
        pd_node_set_int(rate, "runs", record->rate_runs);
        pd_node_set_int(rate, "seconds", record->rate_seconds);
    }
    pd_node_set_int(node, "concurrency", record->concurrency);
    pd_node_set_int(node, "share", record->share);
    pd_node_set_int(node, "created", record->created_wall_ms);
    return node;
}

char *pd_key_folder(const char *state_dir)
{
    return pd_asprintf("%s/keys.d", state_dir);
}

char *pd_key_path(const char *state_dir, const char *id)
{
    return pd_asprintf("%s/keys.d/%s.json", state_dir, id);
}

int pd_key_record_write(const char *state_dir, const struct pd_key_record *record,
                        struct pd_err *err)
{
    pd_autofree char *folder = pd_key_folder(state_dir);
    pd_autofree char *path = pd_key_path(state_dir, record->id);
    pd_autonode struct pd_node *node = record_node(record);
    pd_autobuf struct pd_buf text;
    int rc;

    pd_buf_init(&text, FILE_BYTES_MAX);
    rc = pd_json_format(node, &text, err);
    if (rc == 0)
        rc = pd_buf_add(&text, "\n", 1, err);
    if (rc < 0)
        return rc;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return pd_err_os(err, PD_DENIED, errno, "make folder '%s'", folder);
    if (access(path, F_OK) == 0)
        return pd_err_set(err, PD_CONFLICT, "'%s' exists", path);
    return pd_file_write_atomic(path, text.data, text.len, 0600, err);
}

/* ---- reading ---- */

static int only_json(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

static void read_one(const char *state_dir, const char *id, pd_key_record_cb cb, void *arg)
{
    pd_autofree char *path = pd_key_path(state_dir, id);
    pd_autofree char *text = NULL;
    struct pd_key_record record;
    struct pd_err err;
    size_t len;

    if (pd_file_read(path, FILE_BYTES_MAX, &text, &len, &err) < 0 ||
        pd_key_record_parse(text, len, &record, &err) < 0) {
        pd_err_wrap(&err, "'%s'", path);
        cb(arg, id, NULL, &err);
    } else if (strcmp(record.id, id) != 0) {
        pd_err_set(&err, PD_INVALID, "'%s': the key's id is %s, so the file must be %s.json", path,
                   record.id, record.id);
        cb(arg, id, NULL, &err);
    } else {
        cb(arg, id, &record, NULL);
    }
}

int pd_key_records_read(const char *state_dir, pd_key_record_cb cb, void *arg, struct pd_err *err)
{
    pd_autofree char *folder = pd_key_folder(state_dir);
    struct dirent **entries;
    int n = scandir(folder, &entries, only_json, alphasort);

    if (n < 0)
        return errno == ENOENT ? 0 : pd_err_os(err, PD_INTERNAL, errno, "read '%s'", folder);
    for (int i = 0; i < n; i++) {
        pd_autofree struct dirent *entry = entries[i];
        if (i >= PD_KEY_FILES_MAX)
            continue;
        entry->d_name[strlen(entry->d_name) - 5] = '\0';
        read_one(state_dir, entry->d_name, cb, arg);
    }
    free(entries);
    return 0;
}
