#include "controller/ecs_error.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

static const struct {
    const char *code;
    int kind;
    enum pd_ecs_remedy remedy;
} codes[] = {
    {"ThrottlingException", PD_THROTTLED, PD_ECS_SLOW},
    {"Throttling", PD_THROTTLED, PD_ECS_SLOW},
    {"RequestLimitExceeded", PD_THROTTLED, PD_ECS_SLOW},
    {"TooManyRequestsException", PD_THROTTLED, PD_ECS_SLOW},
    {"ServerException", PD_UNAVAILABLE, PD_ECS_RETRY},
    {"InternalFailure", PD_UNAVAILABLE, PD_ECS_RETRY},
    {"InternalError", PD_UNAVAILABLE, PD_ECS_RETRY},
    {"ServiceUnavailable", PD_UNAVAILABLE, PD_ECS_RETRY},
    {"ServiceUnavailableException", PD_UNAVAILABLE, PD_ECS_RETRY},
    {"RequestTimeout", PD_UNAVAILABLE, PD_ECS_RETRY},
    {"UpdateInProgressException", PD_UNAVAILABLE, PD_ECS_RETRY},
    {"ExpiredTokenException", PD_DENIED, PD_ECS_KEY},
    {"ExpiredToken", PD_DENIED, PD_ECS_KEY},
    {"UnrecognizedClientException", PD_DENIED, PD_ECS_KEY},
    {"InvalidClientTokenId", PD_DENIED, PD_ECS_KEY},
    {"MissingAuthenticationToken", PD_DENIED, PD_ECS_KEY},
    {"InvalidSignatureException", PD_DENIED, PD_ECS_CLOCK},
    {"SignatureDoesNotMatch", PD_DENIED, PD_ECS_CLOCK},
    {"RequestTimeTooSkewed", PD_DENIED, PD_ECS_CLOCK},
    {"RequestExpired", PD_DENIED, PD_ECS_CLOCK},
    {"RequestInTheFuture", PD_DENIED, PD_ECS_CLOCK},
    {"IncompleteSignature", PD_DENIED, PD_ECS_TELL},
    {"AccessDeniedException", PD_DENIED, PD_ECS_TELL},
    {"AccessDenied", PD_DENIED, PD_ECS_TELL},
    {"NotAuthorized", PD_DENIED, PD_ECS_TELL},
    {"OptInRequired", PD_DENIED, PD_ECS_TELL},
    {"BlockedException", PD_DENIED, PD_ECS_TELL},
    {"ClusterNotFoundException", PD_NOT_FOUND, PD_ECS_TELL},
    {"ResourceNotFoundException", PD_NOT_FOUND, PD_ECS_TELL},
    {"InvalidParameterException", PD_INVALID, PD_ECS_TELL},
    {"ClientException", PD_INVALID, PD_ECS_TELL},
    {"PlatformUnknownException", PD_INVALID, PD_ECS_TELL},
    {"PlatformTaskDefinitionIncompatibilityException", PD_INVALID, PD_ECS_TELL},
    {"UnsupportedFeatureException", PD_INVALID, PD_ECS_TELL},
    {"ValidationException", PD_INVALID, PD_ECS_TELL},
    {"ConflictException", PD_CONFLICT, PD_ECS_TELL},
    {"LimitExceededException", PD_LIMIT, PD_ECS_TELL},
};

/* Fargate's want of capacity comes as a reason, or as a ClientException whose
 * text alone tells it from a mistake of ours. */
int pd_ecs_reason_kind(const char *reason, int otherwise)
{
    static const char *const marks[] = {"RESOURCE:", "Capacity is unavailable", "capacity",
                                        "reached the limit", "vCPU limit"};

    for (size_t i = 0; i < PD_COUNT(marks); i++) {
        if (strstr(reason, marks[i]))
            return PD_LIMIT;
    }
    return otherwise;
}

/* "ns#ThrottlingException:http://..." is ThrottlingException. */
static void take_code(const char *text, char code[static PD_ECS_CODE_MAX])
{
    const char *hash = strchr(text, '#');
    size_t len;

    text = hash ? hash + 1 : text;
    len = strcspn(text, ":");
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]))
            len = i;
    }
    len = len < PD_ECS_CODE_MAX ? len : PD_ECS_CODE_MAX - 1;
    memcpy(code, text, len);
    code[len] = '\0';
}

static const char *text_of(const struct pd_node *json, const char *name)
{
    const struct pd_node *node = pd_node_get(json, name);

    return node && node->kind == PD_NODE_STRING ? node->string.text : "";
}

static int kind_of(int status, struct pd_ecs_failure *failure)
{
    for (size_t i = 0; i < PD_COUNT(codes); i++) {
        if (strcmp(failure->code, codes[i].code) == 0) {
            failure->remedy = codes[i].remedy;
            return codes[i].kind;
        }
    }
    failure->remedy = status >= 500 ? PD_ECS_RETRY : status == 429 ? PD_ECS_SLOW : PD_ECS_TELL;
    return status >= 500   ? PD_UNAVAILABLE
           : status == 429 ? PD_THROTTLED
           : status == 403 ? PD_DENIED
                           : PD_INVALID;
}

int pd_ecs_error_read(const char *operation, const struct pd_http_response *response,
                      struct pd_ecs_failure *ret_failure, struct pd_err *err)
{
    struct pd_ecs_failure failure = {.code = ""};
    pd_autonode struct pd_node *json = NULL;
    const char *message;
    char header[256];
    int kind;

    if (pd_json_parse(response->body, response->body_len, &json, NULL) < 0)
        json = NULL;
    take_code(text_of(json, "__type"), failure.code);
    if (!failure.code[0] && pd_http_header(response, "X-Amzn-Errortype", header, sizeof header))
        take_code(header, failure.code);
    message = text_of(json, "message");
    message = *message ? message : text_of(json, "Message");
    kind = kind_of(response->status, &failure);
    if (kind == PD_INVALID)
        kind = pd_ecs_reason_kind(message, kind);
    *ret_failure = failure;
    if (kind == PD_DENIED && failure.remedy == PD_ECS_TELL && failure.code[0])
        return pd_err_set(err, kind, "ecs:%s is not allowed: %s: %.300s", operation, failure.code,
                          message);
    return pd_err_set(err, kind, "ecs:%s: %s (%d): %.300s", operation,
                      failure.code[0] ? failure.code : "no code", response->status, message);
}
