#include "controller/aws_key.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/json.h"
#include "common/mem.h"

#define XML_VALUE_MAX 8192

int64_t pd_aws_time_parse(const char *text)
{
    struct tm tm = {.tm_isdst = 0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t offset_s = 0;
    int hours, minutes;
    char sign;

    if (!rest)
        return 0;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (sscanf(rest, "%c%2d:%2d", &sign, &hours, &minutes) == 3 && (sign == '+' || sign == '-'))
        offset_s = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
    else if (strcmp(rest, "Z") != 0)
        return 0;
    return ((int64_t)timegm(&tm) - offset_s) * 1000;
}

/* Goes into a header: printable, without blanks. */
static int is_header_text(const char *text)
{
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~')
            return 0;
    }
    return 1;
}

int pd_aws_key_set(struct pd_aws_key *key, const char *id, const char *secret, const char *token,
                   const char *expiration, struct pd_err *err)
{
    int64_t expires = *expiration ? pd_aws_time_parse(expiration) : 0;

    if (!*id || !*secret || strlen(id) >= sizeof key->id || !is_header_text(id) ||
        !is_header_text(token) || strlen(token) > XML_VALUE_MAX)
        return pd_err_set(err, PD_INVALID, "no usable key");
    if (*expiration && expires == 0)
        return pd_err_set(err, PD_INVALID, "a key whose expiration is no time");
    pd_strcpy(key->id, sizeof key->id, id);
    key->secret = pd_secret_new(secret, strlen(secret));
    key->token = pd_secret_new(token, strlen(token));
    key->expires_wall_ms = expires;
    return 0;
}

struct pd_aws_key pd_aws_key_copy(const struct pd_aws_key *key)
{
    struct pd_aws_key copy = *key;

    copy.secret = pd_secret_copy(&key->secret);
    copy.token = pd_secret_copy(&key->token);
    return copy;
}

void pd_aws_key_fini(struct pd_aws_key *key)
{
    pd_secret_free(&key->secret);
    pd_secret_free(&key->token);
    *key = (struct pd_aws_key){.expires_wall_ms = 0};
}

/* ---- JSON ---- */

static const char *text_of(const struct pd_node *json, const char *name)
{
    const struct pd_node *node = pd_node_get(json, name);

    return node && node->kind == PD_NODE_STRING ? node->string.text : "";
}

static void wipe_texts(struct pd_node *json)
{
    for (size_t i = 0; json->kind == PD_NODE_MAP && i < json->map.count; i++) {
        struct pd_node *value = json->map.members[i].value;
        if (value->kind == PD_NODE_STRING)
            pd_wipe(value->string.text, value->string.len);
    }
}

static int key_of(const struct pd_node *json, int versioned, struct pd_aws_key *key,
                  struct pd_err *err)
{
    const struct pd_node *version = pd_node_get(json, "Version");
    const char *token = text_of(json, "Token");

    if (versioned && (!version || version->kind != PD_NODE_INT || version->integer != 1))
        return pd_err_set(err, PD_INVALID, "not version 1 of a credential process's answer");
    if (!*token)
        token = text_of(json, "SessionToken");
    return pd_aws_key_set(key, text_of(json, "AccessKeyId"), text_of(json, "SecretAccessKey"),
                          token, text_of(json, "Expiration"), err);
}

int pd_aws_key_from_json(const char *text, size_t len, int versioned, struct pd_aws_key *ret_key,
                         struct pd_err *err)
{
    pd_autonode struct pd_node *json = NULL;
    int rc;

    if (len > PD_AWS_ANSWER_BYTES_MAX || pd_json_parse(text, len, &json, NULL) < 0)
        return pd_err_set(err, PD_INVALID, "an answer that is no JSON");
    rc = key_of(json, versioned, ret_key, err);
    wipe_texts(json);
    return rc;
}

/* ---- XML: AWS writes these values without entities or attributes ---- */

static int xml_value(const char *text, const char *name, char *out, size_t out_bytes)
{
    char mark[64];
    const char *from, *to;

    snprintf(mark, sizeof mark, "<%s>", name);
    from = strstr(text, mark);
    to = from ? strchr(from += strlen(mark), '<') : NULL;
    if (!to || (size_t)(to - from) >= out_bytes)
        return -1;
    memcpy(out, from, (size_t)(to - from));
    out[to - from] = '\0';
    return 0;
}

int pd_aws_key_from_sts(const char *text, size_t len, struct pd_aws_key *ret_key,
                        struct pd_err *err)
{
    char id[PD_AWS_KEY_ID_MAX], secret[512], expiration[64];
    pd_autofree char *copy = pd_strndup(text, len);
    pd_autofree char *token = pd_calloc(XML_VALUE_MAX, 1);
    int rc;

    if (xml_value(copy, "AccessKeyId", id, sizeof id) < 0 ||
        xml_value(copy, "SecretAccessKey", secret, sizeof secret) < 0 ||
        xml_value(copy, "SessionToken", token, XML_VALUE_MAX) < 0 ||
        xml_value(copy, "Expiration", expiration, sizeof expiration) < 0)
        rc = pd_err_set(err, PD_INVALID, "an answer of STS without a key");
    else
        rc = pd_aws_key_set(ret_key, id, secret, token, expiration, err);
    pd_wipe(secret, sizeof secret);
    pd_wipe(token, XML_VALUE_MAX);
    pd_wipe(copy, len);
    return rc;
}

void pd_aws_sts_code(const char *text, char *out, size_t out_bytes)
{
    out[0] = '\0';
    if (xml_value(text, "Code", out, out_bytes) < 0 || !is_header_text(out))
        out[0] = '\0';
}
