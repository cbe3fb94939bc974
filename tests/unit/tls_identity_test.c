#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/tls_identity.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/time.h"

#define DAY_S INT64_C(86400)

struct rig {
    char dir[64];
    struct pd_identity_config config;
};

static int set_up(void **state)
{
    struct rig *rig = PD_NEW(struct rig);

    pd_strcpy(rig->dir, sizeof rig->dir, "/tmp/pd-identity-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    rig->config = (struct pd_identity_config){.dir = rig->dir, .now_s = pd_wall_ms() / 1000};
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    static const char *const names[] = {"ca.pem", "server.pem"};

    for (size_t i = 0; i < PD_COUNT(names); i++) {
        pd_autofree char *path = pd_asprintf("%s/%s", rig->dir, names[i]);
        unlink(path);
    }
    rmdir(rig->dir);
    free(rig);
    return 0;
}

static bool prepare(const struct rig *rig)
{
    struct pd_err err = {.msg = ""};
    pd_autofree char *path = NULL;
    bool changed = false;

    if (pd_identity_prepare(&rig->config, &path, &changed, &err) < 0)
        fail_msg("%s", err.msg);
    return changed;
}

static X509 *cert_in(const struct rig *rig, const char *name)
{
    pd_autofree char *path = pd_asprintf("%s/%s", rig->dir, name);
    FILE *file = fopen(path, "r");
    X509 *cert;

    assert_non_null(file);
    cert = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(cert);
    return cert;
}

static void test_first_start(void **state)
{
    struct rig *rig = *state;
    static const char *const files[] = {"ca.pem", "server.pem"};
    X509 *ca, *server;
    X509_STORE *trusted = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    assert_true(prepare(rig));
    for (size_t i = 0; i < PD_COUNT(files); i++) {
        pd_autofree char *path = pd_asprintf("%s/%s", rig->dir, files[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    ca = cert_in(rig, "ca.pem");
    server = cert_in(rig, "server.pem");
    X509_STORE_add_cert(trusted, ca);
    X509_STORE_CTX_init(ctx, trusted, server, NULL);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    assert_int_equal(X509_verify_cert(ctx), 1);
    assert_int_equal(X509_check_host(server, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(server, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(server, "::1", 0), 1);
    assert_int_equal(X509_check_host(server, "elsewhere", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ca(server), 0);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(trusted);
    X509_free(ca);
    X509_free(server);
}

/* A later start keeps both; only what no longer serves is made anew. */
static void test_what_is_kept(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *ca_before = NULL, *ca_after = NULL, *server_path = NULL;

    prepare(rig);
    assert_int_equal(pd_identity_ca(&rig->config, &ca_before, NULL), 0);
    assert_false(prepare(rig));
    rig->config.now_s += (PD_IDENTITY_SERVER_DAYS - PD_IDENTITY_RENEW_DAYS - 1) * DAY_S;
    assert_false(prepare(rig));
    rig->config.now_s += 2 * DAY_S;
    assert_true(prepare(rig));
    assert_false(prepare(rig));
    rig->config.names = "paddock.example, 10.0.0.7,fd00::7";
    assert_true(prepare(rig));
    assert_false(prepare(rig));
    server_path = pd_asprintf("%s/server.pem", rig->dir);
    assert_int_equal(pd_file_write_atomic(server_path, "half", 4, 0600, NULL), 0);
    assert_true(prepare(rig));
    assert_int_equal(pd_identity_ca(&rig->config, &ca_after, NULL), 0);
    assert_string_equal(ca_before, ca_after);
    assert_null(strstr(ca_after, "PRIVATE"));
}

static void test_an_old_authority_is_replaced(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *before = NULL, *after = NULL;

    prepare(rig);
    assert_int_equal(pd_identity_ca(&rig->config, &before, NULL), 0);
    rig->config.now_s += (PD_IDENTITY_CA_DAYS - PD_IDENTITY_SERVER_DAYS + 1) * DAY_S;
    assert_true(prepare(rig));
    assert_int_equal(pd_identity_ca(&rig->config, &after, NULL), 0);
    assert_string_not_equal(before, after);
}

/* Two replicas with folders of their own and one authority. */
static void test_shared_authority(void **state)
{
    struct rig *rig = *state;
    struct rig other = {.dir = "/tmp/pd-identity-XXXXXX"};
    pd_autofree char *ca_file = pd_asprintf("%s/ca.pem", rig->dir);
    pd_autofree char *own = NULL, *path = NULL;
    X509 *ca, *server;

    assert_non_null(mkdtemp(other.dir));
    prepare(rig);
    other.config = rig->config;
    other.config.dir = other.dir;
    other.config.ca_file = ca_file;
    assert_true(prepare(&other));
    assert_false(prepare(&other));
    own = pd_asprintf("%s/ca.pem", other.dir);
    assert_int_not_equal(access(own, F_OK), 0);
    ca = cert_in(rig, "ca.pem");
    server = cert_in(&other, "server.pem");
    assert_int_equal(X509_verify(server, X509_get0_pubkey(ca)), 1);
    X509_free(ca);
    X509_free(server);
    path = pd_asprintf("%s/server.pem", other.dir);
    unlink(path);
    rmdir(other.dir);
}

static void test_what_is_refused(void **state)
{
    struct rig *rig = *state;
    static const char *const names[] = {"two words/", "-x", "a\nb", "DNS:evil", "host:8443", ".x"};
    pd_autofree char *server_path = pd_asprintf("%s/server.pem", rig->dir);
    pd_autofree char *path = NULL;
    struct pd_err err;

    for (size_t i = 0; i < PD_COUNT(names); i++) {
        rig->config.names = names[i];
        assert_int_equal(pd_identity_prepare(&rig->config, &path, NULL, &err), PD_INVALID);
    }
    rig->config.names = NULL;
    rig->config.ca_file = "/nonexistent/ca.pem";
    assert_int_equal(pd_identity_prepare(&rig->config, &path, NULL, &err), PD_INVALID);
    rig->config.ca_file = NULL;
    prepare(rig);
    rig->config.ca_file = server_path; /* may not sign for others */
    assert_int_equal(pd_identity_prepare(&rig->config, &path, NULL, &err), PD_INVALID);
    assert_non_null(strstr(err.msg, "no authority"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_old_authority_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared_authority, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
