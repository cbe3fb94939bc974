/* Every source of the chain, each answered by a loopback peer or a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/time.h"
#include "controller/aws_credentials.h"
#include "controller/aws_fetch.h"
#include "controller/aws_source.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/loop_until.h"

extern char **environ;

struct env {
    uv_loop_t loop;
    struct pd_http *http;
    struct pd_http_peer *peer;
    struct pd_aws_credentials *credentials;
    char dir[64];
    char url[64];
    char seen[4096]; /* requests, one after another */
    int requests;
    const char *answers[8]; /* one for each request; the last for all that follow */
    int answered;
    bool done;
    int told;
    int kind;
    struct pd_aws_key key;
    char message[PD_ERR_MSG_MAX];
    bool hold; /* do not answer yet */
    struct pd_peer_connection *held;
};

static char *json_key(const char *id, int64_t life_ms)
{
    char at[PD_RFC3339_BYTES];

    return pd_asprintf(
        "{\"Code\":\"Success\",\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"hush\","
        "\"Token\":\"tok\",\"Expiration\":\"%s\"}",
        id, pd_wall_format(pd_wall_ms() + life_ms, at));
}

static void say(struct pd_peer_connection *connection, const char *body)
{
    int status = *body == '!' ? atoi(body + 1) : 200;
    const char *text = *body == '!' ? body + 4 : body;
    pd_autofree char *answer =
        pd_asprintf("HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
                    strlen(text), text);

    pd_peer_say(connection, answer);
    pd_peer_end(connection);
}

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct env *env = arg;
    size_t len = strlen(env->seen);

    snprintf(env->seen + len, sizeof env->seen - len, "%s\n", request);
    env->requests++;
    if (env->hold) {
        env->held = connection;
        return;
    }
    say(connection, env->answers[env->answered]);
    if (env->answered + 1 < (int)PD_COUNT(env->answers) && env->answers[env->answered + 1])
        env->answered++;
}

static void forget_environment(void)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_CREDENTIAL_EXPIRATION",
                                        "AWS_PROFILE",
                                        "AWS_DEFAULT_PROFILE",
                                        "AWS_CONFIG_FILE",
                                        "AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ROLE_ARN",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_EC2_METADATA_DISABLED",
                                        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                                        "AWS_ENDPOINT_URL_STS",
                                        "AWS_ENDPOINT_URL",
                                        "AWS_ENDPOINT_URL_ECS",
                                        "AWS_REGION",
                                        "AWS_DEFAULT_REGION",
                                        "AWS_ROLE_SESSION_NAME"};

    for (size_t i = 0; i < PD_COUNT(names); i++)
        unsetenv(names[i]);
}

static int set_up(void **state)
{
    struct env *env = PD_NEW(struct env);

    forget_environment();
    uv_loop_init(&env->loop);
    env->http = pd_http_new(&env->loop);
    env->peer = pd_http_peer_open(&env->loop, NULL, on_request, env);
    snprintf(env->url, sizeof env->url, "http://127.0.0.1:%d", pd_http_peer_port(env->peer));
    snprintf(env->dir, sizeof env->dir, "/tmp/pd-aws-XXXXXX");
    assert_non_null(mkdtemp(env->dir));
    setenv("HOME", env->dir, 1);
    env->credentials = pd_aws_credentials_new(&env->loop, env->http, NULL, "eu-west-1");
    *state = env;
    return 0;
}

static int tear_down(void **state)
{
    struct env *env = *state;
    pd_autofree char *command = pd_asprintf("rm -rf %s", env->dir);

    if (env->credentials)
        pd_aws_credentials_close(env->credentials, NULL, NULL);
    pd_http_peer_close(env->peer);
    pd_loop_for(&env->loop, 10);
    pd_http_close(env->http, NULL, NULL);
    assert_true(pd_loop_finish(&env->loop, 10000));
    pd_aws_key_fini(&env->key);
    assert_int_equal(system(command), 0);
    free(env);
    return 0;
}

static void write_file(const struct env *env, const char *name, const char *text)
{
    pd_autofree char *path = pd_asprintf("%s/%s", env->dir, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void set_file(const struct env *env, const char *variable, const char *name,
                     const char *text)
{
    pd_autofree char *path = pd_asprintf("%s/%s", env->dir, name);

    write_file(env, name, text);
    setenv(variable, path, 1);
}

static void on_key(void *arg, const struct pd_err *err, const struct pd_aws_key *key)
{
    struct env *env = arg;

    env->told++;
    env->done = true;
    env->kind = err ? err->kind : 0;
    pd_strcpy(env->message, sizeof env->message, err ? err->msg : "");
    pd_aws_key_fini(&env->key);
    if (key)
        env->key = pd_aws_key_copy(key);
}

/* What the chain gives now; the key's id, or the error. */
static const char *ask(struct env *env)
{
    env->done = false;
    pd_aws_credentials_want(env->credentials, on_key, env);
    assert_false(env->done); /* never from within the call */
    assert_true(pd_loop_until(&env->loop, &env->done, 30000));
    return env->kind ? env->message : env->key.id;
}

/* ---- sources ---- */

static void test_environment(void **state)
{
    struct env *env = *state;

    setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hush", 1);
    setenv("AWS_SESSION_TOKEN", "tok", 1);
    assert_string_equal(ask(env), "AKENV");
    assert_true(pd_secret_equals(&env->key.token, "tok", 3));
    assert_int_equal(env->requests, 0);
    assert_string_equal(pd_aws_credentials_origin(env->credentials), "environment");
}

static void test_environment_expired(void **state)
{
    struct env *env = *state;

    setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hush", 1);
    setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z", 1);
    assert_non_null(strstr(ask(env), "expired already"));
    assert_null(strstr(env->message, "hush"));
}

static void test_profile(void **state)
{
    struct env *env = *state;

    setenv("AWS_PROFILE", "dev", 1);
    set_file(env, "AWS_CONFIG_FILE", "config",
             "[default]\nregion = a-1\n[profile dev]\nregion = eu-north-1 # far\n"
             "aws_access_key_id = AKCONFIG\naws_secret_access_key = x\n");
    set_file(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials",
             "[dev]\naws_access_key_id=AKDEV\naws_secret_access_key=hu#sh\n");
    assert_string_equal(ask(env), "AKDEV");
    assert_true(pd_secret_equals(&env->key.secret, "hu#sh", 5));
    char region[PD_AWS_REGION_MAX];
    assert_true(pd_aws_region(region));
    assert_string_equal(region, "eu-north-1");
}

static void test_profile_unknown(void **state)
{
    struct env *env = *state;

    setenv("AWS_PROFILE", "nobody", 1);
    assert_non_null(strstr(ask(env), "no such profile"));
}

static void test_profile_sso_is_explained(void **state)
{
    struct env *env = *state;

    setenv("AWS_PROFILE", "dev", 1);
    set_file(env, "AWS_CONFIG_FILE", "config", "[profile dev]\nsso_session = corp\n");
    assert_non_null(strstr(ask(env), "export-credentials"));
}

static void test_profile_circle(void **state)
{
    struct env *env = *state;

    setenv("AWS_PROFILE", "a", 1);
    set_file(env, "AWS_CONFIG_FILE", "config",
             "[profile a]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\n"
             "source_profile=a\n");
    assert_non_null(strstr(ask(env), "on and on"));
}

#define STS_KEY                                                                                    \
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>"       \
    "<SecretAccessKey>hush</SecretAccessKey><SessionToken>tok==</SessionToken>"                    \
    "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>"               \
    "</AssumeRoleResponse>"

static void test_role(void **state)
{
    struct env *env = *state;

    setenv("AWS_PROFILE", "work", 1);
    setenv("AWS_ENDPOINT_URL_STS", env->url, 1);
    set_file(env, "AWS_CONFIG_FILE", "config",
             "[profile work]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n"
             "external_id = e x\nduration_seconds = 900\n"
             "[profile base]\naws_access_key_id = AKBASE\naws_secret_access_key = hush\n");
    env->answers[0] = STS_KEY;
    assert_string_equal(ask(env), "ASIAROLE");
    assert_non_null(strstr(env->seen, "Action=AssumeRole&"));
    assert_non_null(strstr(env->seen, "ExternalId=e%20x"));
    assert_non_null(strstr(env->seen, "DurationSeconds=900"));
    assert_non_null(strstr(env->seen, "Credential=AKBASE/"));
    assert_non_null(strstr(env->seen, "/eu-west-1/sts/aws4_request"));
    assert_null(strstr(env->seen, "hush"));
}

static void test_role_refused(void **state)
{
    struct env *env = *state;

    setenv("AWS_PROFILE", "work", 1);
    setenv("AWS_ENDPOINT_URL", env->url, 1);
    set_file(env, "AWS_CONFIG_FILE", "config",
             "[profile work]\nrole_arn = arn:r\ncredential_source = Environment\n");
    assert_non_null(strstr(ask(env), "credential_source Environment has no key"));
    env->answers[0] = "!403<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
    set_file(env, "AWS_CONFIG_FILE", "config",
             "[profile work]\nrole_arn = arn:r\nsource_profile = work\n"
             "aws_access_key_id = AKBASE\naws_secret_access_key = hush\n");
    pd_loop_for(&env->loop, PD_AWS_REFRESH_PAUSE_MIN_MS + 500);
    ask(env);
    assert_int_equal(env->kind, PD_DENIED);
    assert_non_null(strstr(env->message, "AccessDenied"));
    assert_non_null(strstr(env->message, "arn:r"));
}

static void test_web_identity(void **state)
{
    struct env *env = *state;

    set_file(env, "AWS_WEB_IDENTITY_TOKEN_FILE", "token", "ey.J0\n");
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/web", 1);
    setenv("AWS_ENDPOINT_URL_STS", env->url, 1);
    env->answers[0] = STS_KEY;
    assert_string_equal(ask(env), "ASIAROLE");
    assert_non_null(strstr(env->seen, "Action=AssumeRoleWithWebIdentity"));
    assert_non_null(strstr(env->seen, "WebIdentityToken=ey.J0"));
    assert_null(strstr(env->seen, "Authorization:"));
}

static void test_container(void **state)
{
    struct env *env = *state;
    pd_autofree char *url = pd_asprintf("%s/creds?x=1", env->url);
    pd_autofree char *key = json_key("ASIACONT", 3600000);

    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    set_file(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "token", "Bearer abc\n");
    env->answers[0] = key;
    assert_string_equal(ask(env), "ASIACONT");
    assert_non_null(strstr(env->seen, "GET /creds?x=1"));
    assert_non_null(strstr(env->seen, "Authorization: Bearer abc\r\n"));
}

static void test_container_urls(void **state)
{
    static const struct {
        const char *url;
        bool safe;
    } cases[] = {
        {"https://example.com/x", true},
        {"http://127.0.0.1:80/x", true},
        {"http://127.9.9.9/x", true},
        {"http://localhost/x", true},
        {"http://[::1]:5/x", true},
        {"http://169.254.170.2/x", true},
        {"http://169.254.170.23/x", true},
        {"http://[fd00:ec2::23]/x", true},
        {"http://169.254.169.254/x", false},
        {"http://example.com/x", false},
        {"http://127.0.0.1.evil.com/x", false},
        {"http://127.0.0.1@evil.com/x", false},
        {"http://localhost.evil/x", false},
        {"ftp://127.0.0.1/x", false},
        {"http://[::1]x.evil/", true}, /* no URL: refused when it is sent */
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        if (pd_aws_container_url_is_safe(cases[i].url) != cases[i].safe)
            fail_msg("%s", cases[i].url);
    }
}

static void test_container_refused(void **state)
{
    struct env *env = *state;

    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x", 1);
    assert_non_null(strstr(ask(env), "neither https nor loopback"));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", env->url, 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nHost: b", 1);
    pd_loop_for(&env->loop, PD_AWS_REFRESH_PAUSE_MIN_MS + 500);
    assert_non_null(strstr(ask(env), "more than one line"));
    assert_int_equal(env->requests, 0);
}

static void test_imds(void **state)
{
    struct env *env = *state;
    pd_autofree char *key = json_key("ASIAIMDS", 3600000);

    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", env->url, 1);
    env->answers[0] = "token-1";
    env->answers[1] = "my-role\n";
    env->answers[2] = key;
    assert_string_equal(ask(env), "ASIAIMDS");
    assert_non_null(strstr(env->seen, "PUT /latest/api/token"));
    assert_non_null(strstr(env->seen, "X-aws-ec2-metadata-token-ttl-seconds: 21600"));
    assert_non_null(strstr(env->seen, "/security-credentials/my-role HTTP"));
    assert_non_null(strstr(env->seen, "X-aws-ec2-metadata-token: token-1"));
}

/* Version 1 is never tried: without a token there is no key. */
static void test_imds_without_tokens(void **state)
{
    struct env *env = *state;

    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", env->url, 1);
    env->answers[0] = "!403no";
    ask(env);
    assert_int_equal(env->kind, PD_DENIED);
    assert_int_equal(env->requests, 1);
    assert_null(strstr(env->seen, "GET "));
}

static void test_nothing(void **state)
{
    struct env *env = *state;

    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    ask(env);
    assert_int_equal(env->kind, PD_NOT_FOUND);
}

static void test_process(void **state)
{
    struct env *env = *state;
    pd_autofree char *config = pd_asprintf(
        "[profile p]\ncredential_process = /bin/sh \"%s/with blank.sh\" 'A B'\n", env->dir);

    setenv("AWS_PROFILE", "p", 1);
    set_file(env, "AWS_CONFIG_FILE", "config", config);
    write_file(env, "with blank.sh",
               "echo \"{\\\"Version\\\": 1, \\\"AccessKeyId\\\": \\\"AK${#1}\\\", "
               "\\\"SecretAccessKey\\\": \\\"hush\\\"}\"\n");
    assert_string_equal(ask(env), "AK3");
}

static void test_process_failures(void **state)
{
    static const struct {
        const char *script;
        int kind;
    } cases[] = {
        {"exit 3", PD_DENIED},
        {"kill -9 $$", PD_DENIED},
        {"echo '{\"Version\": 2, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"S\"}'", PD_INVALID},
        {"echo '{\"Version\": 1, \"AccessKeyId\": \"A\"}'", PD_INVALID},
        {"echo hush", PD_INVALID},
        {"while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
         PD_LIMIT},
    };
    struct env *env = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_aws_source source = {.kind = PD_AWS_PROCESS, .name = "process"};
        const struct pd_aws_asker asker = {.loop = &env->loop, .http = env->http, .region = "r"};
        pd_autofree char *path = pd_asprintf("%s/p.sh", env->dir);
        source.command = pd_asprintf("/bin/sh %s", path);
        write_file(env, "p.sh", cases[i].script);
        env->done = false;
        pd_aws_fetch_begin(&asker, &source, on_key, env);
        assert_true(pd_loop_until(&env->loop, &env->done, 30000));
        if (env->kind != cases[i].kind || strstr(env->message, "hush"))
            fail_msg("%s: %d %s", cases[i].script, env->kind, env->message);
        free(source.command);
    }
}

static void test_words(void **state)
{
    char **words = pd_aws_words(" a  'b c'\"d\" e\tf$x ");

    (void)state;
    assert_string_equal(words[0], "a");
    assert_string_equal(words[1], "b cd");
    assert_string_equal(words[2], "e");
    assert_string_equal(words[3], "f$x");
    assert_null(words[4]);
    for (char **word = words; *word; word++)
        free(*word);
    free(words);
    assert_null(pd_aws_words("a 'b"));
    assert_null(pd_aws_words("  "));
}

/* ---- keeping it fresh ---- */

static void use_container(struct env *env)
{
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", env->url, 1);
}

static void test_single_flight(void **state)
{
    struct env *env = *state;
    pd_autofree char *key = json_key("ASIAONE", 3600000);

    use_container(env);
    env->answers[0] = key;
    for (int i = 0; i < 10; i++)
        pd_aws_credentials_want(env->credentials, on_key, env);
    ask(env);
    pd_loop_for(&env->loop, 50);
    assert_int_equal(env->told, 11);
    assert_int_equal(env->requests, 1);
    ask(env);
    assert_int_equal(env->requests, 1);
}

/* A key that lives 8 s is replaced at half of that, while it is still good. */
static void test_refresh_ahead(void **state)
{
    struct env *env = *state;
    pd_autofree char *first = json_key("ASIA1", 8000);
    pd_autofree char *second = json_key("ASIA2", 3600000);

    use_container(env);
    env->answers[0] = first;
    env->answers[1] = second;
    assert_string_equal(ask(env), "ASIA1");
    for (int i = 0; i < 200 && env->requests < 2; i++) {
        assert_non_null(pd_aws_credentials_now(env->credentials));
        pd_loop_for(&env->loop, 100);
    }
    pd_loop_for(&env->loop, 100);
    assert_string_equal(pd_aws_credentials_now(env->credentials)->id, "ASIA2");
}

static void test_old_key_while_refresh_fails(void **state)
{
    struct env *env = *state;
    pd_autofree char *first = json_key("ASIA1", 9000);

    use_container(env);
    env->answers[0] = first;
    env->answers[1] = "!500";
    assert_string_equal(ask(env), "ASIA1");
    for (int i = 0; i < 300 && env->requests < 2; i++)
        pd_loop_for(&env->loop, 50);
    pd_loop_for(&env->loop, 100);
    if (pd_wall_ms() + 2500 < env->key.expires_wall_ms) /* a slow machine may be too late */
        assert_string_equal(ask(env), "ASIA1");
}

static void test_refused_key_is_replaced(void **state)
{
    struct env *env = *state;
    pd_autofree char *first = json_key("ASIA1", 3600000);
    pd_autofree char *second = json_key("ASIA2", 3600000);

    use_container(env);
    env->answers[0] = first;
    env->answers[1] = second;
    assert_string_equal(ask(env), "ASIA1");
    pd_aws_credentials_refused(env->credentials, "ASIA1");
    assert_null(pd_aws_credentials_now(env->credentials));
    assert_string_equal(ask(env), "ASIA2");
    pd_aws_credentials_refused(env->credentials, "ASIA1"); /* old news */
    assert_string_equal(ask(env), "ASIA2");
    assert_int_equal(env->requests, 2);
}

static void test_clock(void **state)
{
    struct env *env = *state;
    char date[64];
    time_t ahead = time(NULL) + 7 * 3600;
    struct tm tm;

    assert_false(pd_aws_credentials_note_date(env->credentials, "nonsense"));
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&ahead, &tm));
    assert_true(pd_aws_credentials_note_date(env->credentials, date));
    assert_in_range(pd_aws_credentials_wall_ms(env->credentials) - pd_wall_ms(), 7 * 3590000,
                    7 * 3610000);
    assert_false(pd_aws_credentials_note_date(env->credentials, date));
}

static void test_closed_while_asking(void **state)
{
    struct env *env = *state;

    use_container(env);
    env->hold = true;
    pd_aws_credentials_want(env->credentials, on_key, env);
    for (int i = 0; i < 200 && env->requests == 0; i++)
        pd_loop_for(&env->loop, 20);
    pd_aws_credentials_close(PD_STEAL(env->credentials), NULL, NULL);
    assert_true(pd_loop_until(&env->loop, &env->done, 10000));
    assert_int_equal(env->kind, PD_CANCELED);
    pd_loop_for(&env->loop, 50);
    assert_int_equal(env->told, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_environment),
        TEST(test_environment_expired),
        TEST(test_profile),
        TEST(test_profile_unknown),
        TEST(test_profile_sso_is_explained),
        TEST(test_profile_circle),
        TEST(test_role),
        TEST(test_role_refused),
        TEST(test_web_identity),
        TEST(test_container),
        TEST(test_container_urls),
        TEST(test_container_refused),
        TEST(test_imds),
        TEST(test_imds_without_tokens),
        TEST(test_nothing),
        TEST(test_process),
        TEST(test_process_failures),
        TEST(test_words),
        TEST(test_single_flight),
        TEST(test_refresh_ahead),
        TEST(test_old_key_while_refresh_fails),
        TEST(test_refused_key_is_replaced),
        TEST(test_clock),
        TEST(test_closed_while_asking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
