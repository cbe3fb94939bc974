#include "api/kube_answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/server.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"

#define MESSAGE_BYTES 2048
#define HEADERS_BYTES 1300

static const char *reason_of(int status)
{
    switch (status) {
    case 400:
        return "BadRequest";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "NotFound";
    case 405:
        return "MethodNotAllowed";
    case 406:
        return "NotAcceptable";
    case 409:
        return "Conflict";
    case 410:
        return "Expired";
    case 413:
        return "RequestEntityTooLarge";
    case 415:
        return "UnsupportedMediaType";
    case 422:
        return "Invalid";
    case 429:
        return "TooManyRequests";
    case 503:
        return "ServiceUnavailable";
    case 504:
        return "Timeout";
    default:
        return status >= 500 ? "InternalError" : "Unknown";
    }
}

static struct pd_node *causes(const struct pd_problems *problems)
{
    struct pd_node *list = pd_node_list_new();

    for (size_t i = 0; i < problems->count; i++) {
        struct pd_node *cause = pd_node_map_new();
        pd_node_set_string(cause, "reason", "FieldValueInvalid");
        pd_node_set_string(cause, "message", problems->items[i].text);
        pd_node_set_string(cause, "field", problems->items[i].path);
        pd_node_add(list, cause);
    }
    return list;
}

struct pd_node *pd_kube_status_node(const struct pd_kube_refusal *refusal, const char *message)
{
    struct pd_node *node = pd_node_map_new(), *details = pd_node_map_new();

    pd_node_set_string(node, "kind", "Status");
    pd_node_set_string(node, "apiVersion", "v1");
    pd_node_set(node, "metadata", pd_node_map_new());
    pd_node_set_string(node, "status", "Failure");
    pd_node_set_string(node, "message", message);
    pd_node_set_string(node, "reason",
                       refusal->reason ? refusal->reason : reason_of(refusal->status));
    if (refusal->name && *refusal->name)
        pd_node_set_string(details, "name", refusal->name);
    if (refusal->kind) {
        pd_node_set_string(details, "group", refusal->kind->group);
        pd_node_set_string(details, "kind",
                           refusal->problems ? refusal->kind->kind : refusal->kind->plural);
    }
    if (refusal->problems)
        pd_node_set(details, "causes", causes(refusal->problems));
    if (refusal->status == 429 || refusal->status == 503)
        pd_node_set_int(details, "retryAfterSeconds", PD_KUBE_RETRY_AFTER_S);
    pd_node_set(node, "details", details);
    pd_node_set_int(node, "code", refusal->status);
    return node;
}

/* Quoted as RFC 9110 has it; anything that could end the line is gone. */
static size_t add_warning(char *out, size_t bytes, const char *text)
{
    size_t len = (size_t)snprintf(out, bytes, "Warning: 299 - \"");

    for (; *text && len + 5 < bytes; text++) {
        if (*text == '"' || *text == '\\')
            out[len++] = '\\';
        out[len++] = *text >= ' ' && *text <= '~' ? *text : '?';
    }
    return len + (size_t)snprintf(out + len, bytes - len, "\"\r\n");
}

void pd_kube_reply(struct pd_exchange *exchange, int status, const struct pd_node *node,
                   const struct pd_kube_warnings *warnings)
{
    char headers[HEADERS_BYTES] = "";
    size_t len = 0;
    struct pd_buf body;

    for (size_t i = 0;
         warnings && i < warnings->count && len + PD_KUBE_WARNING_BYTES + 32 < sizeof headers; i++)
        len += add_warning(headers + len, PD_KUBE_WARNING_BYTES + 32, warnings->texts[i]);
    pd_buf_init(&body, PD_KUBE_ANSWER_BYTES_MAX);
    if (pd_json_format(node, &body, NULL) < 0 || pd_buf_add(&body, "\n", 1, NULL) < 0) {
        pd_buf_fini(&body);
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = 413},
                       "the answer would be too long; ask for it in pieces (limit)");
        return;
    }
    pd_exchange_reply(exchange, status, "application/json", *headers ? headers : NULL, &body);
}

void pd_kube_refuse(struct pd_exchange *exchange, const struct pd_kube_refusal *refusal,
                    const char *fmt, ...)
{
    pd_autonode struct pd_node *node = NULL;
    char message[MESSAGE_BYTES];
    char headers[96] = "";
    struct pd_buf body;
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (refusal->status == 401)
        pd_strcpy(headers, sizeof headers, "WWW-Authenticate: Bearer realm=\"paddock\"\r\n");
    else if (refusal->status == 429 || refusal->status == 503)
        snprintf(headers, sizeof headers, "Retry-After: %d\r\n", PD_KUBE_RETRY_AFTER_S);
    node = pd_kube_status_node(refusal, message);
    pd_buf_init(&body, PD_KUBE_ANSWER_BYTES_MAX);
    if (pd_json_format(node, &body, NULL) < 0)
        abort(); /* texts with bounds of their own */
    pd_exchange_reply(exchange, refusal->status, "application/json", *headers ? headers : NULL,
                      &body);
}
