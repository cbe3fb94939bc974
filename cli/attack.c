#include "cli/attack.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "common/mem.h"

#define FOLDER "attacks/"
#define PRELUDE FOLDER "prelude.py"
#define TIMEOUT_S 20

/* ---- the comment at the top ---- */

static void read_steps(struct pd_attack *attack, const char *value)
{
    attack->n_steps = 0;
    while (*value && attack->n_steps < PD_ATTACK_STEPS_MAX) {
        size_t len = strcspn(value, " ");
        snprintf(attack->steps[attack->n_steps++], PD_ATTACK_WORD_MAX, "%.*s", (int)len, value);
        value += len + strspn(value + len, " ");
    }
}

static void read_key(struct pd_attack *attack, const char *key, const char *value)
{
    if (strcmp(key, "tries") == 0)
        pd_strcpy(attack->tries, sizeof attack->tries, value);
    else if (strcmp(key, "steps") == 0)
        read_steps(attack, value);
    else if (strcmp(key, "ends") == 0)
        pd_strcpy(attack->ends, sizeof attack->ends, value);
    else if (strcmp(key, "artifacts") == 0)
        pd_strcpy(attack->artifacts, sizeof attack->artifacts, value);
    else if (strcmp(key, "secret") == 0)
        pd_strcpy(attack->secret, sizeof attack->secret, value);
    else if (strcmp(key, "exit") == 0)
        attack->exit_code = (int)strtol(value, NULL, 10);
    else if (strcmp(key, "timeout") == 0)
        attack->timeout_s = (int)strtol(value, NULL, 10);
    else if (strcmp(key, "silent") == 0)
        attack->silent = true;
}

static void read_head(struct pd_attack *attack, const char *text)
{
    char line[PD_ATTACK_TEXT_MAX], key[PD_ATTACK_WORD_MAX];
    int used;

    while (*text == '#') {
        size_t len = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)len, text);
        used = 0;
        if (sscanf(line, "# %63[a-z]: %n", key, &used) == 1 && used > 0)
            read_key(attack, key, line + used);
        text += len + (text[len] == '\n');
    }
}

bool pd_attack_at(unsigned i, struct pd_attack *ret_attack)
{
    struct pd_asset asset;
    bool python;

    for (unsigned n = 0; (asset = pd_asset_at(n)).name; n++) {
        if (strncmp(asset.name, FOLDER, strlen(FOLDER)) == 0 && strcmp(asset.name, PRELUDE) != 0 &&
            i-- == 0)
            break;
    }
    if (!asset.name)
        return false;
    python = strstr(asset.name, ".py") != NULL;
    *ret_attack = (struct pd_attack){
        .language = python ? "python" : "bash",
        .ends = "exited",
        .n_steps = 1,
        .exit_code = -1,
        .timeout_s = TIMEOUT_S,
    };
    snprintf(ret_attack->name, sizeof ret_attack->name, "%.*s",
             (int)strcspn(asset.name + strlen(FOLDER), "."), asset.name + strlen(FOLDER));
    read_head(ret_attack, (const char *)asset.data);
    ret_attack->code =
        pd_asprintf("%s\n%s", python ? (const char *)pd_asset_find(PRELUDE).data : "",
                    (const char *)asset.data);
    return true;
}

void pd_attack_fini(struct pd_attack *attack)
{
    free(attack->code);
    attack->code = NULL;
}

/* ---- asking ---- */

struct pd_node *pd_attack_request(const struct pd_attack *attack, size_t step, const char *pool)
{
    struct pd_node *body = pd_node_map_new();

    pd_node_set_string(body, "code", attack->code);
    pd_node_set_string(body, "language", attack->language);
    pd_node_set_int(body, "timeout", attack->timeout_s);
    if (pool)
        pd_node_set_string(body, "pool", pool);
    if (attack->steps[step][0])
        pd_node_add(pd_node_set(body, "args", pd_node_list_new()),
                    pd_node_string_new(attack->steps[step]));
    if (attack->artifacts[0])
        pd_node_add(pd_node_set(body, "artifacts", pd_node_list_new()),
                    pd_node_string_new(attack->artifacts));
    return body;
}

/* ---- judging ---- */

static const char *text_of(const struct pd_node *map, const char *key)
{
    const struct pd_node *node = pd_node_get(map, key);

    return node && node->kind == PD_NODE_STRING ? node->string.text : "";
}

/* In what a program printed, which may hold NULs. */
static const char *find_said(const struct pd_node *answer, const char *stream, const char *word)
{
    const struct pd_node *node = pd_node_get(answer, stream);

    if (!node || node->kind != PD_NODE_STRING)
        return NULL;
    return memmem(node->string.text, node->string.len, word, strlen(word));
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = words; len > 0 && (at = strstr(at, word)); at += len) {
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    }
    return false;
}

static void quote_line(const char *text, char *why, size_t why_bytes)
{
    size_t at = 0;

    for (; text[at] && text[at] != '\n' && at + 1 < why_bytes; at++)
        why[at] = isprint((unsigned char)text[at]) ? text[at] : '?';
    why[at] = '\0';
}

static bool is_in_artifact(const struct pd_node *artifact, const char *secret)
{
    const struct pd_node *content = pd_node_get(artifact, "content");
    pd_autofree char *bytes = NULL;
    size_t len;

    if (!content || content->kind != PD_NODE_STRING)
        return false;
    len = content->string.len;
    bytes = pd_strndup(content->string.text, len);
    if (strcmp(text_of(artifact, "encoding"), "base64") == 0 &&
        pd_base64_decode(content->string.text, content->string.len, bytes, &len) < 0)
        return false;
    return memmem(bytes, len, secret, strlen(secret)) != NULL;
}

static bool leaks(const struct pd_attack *attack, const struct pd_node *answer, char *why,
                  size_t why_bytes)
{
    const struct pd_node *artifacts = pd_node_get(answer, "artifacts");

    if (!attack->secret[0] || !artifacts || artifacts->kind != PD_NODE_LIST)
        return false;
    for (size_t i = 0; i < artifacts->list.count; i++) {
        const struct pd_node *artifact = artifacts->list.items[i];
        if (!is_in_artifact(artifact, attack->secret))
            continue;
        snprintf(why, why_bytes, "artifact %s holds '%s'", text_of(artifact, "path"),
                 attack->secret);
        return true;
    }
    return false;
}

enum pd_verdict pd_attack_judge(const struct pd_attack *attack, const struct pd_node *answer,
                                char *why, size_t why_bytes)
{
    static const char *const streams[] = {"stdout", "stderr"};
    const char *status = text_of(answer, "status");
    const struct pd_node *exit_code = pd_node_get(answer, "exit_code");
    bool exited = strcmp(status, "exited") == 0;
    const char *said;

    why[0] = '\0';
    for (size_t i = 0; i < PD_COUNT(streams); i++) {
        said = find_said(answer, streams[i], "BROKEN: ");
        if (said) {
            quote_line(said + strlen("BROKEN: "), why, why_bytes);
            return PD_VERDICT_BROKEN;
        }
    }
    if (leaks(attack, answer, why, why_bytes))
        return PD_VERDICT_BROKEN;
    if (!has_word(attack->ends, status)) {
        snprintf(why, why_bytes, "it ended as '%s', not as %s", status, attack->ends);
        return PD_VERDICT_UNCLEAR;
    }
    if (attack->exit_code >= 0 &&
        (!exit_code || exit_code->kind != PD_NODE_INT || exit_code->integer != attack->exit_code)) {
        snprintf(why, why_bytes, "another exit code than %d was reported", attack->exit_code);
        return PD_VERDICT_BROKEN;
    }
    if (exited && !attack->silent && !find_said(answer, "stdout", "HELD")) {
        quote_line(text_of(answer, "stderr"), why, why_bytes);
        return PD_VERDICT_UNCLEAR;
    }
    return PD_VERDICT_HELD;
}
