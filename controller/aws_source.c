#include "controller/aws_source.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "controller/aws_ini.h"

#define CONTAINER_HOST "http://169.254.170.2"
#define IMDS_HOST "http://169.254.169.254"
#define SECTION_MAX 256

/* Both files, and which of their sections is meant. */
struct profiles {
    struct pd_aws_ini config, credentials;
};

static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value ? value : "";
}

static struct pd_aws_source *source_new(enum pd_aws_source_kind kind, const char *name)
{
    struct pd_aws_source *source = PD_NEW(struct pd_aws_source);

    source->kind = kind;
    source->name = name;
    return source;
}

void pd_aws_source_free(struct pd_aws_source *source)
{
    if (!source)
        return;
    pd_aws_source_free(source->from);
    pd_aws_key_fini(&source->key);
    pd_secret_free(&source->token);
    free(source->command);
    free(source->role_arn);
    free(source->session_name);
    free(source->external_id);
    free(source->token_file);
    free(source->url);
    free(source);
}

/* ---- the shared files ---- */

static int load_file(const char *variable, const char *name, struct pd_aws_ini *ini,
                     struct pd_err *err)
{
    pd_autofree char *path =
        *env(variable) ? pd_strdup(env(variable)) : pd_asprintf("%s/.aws/%s", env("HOME"), name);
    char *text = NULL;
    size_t len = 0;
    int rc = pd_file_read(path, PD_AWS_INI_BYTES_MAX, &text, &len, err);

    if (rc == PD_NOT_FOUND || (rc == PD_DENIED && !*env(variable)))
        return 0;
    if (rc < 0)
        return rc;
    rc = pd_aws_ini_parse(text, len, ini, err);
    pd_wipe(text, len);
    free(text);
    return rc < 0 ? pd_err_wrap(err, "%s", path) : 0;
}

static int profiles_load(struct profiles *profiles, struct pd_err *err)
{
    *profiles = (struct profiles){.config = {.text = NULL}};
    if (load_file("AWS_CONFIG_FILE", "config", &profiles->config, err) < 0 ||
        load_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", &profiles->credentials, err) < 0)
        return PD_INVALID;
    return 0;
}

static void profiles_fini(struct profiles *profiles)
{
    pd_aws_ini_fini(&profiles->config);
    pd_aws_ini_fini(&profiles->credentials);
}

static const char *config_section(const char *profile, char out[static SECTION_MAX])
{
    snprintf(out, SECTION_MAX, strcmp(profile, "default") == 0 ? "%s" : "profile %s", profile);
    return out;
}

/* A setting of a profile; the credentials file wins. */
static const char *setting(const struct profiles *profiles, const char *profile, const char *name)
{
    char section[SECTION_MAX];
    const char *value = pd_aws_ini_get(&profiles->credentials, profile, name);

    if (!value)
        value = pd_aws_ini_get(&profiles->config, config_section(profile, section), name);
    return value ? value : "";
}

static bool has_profile(const struct profiles *profiles, const char *profile)
{
    char section[SECTION_MAX];

    return pd_aws_ini_has(&profiles->credentials, profile) ||
           pd_aws_ini_has(&profiles->config, config_section(profile, section));
}

static const char *profile_name(void)
{
    if (*env("AWS_PROFILE"))
        return env("AWS_PROFILE");
    return *env("AWS_DEFAULT_PROFILE") ? env("AWS_DEFAULT_PROFILE") : "default";
}

/* ---- sources that the environment names ---- */

static int from_environment(struct pd_aws_source **ret_source, struct pd_err *err)
{
    struct pd_aws_source *source;
    int rc;

    if (!*env("AWS_ACCESS_KEY_ID") || !*env("AWS_SECRET_ACCESS_KEY"))
        return 0;
    source = source_new(PD_AWS_STATIC, "environment");
    rc = pd_aws_key_set(&source->key, env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"),
                        env("AWS_SESSION_TOKEN"), env("AWS_CREDENTIAL_EXPIRATION"), err);
    if (rc < 0) {
        pd_aws_source_free(source);
        return pd_err_wrap(err, "AWS_ACCESS_KEY_ID and its companions");
    }
    *ret_source = source;
    return 0;
}

static char *session_name(const char *wanted)
{
    return *wanted ? pd_strdup(wanted) : pd_strdup("paddock");
}

static void from_web_identity(struct pd_aws_source **ret_source)
{
    struct pd_aws_source *source;

    if (!*env("AWS_WEB_IDENTITY_TOKEN_FILE") || !*env("AWS_ROLE_ARN"))
        return;
    source = source_new(PD_AWS_WEB_IDENTITY, "web identity");
    source->token_file = pd_strdup(env("AWS_WEB_IDENTITY_TOKEN_FILE"));
    source->role_arn = pd_strdup(env("AWS_ROLE_ARN"));
    source->session_name = session_name(env("AWS_ROLE_SESSION_NAME"));
    *ret_source = source;
}

bool pd_aws_container_url_is_safe(const char *url)
{
    static const char *const hosts[] = {"localhost", "169.254.170.2", "169.254.170.23",
                                        "[fd00:ec2::23]", "[::1]"};
    char host[64];
    size_t len;
    struct in_addr address;

    if (strncmp(url, "https://", 8) == 0)
        return true;
    if (strncmp(url, "http://", 7) != 0)
        return false;
    url += 7;
    len = *url == '[' ? strcspn(url, "]") + 1 : strcspn(url, ":/?#");
    if (len >= sizeof host || memchr(url, '@', strcspn(url, "/?#")))
        return false;
    memcpy(host, url, len);
    host[len] = '\0';
    for (size_t i = 0; i < PD_COUNT(hosts); i++) {
        if (strcmp(host, hosts[i]) == 0)
            return true;
    }
    return inet_pton(AF_INET, host, &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

static int container_token(struct pd_aws_source *source, struct pd_err *err)
{
    const char *token = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");

    if (*env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
        source->token_file = pd_strdup(env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
    else if (token[strcspn(token, "\r\n")])
        return pd_err_set(err, PD_INVALID,
                          "AWS_CONTAINER_AUTHORIZATION_TOKEN has more than one line");
    else
        source->token = pd_secret_new(token, strlen(token));
    return 0;
}

static int from_container(struct pd_aws_source **ret_source, struct pd_err *err)
{
    const char *relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    struct pd_aws_source *source;

    if (!*relative && !*full)
        return 0;
    if (!*relative && !pd_aws_container_url_is_safe(full))
        return pd_err_set(err, PD_INVALID,
                          "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor loopback nor "
                          "the address of ECS or EKS");
    source = source_new(PD_AWS_CONTAINER, "container");
    source->url = *relative ? pd_asprintf(CONTAINER_HOST "%s", relative) : pd_strdup(full);
    if (container_token(source, err) < 0) {
        pd_aws_source_free(source);
        return PD_INVALID;
    }
    *ret_source = source;
    return 0;
}

static void from_imds(struct pd_aws_source **ret_source)
{
    const char *endpoint = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    struct pd_aws_source *source;

    if (strcasecmp(env("AWS_EC2_METADATA_DISABLED"), "true") == 0)
        return;
    source = source_new(PD_AWS_IMDS, "instance metadata");
    source->url = pd_strdup(*endpoint ? endpoint : IMDS_HOST);
    for (size_t len = strlen(source->url); len > 0 && source->url[len - 1] == '/';)
        source->url[--len] = '\0';
    *ret_source = source;
}

/* ---- profiles ---- */

static int from_profile(const struct profiles *profiles, const char *profile, int depth,
                        struct pd_aws_source **ret_source, struct pd_err *err);

static int from_profile_keys(const struct profiles *profiles, const char *profile,
                             struct pd_aws_source **ret_source, struct pd_err *err)
{
    struct pd_aws_source *source = source_new(PD_AWS_STATIC, "profile");
    int rc = pd_aws_key_set(&source->key, setting(profiles, profile, "aws_access_key_id"),
                            setting(profiles, profile, "aws_secret_access_key"),
                            setting(profiles, profile, "aws_session_token"), "", err);

    if (rc < 0)
        pd_aws_source_free(source);
    else
        *ret_source = source;
    return rc;
}

static int credential_source(const char *name, struct pd_aws_source **ret_source,
                             struct pd_err *err)
{
    if (strcmp(name, "Environment") == 0)
        return from_environment(ret_source, err);
    if (strcmp(name, "EcsContainer") == 0)
        return from_container(ret_source, err);
    if (strcmp(name, "Ec2InstanceMetadata") != 0)
        return pd_err_set(err, PD_INVALID, "credential_source '%.40s' is none", name);
    from_imds(ret_source);
    return 0;
}

/* The key that a role is assumed with. A profile that names itself means its own. */
static int role_source(const struct profiles *profiles, const char *profile, int depth,
                       struct pd_aws_source **ret_source, struct pd_err *err)
{
    const char *other = setting(profiles, profile, "source_profile");
    const char *kind = setting(profiles, profile, "credential_source");
    int rc;

    if (*other && strcmp(other, profile) == 0)
        return from_profile_keys(profiles, profile, ret_source, err);
    if (*other)
        return from_profile(profiles, other, depth + 1, ret_source, err);
    if (!*kind)
        return pd_err_set(err, PD_INVALID, "role_arn without source_profile or credential_source");
    rc = credential_source(kind, ret_source, err);
    if (rc == 0 && !*ret_source)
        return pd_err_set(err, PD_INVALID, "credential_source %s has no key", kind);
    return rc;
}

static int from_role(const struct profiles *profiles, const char *profile, int depth,
                     struct pd_aws_source **ret_source, struct pd_err *err)
{
    const char *token_file = setting(profiles, profile, "web_identity_token_file");
    struct pd_aws_source *source = source_new(PD_AWS_WEB_IDENTITY, "profile");
    int rc = 0;

    source->role_arn = pd_strdup(setting(profiles, profile, "role_arn"));
    source->session_name = session_name(setting(profiles, profile, "role_session_name"));
    source->external_id = pd_strdup(setting(profiles, profile, "external_id"));
    source->duration_s = (int)strtol(setting(profiles, profile, "duration_seconds"), NULL, 10);
    if (*token_file) {
        source->token_file = pd_strdup(token_file);
    } else {
        source->kind = PD_AWS_ASSUME_ROLE;
        rc = *setting(profiles, profile, "mfa_serial")
                 ? pd_err_set(err, PD_INVALID, "mfa_serial: nobody is there to be asked")
                 : role_source(profiles, profile, depth, &source->from, err);
    }
    if (rc < 0)
        pd_aws_source_free(source);
    else
        *ret_source = source;
    return rc;
}

static int from_profile(const struct profiles *profiles, const char *profile, int depth,
                        struct pd_aws_source **ret_source, struct pd_err *err)
{
    int rc = 0;

    if (depth >= PD_AWS_SOURCES_MAX)
        rc = pd_err_set(err, PD_INVALID, "source_profile leads on and on");
    else if (!has_profile(profiles, profile))
        rc = pd_err_set(err, PD_INVALID, "there is no such profile");
    else if (*setting(profiles, profile, "role_arn"))
        rc = from_role(profiles, profile, depth, ret_source, err);
    else if (*setting(profiles, profile, "aws_access_key_id"))
        rc = from_profile_keys(profiles, profile, ret_source, err);
    else if (*setting(profiles, profile, "credential_process")) {
        *ret_source = source_new(PD_AWS_PROCESS, "credential process");
        (*ret_source)->command = pd_strdup(setting(profiles, profile, "credential_process"));
    } else if (*setting(profiles, profile, "sso_session") ||
               *setting(profiles, profile, "sso_start_url"))
        rc = pd_err_set(err, PD_INVALID,
                        "it signs on by SSO; name in another profile: credential_process = "
                        "aws configure export-credentials --profile %.100s",
                        profile);
    return rc < 0 ? pd_err_wrap(err, "profile '%.100s'", profile) : 0;
}

static int from_profiles(struct pd_aws_source **ret_source, struct pd_err *err)
{
    bool is_named = *env("AWS_PROFILE") || *env("AWS_DEFAULT_PROFILE");
    struct profiles profiles;
    int rc = profiles_load(&profiles, err);

    if (rc == 0 && (is_named || has_profile(&profiles, profile_name())))
        rc = from_profile(&profiles, profile_name(), 0, ret_source, err);
    profiles_fini(&profiles);
    return rc;
}

/* ---- the chain ---- */

int pd_aws_source_find(struct pd_aws_source **ret_source, struct pd_err *err)
{
    struct pd_aws_source *source = NULL;
    int rc = from_environment(&source, err);

    if (rc == 0 && !source)
        rc = from_profiles(&source, err);
    if (rc == 0 && !source)
        from_web_identity(&source);
    if (rc == 0 && !source)
        rc = from_container(&source, err);
    if (rc == 0 && !source)
        from_imds(&source);
    if (rc == 0 && !source)
        rc = pd_err_set(err, PD_NOT_FOUND,
                        "no AWS credentials: not in the environment, a profile, a web identity "
                        "or a container, and instance metadata is disabled");
    if (rc == 0)
        *ret_source = source;
    return rc;
}

/* ---- region, endpoints ---- */

static bool is_region(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < PD_AWS_REGION_MAX &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

bool pd_aws_region(char out[static PD_AWS_REGION_MAX])
{
    const char *names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    struct profiles profiles;
    bool found = false;

    for (size_t i = 0; i < PD_COUNT(names) && !found; i++) {
        found = is_region(env(names[i]));
        if (found)
            pd_strcpy(out, PD_AWS_REGION_MAX, env(names[i]));
    }
    if (found)
        return true;
    if (profiles_load(&profiles, NULL) == 0) {
        found = is_region(setting(&profiles, profile_name(), "region"));
        if (found)
            pd_strcpy(out, PD_AWS_REGION_MAX, setting(&profiles, profile_name(), "region"));
    }
    profiles_fini(&profiles);
    return found;
}

char *pd_aws_endpoint(const char *service, const char *region)
{
    char name[64] = "AWS_ENDPOINT_URL_";
    size_t at = strlen(name);
    char *url;

    for (const char *p = service; *p && at + 1 < sizeof name; p++)
        name[at++] = (char)toupper((unsigned char)*p);
    name[at] = '\0';
    if (*env(name))
        url = pd_strdup(env(name));
    else if (*env("AWS_ENDPOINT_URL"))
        url = pd_strdup(env("AWS_ENDPOINT_URL"));
    else
        return pd_asprintf("https://%s.%s.amazonaws.com%s", service, region,
                           strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    for (size_t len = strlen(url); len > 0 && url[len - 1] == '/';)
        url[--len] = '\0';
    return url;
}
