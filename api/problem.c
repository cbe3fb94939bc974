#include "api/problem.h"

#include <string.h>

#include "common/json.h"
#include "common/mem.h"

const char *pd_status_title(int status)
{
    switch (status) {
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 204:
        return "No Content";
    case 303:
        return "See Other";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 416:
        return "Range Not Satisfiable";
    case 417:
        return "Expectation Failed";
    case 422:
        return "Unprocessable Content";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Error";
    }
}

static int put_member(struct pd_buf *out, const char *name, const char *text, struct pd_err *err)
{
    if (pd_buf_addf(out, err, ",\"%s\":", name) < 0)
        return err ? err->kind : PD_LIMIT;
    return pd_json_format_string(text, strlen(text), out, err);
}

static int put_errors(struct pd_buf *out, const struct pd_problems *errors, struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, ",\"errors\":[");

    for (size_t i = 0; rc == 0 && i < errors->count; i++) {
        const struct pd_problem *item = &errors->items[i];
        rc = pd_buf_addf(out, err, "%s{\"path\":", i ? "," : "");
        if (rc == 0)
            rc = pd_json_format_string(item->path, strlen(item->path), out, err);
        if (rc == 0)
            rc = put_member(out, "message", item->text, err);
        if (rc == 0)
            rc = pd_buf_add(out, "}", 1, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "]", 1, err);
}

int pd_problem_details_format(const struct pd_problem_details *details, struct pd_buf *out,
                              struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d",
                         pd_status_title(details->status), details->status);

    if (rc == 0 && details->detail)
        rc = put_member(out, "detail", details->detail, err);
    if (rc == 0 && details->request_id)
        rc = put_member(out, "request_id", details->request_id, err);
    if (rc == 0 && details->errors && details->errors->count > 0)
        rc = put_errors(out, details->errors, err);
    return rc < 0 ? rc : pd_buf_add(out, "}\n", 2, err);
}

void pd_failure_details(const struct pd_err *err, int retry_after_s, struct pd_problem_details *ret)
{
    *ret = (struct pd_problem_details){
        .status = pd_err_http_status(err->kind),
        .detail = err->msg,
        .retry_after_s = retry_after_s,
    };
    /* Here a timeout is one of waiting for a sandbox: come back later. */
    if (err->kind == PD_TIMEOUT || err->kind == PD_NOT_FOUND)
        ret->status = 503;
    if ((ret->status == 503 || ret->status == 429) && ret->retry_after_s == 0)
        ret->retry_after_s = PD_RETRY_AFTER_DEFAULT_S;
}

int pd_retry_after_s(int64_t wait_ms)
{
    int64_t seconds = wait_ms <= 0 ? 1 : (wait_ms - 1) / 1000 + 1;

    return seconds > PD_RETRY_AFTER_MAX_S ? PD_RETRY_AFTER_MAX_S : (int)seconds;
}
