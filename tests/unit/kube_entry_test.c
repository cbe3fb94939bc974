/* What Redis has of an object, read and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/kube_cache.h"
#include "api/kube_entry.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/yaml.h"

#define UID "4f1c1b1e-1111-4222-8333-444455556666"
#define OBJECT                                                                                     \
    "{\"apiVersion\": \"paddock.dev/v1\", \"kind\": \"SandboxPool\", \"metadata\": {\"name\": "    \
    "\"p\"}, \"spec\": {\"image\": \"i\"}}"
#define REST "\"source\": \"api\", \"uid\": \"" UID "\", \"generation\": 3, \"createdMs\": 5"

static void fields(void **state)
{
    static const struct {
        const char *what, *field;
        int kind; /* -1: refused */
        const char *name;
    } rows[] = {
        {"a pool of the API", "api/p", PD_ENTRY_API, "p"},
        {"another", "pool/p", PD_ENTRY_POOL, "p"},
        {"a status", "status/p", PD_ENTRY_STATUS, "p"},
        {"a sandbox", "sandbox/p-1", PD_ENTRY_SANDBOX, "p-1"},
        {"an event", "event/p.1/2", PD_ENTRY_EVENT, "p.1/2"},
        {"no name", "api/", -1, NULL},
        {"no kind", "/p", -1, NULL},
        {"no slash", "_version", -1, NULL},
        {"unknown", "node/p", -1, NULL},
        {"a beginning of a kind", "ap/p", -1, NULL},
        {"too long for a pool",
         "api/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -1, NULL},
    };
    (void)state;

    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        struct pd_kube_entry entry;
        char again[PD_KUBE_FIELD_BYTES];
        int rc = pd_kube_entry_field_parse(rows[i].field, strlen(rows[i].field), &entry, NULL);
        print_message("%s\n", rows[i].what);
        if (rows[i].kind < 0) {
            assert_int_equal(rc, PD_INVALID);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(entry.kind, rows[i].kind);
        assert_string_equal(entry.name, rows[i].name);
        pd_kube_entry_field(entry.kind, entry.name, again);
        assert_string_equal(again, rows[i].field);
    }
    assert_int_equal(
        pd_kube_entry_field_parse("api/p\0q", 7, &(struct pd_kube_entry){.kind = 0}, NULL),
        PD_INVALID);
}

static void values(void **state)
{
    static const struct {
        const char *what, *field, *text;
        bool is_good;
    } rows[] = {
        {"a pool", "api/p", "{\"object\": " OBJECT ", " REST "}", true},
        {"of a later program", "api/p", "{\"object\": " OBJECT ", " REST ", \"more\": [1]}", true},
        {"no JSON", "api/p", "spec: 1", false},
        {"nothing", "api/p", "", false},
        {"a list", "api/p", "[]", false},
        {"no object", "api/p", "{" REST "}", false},
        {"an object that is a text", "api/p", "{\"object\": \"x\", " REST "}", false},
        {"of another name", "api/q", "{\"object\": " OBJECT ", " REST "}", false},
        {"no identity", "api/p", "{\"object\": " OBJECT "}", false},
        {"a short uid", "api/p",
         "{\"object\": " OBJECT ", \"source\": \"api\", \"uid\": \"1\", \"generation\": 1}", false},
        {"generation 0", "pool/p",
         "{\"object\": " OBJECT ", \"source\": \"redis\", \"uid\": \"" UID "\", "
         "\"generation\": 0}",
         false},
        {"a status", "status/p", "{\"object\": {\"replicas\": 1}}", true},
        {"a status that is none", "status/p", "{\"object\": 1}", false},
        {"a sandbox", "sandbox/s", "{\"object\": {\"metadata\": {\"name\": \"s\"}}}", true},
        {"a sandbox without metadata", "sandbox/s", "{\"object\": {}}", false},
    };
    (void)state;

    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        struct pd_kube_entry entry;
        struct pd_err err;
        int rc = pd_kube_entry_parse(rows[i].field, strlen(rows[i].field), rows[i].text,
                                     strlen(rows[i].text), &entry, &err);
        print_message("%s\n", rows[i].what);
        assert_int_equal(rc, rows[i].is_good ? 0 : PD_INVALID);
        if (rc == 0)
            pd_kube_entry_fini(&entry);
        else
            assert_true(err.msg[0]);
    }
}

static struct pd_pool_spec *spec_of(const struct pd_schema *schema, const char *yaml)
{
    pd_autonode struct pd_node *node = NULL;
    struct pd_problems problems = {.count = 0};
    struct pd_pool_spec *spec;

    assert_int_equal(pd_yaml_parse(yaml, strlen(yaml), &node, NULL), 0);
    assert_int_equal(pd_pool_spec_parse(schema, node, PD_PROVIDER_DOCKER, &spec, &problems), 0);
    return spec;
}

/* What one replica writes is the pool that another one has. */
static void a_pool_there_and_back(void **state)
{
    struct pd_schema *schema;
    struct pd_pool pool = {.generation = 7,
                           .created_wall_ms = 1700000000123,
                           .deletion_wall_ms = 1700000001456,
                           .source = "api",
                           .uid = UID};
    pd_autonode struct pd_node *managed = pd_node_list_new();
    struct pd_kube_entry entry, again;
    struct pd_pool_spec *spec;
    struct pd_buf text pd_autobuf;
    (void)state;

    assert_int_equal(pd_pool_schema_new(&schema, NULL), 0);
    pool.spec =
        spec_of(schema,
                "apiVersion: paddock.dev/v1\nkind: SandboxPool\n"
                "metadata: {name: p, namespace: default, labels: {a: b}, annotations: {c: d}}\n"
                "spec: {image: i, minSize: 1, maxSize: 4}\n");
    pd_node_add(managed, pd_node_string_new("kubectl"));
    pd_kube_entry_of_pool(&pool, managed, &entry);
    assert_int_equal(entry.kind, PD_ENTRY_API);
    assert_null(pd_node_get(entry.object, "status"));
    assert_null(pd_node_at(entry.object, "metadata", "resourceVersion", NULL));
    pd_buf_init(&text, PD_KUBE_ENTRY_BYTES_MAX);
    assert_int_equal(pd_kube_entry_format(&entry, &text, NULL), 0);
    assert_int_equal(pd_kube_entry_parse("api/p", 5, text.data, text.len, &again, NULL), 0);
    assert_memory_equal(&again.identity, &entry.identity, sizeof again.identity);
    assert_true(again.identity.created_wall_ms == 1700000000123);
    assert_string_equal(again.source, "api");
    assert_true(
        pd_node_equal(pd_node_at(again.object, "metadata", "managedFields", NULL), managed));
    assert_int_equal(pd_kube_entry_spec(&again, schema, PD_PROVIDER_ECS, &spec, NULL), 0);
    assert_true(pd_node_equal(spec->node, pool.spec->node));
    assert_string_equal(spec->template_hash, pool.spec->template_hash);
    pd_pool_spec_unref(spec);
    pd_pool_spec_unref(pool.spec);
    pd_kube_entry_fini(&again);
    pd_kube_entry_fini(&entry);
    pd_schema_free(schema);
}

/* ---- a cache that is told ---- */

static struct pd_node *node_of(const char *name)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(pd_node_set(node, "metadata", pd_node_map_new()), "name", name);
    return node;
}

static void a_fed_cache(void **state)
{
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_kube_cache *cache;
    const struct pd_kube_change *change;
    uint64_t position, now_us = (uint64_t)pd_wall_ms() * 1000;
    (void)state;

    uv_loop_init(&loop);
    store = pd_store_new(&loop, NULL);
    cache = pd_kube_cache_new(PD_KUBE_POOL, store, NULL);
    pd_kube_cache_feed_begin(cache);
    pd_kube_cache_feed(cache, "a", node_of("a"), 100);
    pd_kube_cache_feed_end(cache, 200, false);
    assert_true(pd_kube_cache_version(cache) == 200);
    assert_true(pd_kube_cache_end(cache) == 0); /* what there is is no change */
    assert_non_null(pd_kube_cache_get(cache, "a"));
    assert_false(pd_kube_cache_find(cache, 199, &position)); /* not all is known since then */
    assert_true(pd_kube_cache_find(cache, 200, &position));
    /* Told out of order, kept in order. */
    pd_kube_cache_feed(cache, "b", node_of("b"), 320);
    pd_kube_cache_feed(cache, "a", node_of("a"), 310);
    assert_true(pd_kube_cache_feed_end(cache, 330, true));
    assert_true(pd_kube_cache_find(cache, 200, &position));
    change = pd_kube_cache_at(cache, position);
    assert_true(change->version == 310 && change->before && change->after);
    change = pd_kube_cache_at(cache, position + 1);
    assert_true(change->version == 320 && !change->before && change->after);
    pd_kube_cache_feed(cache, "a", NULL, 340);
    pd_kube_cache_feed(cache, "nobody", NULL, 341);
    assert_true(pd_kube_cache_feed_end(cache, 350, true));
    assert_true(pd_kube_cache_find(cache, 320, &position));
    change = pd_kube_cache_at(cache, position);
    assert_true(change->version == 340 && change->before && !change->after);
    assert_true(position + 1 == pd_kube_cache_end(cache));
    assert_null(pd_kube_cache_get(cache, "a"));
    assert_false(pd_kube_cache_feed_end(cache, 360, true));
    /* Of another replica, which heard of it first, after a long quiet; of nobody. */
    assert_true(pd_kube_cache_find(cache, now_us, &position));
    assert_true(position == pd_kube_cache_end(cache));
    assert_false(pd_kube_cache_find(cache, now_us + 2 * PD_KUBE_AHEAD_US, &position));
    pd_kube_cache_free(cache);
    pd_store_close(store, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(values),
        cmocka_unit_test(a_pool_there_and_back),
        cmocka_unit_test(a_fed_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
