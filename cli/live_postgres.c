#include "cli/live_postgres.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "api/shipper.h"
#include "cli/records_env.h"
#include "common/json.h"
#include "common/loop_pg.h"
#include "common/mem.h"
#include "common/node.h"

/* What the role may do, said without touching anything. The table is asked about
 * by its name in the catalogue: one that may not be seen is no error then. */
static const char state_sql[] =
    "SELECT json_build_object("
    " 'version', current_setting('server_version'), 'user', current_user,"
    " 'database', current_database(), 'standby', pg_is_in_recovery(),"
    " 'read_only', current_setting('transaction_read_only') = 'on',"
    " 'tls', (SELECT s.version FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()),"
    " 'may_create', has_database_privilege(current_database(), 'CREATE'),"
    " 'schema', n.oid IS NOT NULL,"
    " 'may_use', coalesce(has_schema_privilege(n.oid, 'USAGE'), false),"
    " 'has_table', t.oid IS NOT NULL,"
    " 'may_select', coalesce(has_table_privilege(t.oid, 'SELECT'), false),"
    " 'may_insert', coalesce(has_table_privilege(t.oid, 'INSERT'), false),"
    " 'may_delete', coalesce(has_table_privilege(t.oid, 'DELETE'), false),"
    " 'may_see_version', coalesce(has_table_privilege(v.oid, 'SELECT'), false))"
    " FROM (SELECT 1) AS one"
    " LEFT JOIN pg_namespace n ON n.nspname = 'paddock'"
    " LEFT JOIN pg_class t ON t.relnamespace = n.oid AND t.relname = 'executions'"
    " LEFT JOIN pg_class v ON v.relnamespace = n.oid AND v.relname = 'schema_versions'";
static const char version_sql[] = "SELECT max(version) FROM paddock.schema_versions";

struct live {
    FILE *out, *problems;
    size_t n_problems;
    struct pd_pg *pg;
    struct pd_node *state;
    int64_t age_ms; /* rows are to be removed there */
};

static void problem(struct live *live, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void problem(struct live *live, const char *format, ...)
{
    va_list args;

    live->n_problems++;
    fputs("postgres: ", live->problems);
    va_start(args, format);
    vfprintf(live->problems, format, args);
    va_end(args);
    fputc('\n', live->problems);
}

static void end(struct live *live)
{
    pd_pg_close(live->pg, NULL, NULL);
}

static const char *text(const struct live *live, const char *name)
{
    return pd_node_text(pd_node_get(live->state, name), "");
}

static bool is(const struct live *live, const char *name)
{
    return pd_node_bool(pd_node_get(live->state, name), false);
}

static void tell(struct live *live, const char *schema)
{
    if (live->n_problems > 0)
        return;
    fprintf(live->out, "postgres: PostgreSQL %s, database %s as %s, %s, %s: in order\n",
            text(live, "version"), text(live, "database"), text(live, "user"),
            *text(live, "tls") ? text(live, "tls") : "no TLS", schema);
}

static void on_version(void *arg, const char *value, const struct pd_err *err)
{
    struct live *live = arg;
    char schema[64];

    if (err)
        problem(live, "%s", err->msg);
    else if (value && atol(value) > PD_SHIP_VERSION)
        problem(live, "its schema 'paddock' has version %s, this paddock knows %d", value,
                PD_SHIP_VERSION);
    snprintf(schema, sizeof schema, "schema 'paddock' version %.20s", value ? value : "0");
    tell(live, schema);
    end(live);
}

static void judge_server(struct live *live)
{
    if (is(live, "standby"))
        problem(live, "the server is a standby: it takes no records");
    else if (is(live, "read_only"))
        problem(live, "transactions of role '%s' are read only", text(live, "user"));
}

static void judge_rights(struct live *live)
{
    const char *user = text(live, "user");

    if (!is(live, "has_table")) {
        if (!is(live, "may_create"))
            problem(live, "role '%s' cannot make the schema 'paddock': GRANT CREATE ON DATABASE %s TO %s",
                    user, text(live, "database"), user);
        return;
    }
    if (!is(live, "may_use"))
        problem(live, "role '%s' may not use the schema 'paddock': GRANT USAGE ON SCHEMA paddock TO %s",
                user, user);
    if (!is(live, "may_select") || !is(live, "may_insert") || !is(live, "may_see_version"))
        problem(live, "role '%s' may not write records: GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA paddock TO %s",
                user, user);
    if (live->age_ms > 0 && !is(live, "may_delete"))
        problem(live, "PADDOCK_DATABASE_AGE is set and role '%s' may not remove records: GRANT DELETE ON paddock.executions TO %s",
                user, user);
}

static void on_state(void *arg, const char *value, const struct pd_err *err)
{
    struct live *live = arg;
    struct pd_err own;

    if (err) {
        problem(live, "%s", err->msg);
    } else if (pd_json_parse(value ? value : "", value ? strlen(value) : 0, &live->state, &own) < 0) {
        problem(live, "%s", own.msg);
    } else {
        judge_server(live);
        judge_rights(live);
        if (live->n_problems == 0 && is(live, "has_table") &&
            pd_pg_query(live->pg, version_sql, NULL, 0, on_version, live, &own) == 0)
            return;
        tell(live, "schema 'paddock' is made at the first start");
    }
    end(live);
}

static void on_ready(void *arg)
{
    struct live *live = arg;
    struct pd_err err;

    if (pd_pg_query(live->pg, state_sql, NULL, 0, on_state, live, &err) == 0)
        return;
    problem(live, "%s", err.msg);
    end(live);
}

static void on_down(void *arg, const struct pd_err *err)
{
    struct live *live = arg;

    problem(live, "%s", err->msg);
    end(live);
}

size_t pd_live_postgres(FILE *out, FILE *problems)
{
    static const struct pd_pg_events events = {.ready = on_ready, .down = on_down};
    struct live live = {.out = out, .problems = problems};
    const char *url = getenv("DATABASE_URL");
    struct pd_err err;
    uv_loop_t loop;

    if (!url || !*url) {
        fprintf(out, "postgres: not configured (DATABASE_URL)\n");
        return 0;
    }
    if (uv_loop_init(&loop) < 0)
        abort();
    if (pd_records_env_age("PADDOCK_DATABASE_AGE", 0, &live.age_ms, &err) < 0)
        problem(&live, "%s", err.msg);
    if (pd_pg_open(&loop, url, &events, &live, &live.pg, &err) < 0)
        problem(&live, "DATABASE_URL: %s", err.msg);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    pd_node_free(live.state);
    return live.n_problems;
}
