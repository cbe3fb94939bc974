#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <curl/curl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "controller/aws_sigv4.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/loop_until.h"

#define VECTORS PD_SOURCE_DIR "/tests/fixtures/sigv4"
#define VECTOR_BYTES_MAX 65536

/* ---- the public vectors, stage by stage ---- */

static char *vector_text(const char *name, const char *file, size_t *ret_len)
{
    pd_autofree char *path = pd_asprintf("%s/%s/%s", VECTORS, name, file);
    char *text = NULL;
    struct pd_err err;

    if (pd_file_read(path, VECTOR_BYTES_MAX, &text, ret_len, &err) < 0)
        fail_msg("%s", err.msg);
    return text;
}

struct vector {
    char *request; /* cut into pieces in place */
    struct pd_node *context;
    struct pd_sigv4_header headers[PD_SIGV4_HEADERS_MAX];
    struct pd_sigv4_request signing;
    struct pd_secret secret, token;
};

/* "POST /path with blanks?query HTTP/1.1" */
static void cut_request_line(struct vector *vector, char *line)
{
    char *end = strstr(line, " HTTP/1.1");
    char *blank = strchr(line, ' ');

    assert_non_null(end);
    *end = '\0';
    *blank = '\0';
    vector->signing.method = line;
    vector->signing.target = blank + 1;
}

/* A line that begins with a blank goes on with the value before it. */
static void cut_headers(struct vector *vector, char *head)
{
    char *line = strchr(head, '\n');

    while (line) {
        char *next;
        *line++ = '\0';
        next = strchr(line, '\n');
        while (next && isblank((unsigned char)next[1]))
            next = strchr(next + 1, '\n');
        if (*line) {
            char *colon = strchr(line, ':');
            assert_non_null(colon);
            *colon = '\0';
            vector->headers[vector->signing.n_headers++] =
                (struct pd_sigv4_header){line, colon + 1};
        }
        line = next;
    }
}

static struct pd_secret secret_of(const struct pd_node *context, const char *name)
{
    const char *text = pd_node_text(pd_node_at(context, "credentials", name, NULL), "");

    return pd_secret_new(text, strlen(text));
}

static void vector_load(struct vector *vector, const char *name)
{
    struct tm tm = {.tm_isdst = 0};
    size_t len;
    pd_autofree char *context = vector_text(name, "context.json", &len);
    char *body;

    *vector = (struct vector){.request = NULL};
    assert_int_equal(pd_json_parse(context, len, &vector->context, NULL), 0);
    assert_non_null(strptime(pd_node_text(pd_node_get(vector->context, "timestamp"), ""),
                             "%Y-%m-%dT%H:%M:%SZ", &tm));
    vector->request = vector_text(name, "request.txt", &len);
    body = strstr(vector->request, "\n\n");
    vector->secret = secret_of(vector->context, "secret_access_key");
    vector->token = secret_of(vector->context, "token");
    vector->signing = (struct pd_sigv4_request){
        .headers = vector->headers,
        .body = body ? body + 2 : "",
        .body_len = body ? strlen(body + 2) : 0,
        .region = pd_node_text(pd_node_get(vector->context, "region"), ""),
        .service = pd_node_text(pd_node_get(vector->context, "service"), ""),
        .key_id =
            pd_node_text(pd_node_at(vector->context, "credentials", "access_key_id", NULL), ""),
        .secret = &vector->secret,
        .token = &vector->token,
        .wall_ms = (int64_t)timegm(&tm) * 1000,
        .keep_path = !pd_node_bool(pd_node_get(vector->context, "normalize"), true),
        .sign_body = pd_node_bool(pd_node_get(vector->context, "sign_body"), false),
        .omit_token = pd_node_bool(pd_node_get(vector->context, "omit_session_token"), false),
    };
    if (body)
        *body = '\0';
    cut_headers(vector, vector->request);
    cut_request_line(vector, vector->request);
}

static void vector_free(struct vector *vector)
{
    free(vector->request);
    pd_node_free(vector->context);
    pd_secret_free(&vector->secret);
    pd_secret_free(&vector->token);
}

static bool is_stage(const char *name, const char *file, const char *got)
{
    size_t len;
    pd_autofree char *wanted = vector_text(name, file, &len);

    while (len > 0 && wanted[len - 1] == '\n')
        wanted[--len] = '\0';
    if (strcmp(wanted, got) == 0)
        return true;
    print_message("%s, %s:\n---- wanted\n%s\n---- got\n%s\n", name, file, wanted, got);
    return false;
}

static bool is_vector_met(const char *name)
{
    struct vector vector;
    struct pd_sigv4 sigv4;
    struct pd_err err;
    bool ok;

    vector_load(&vector, name);
    if (pd_sigv4_sign(&vector.signing, &sigv4, &err) < 0)
        fail_msg("%s: %s", name, err.msg);
    ok = is_stage(name, "header-canonical-request.txt", sigv4.canonical);
    ok = is_stage(name, "header-string-to-sign.txt", sigv4.to_sign) && ok;
    ok = is_stage(name, "header-signature.txt", sigv4.signature) && ok;
    assert_non_null(strstr(sigv4.authorization, sigv4.signature));
    pd_sigv4_fini(&sigv4);
    vector_free(&vector);
    return ok;
}

static void test_public_vectors(void **state)
{
    DIR *dir = opendir(VECTORS);
    struct dirent *entry;
    int seen = 0, wrong = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "README") == 0)
            continue;
        seen++;
        wrong += !is_vector_met(entry->d_name);
    }
    closedir(dir);
    assert_int_equal(wrong, 0);
    assert_int_equal(seen, 38);
}

/* ---- against curl's own signer, over a real connection ---- */

struct seen {
    char *request;
    bool done;
};

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct seen *seen = arg;

    seen->request = pd_strdup(request);
    pd_peer_say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    pd_peer_end(connection);
    seen->done = true;
}

static char *header_of(const char *request, const char *name)
{
    pd_autofree char *mark = pd_asprintf("\r\n%s: ", name);
    const char *at = strcasestr(request, mark);

    assert_non_null(at);
    at += strlen(mark);
    return pd_strndup(at, strcspn(at, "\r"));
}

/* curl blocks, so it runs on a thread of its own. */
struct curl_call {
    char *url;
    const char *body;
    struct curl_slist *headers;
    CURLcode result;
};

static void call_curl(void *arg)
{
    struct curl_call *call = arg;
    CURL *easy = curl_easy_init();

    curl_easy_setopt(easy, CURLOPT_URL, call->url);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, "aws:amz:eu-west-1:ecs");
    curl_easy_setopt(easy, CURLOPT_USERPWD, "AKIDCURL:se/cr+et=");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    call->result = curl_easy_perform(easy);
    curl_easy_cleanup(easy);
}

static int64_t wall_of(const char *date)
{
    struct tm tm = {.tm_isdst = 0};

    assert_non_null(strptime(date, "%Y%m%dT%H%M%SZ", &tm));
    return (int64_t)timegm(&tm) * 1000;
}

/* The same request, signed by us at the second at which curl signed it. */
static void compare(const char *request, const char *body)
{
    pd_autofree char *date = header_of(request, "X-Amz-Date");
    pd_autofree char *theirs = header_of(request, "Authorization");
    pd_autofree char *host = header_of(request, "Host");
    pd_autofree char *type = header_of(request, "Content-Type");
    pd_autofree char *target = header_of(request, "X-Amz-Target");
    const struct pd_sigv4_header headers[] = {
        {"Host", host}, {"Content-Type", type}, {"X-Amz-Target", target}};
    pd_autosecret struct pd_secret secret = pd_secret_new("se/cr+et=", 9);
    const struct pd_sigv4_request signing = {
        .method = "POST",
        .target = "/",
        .headers = headers,
        .n_headers = PD_COUNT(headers),
        .body = body,
        .body_len = strlen(body),
        .region = "eu-west-1",
        .service = "ecs",
        .key_id = "AKIDCURL",
        .secret = &secret,
        .wall_ms = wall_of(date),
    };
    struct pd_sigv4 sigv4;

    assert_int_equal(pd_sigv4_sign(&signing, &sigv4, NULL), 0);
    assert_string_equal(sigv4.authorization, theirs);
    pd_sigv4_fini(&sigv4);
}

static void test_same_as_curl(void **state)
{
    static const char *const bodies[] = {"{}", "{\"cluster\":\"a\",\"count\":10}",
                                         "{\"x\":\"\xc3\xbc \\u0000 %20+&=\"}"};

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bodies); i++) {
        struct seen seen = {.request = NULL};
        struct curl_call call = {.body = bodies[i]};
        struct pd_http_peer *peer;
        uv_thread_t thread;
        uv_loop_t loop;

        assert_int_equal(uv_loop_init(&loop), 0);
        peer = pd_http_peer_open(&loop, NULL, on_request, &seen);
        call.url = pd_asprintf("http://127.0.0.1:%d/", pd_http_peer_port(peer));
        call.headers = curl_slist_append(NULL, "Content-Type: application/x-amz-json-1.1");
        call.headers = curl_slist_append(
            call.headers, "X-Amz-Target: AmazonEC2ContainerServiceV20141113.RunTask");
        assert_int_equal(uv_thread_create(&thread, call_curl, &call), 0);
        assert_true(pd_loop_until(&loop, &seen.done, 30000));
        pd_loop_for(&loop, 50);
        uv_thread_join(&thread);
        assert_int_equal(call.result, CURLE_OK);
        compare(seen.request, bodies[i]);
        pd_http_peer_close(peer);
        assert_true(pd_loop_finish(&loop, 10000));
        curl_slist_free_all(call.headers);
        free(call.url);
        free(seen.request);
    }
}

/* ---- what cannot be signed ---- */

static void test_refused(void **state)
{
    pd_autosecret struct pd_secret secret = pd_secret_new("x", 1);
    struct pd_sigv4_header headers[PD_SIGV4_HEADERS_MAX + 1];
    struct pd_sigv4_request request = {.method = "GET",
                                       .target = "/",
                                       .headers = headers,
                                       .region = "r",
                                       .service = "s",
                                       .key_id = "k",
                                       .secret = &secret};
    struct pd_sigv4 sigv4 = {.canonical = NULL};
    pd_autofree char *long_value = pd_calloc(PD_SIGV4_TEXT_BYTES_MAX + 1, 1);

    (void)state;
    assert_int_equal(pd_sigv4_sign(&request, &sigv4, NULL), PD_INVALID); /* no Host */
    for (size_t i = 0; i <= PD_SIGV4_HEADERS_MAX; i++)
        headers[i] = (struct pd_sigv4_header){"Host", "h"};
    request.n_headers = PD_SIGV4_HEADERS_MAX + 1;
    assert_int_equal(pd_sigv4_sign(&request, &sigv4, NULL), PD_INVALID);
    request.n_headers = 2;
    headers[1] = (struct pd_sigv4_header){"a b", "h"};
    assert_int_equal(pd_sigv4_sign(&request, &sigv4, NULL), PD_INVALID);
    memset(long_value, 'x', PD_SIGV4_TEXT_BYTES_MAX);
    headers[1] = (struct pd_sigv4_header){"a", long_value};
    assert_int_equal(pd_sigv4_sign(&request, &sigv4, NULL), PD_LIMIT);
    assert_null(sigv4.canonical); /* untouched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_vectors),
        cmocka_unit_test(test_same_as_curl),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
