/* The shipper: records that are done flow on to PostgreSQL (DATABASE_URL).
 *
 * SQLite is the outbox: rows go in batches, oldest first, and are marked once
 * PostgreSQL has committed them. A batch that is sent twice changes nothing (ON
 * CONFLICT (id) DO NOTHING). While PostgreSQL is away everything goes on, and when
 * it is back the shipper catches up. It makes its own schema `paddock` and brings it
 * up to date. */
#ifndef PD_API_SHIPPER_H
#define PD_API_SHIPPER_H

#include <stdint.h>
#include <uv.h>

#include "api/records.h"

#define PD_SHIP_VERSION 1 /* of the schema in PostgreSQL */
#define PD_SHIP_IDLE_MS 500
#define PD_SHIP_BATCH_MAX 1000
#define PD_SHIP_RETRY_MIN_MS 500
#define PD_SHIP_RETRY_MAX_MS 10000
#define PD_SHIP_PRUNE_MS (60 * 60 * 1000)

struct pd_shipper;

struct pd_shipper_config {
    uv_loop_t *loop;
    struct pd_records *records;
    const char *url; /* libpq's: postgresql://... or key=value; borrowed for the open */
    int64_t age_ms;  /* rows that ended longer ago go from PostgreSQL; 0: never */
};

/* PD_INVALID for a URL that cannot be read; a server that is not there is no error. */
int pd_shipper_open(const struct pd_shipper_config *config, struct pd_shipper **ret_shipper,
                    struct pd_err *err);
/* Before the database is closed: what it still answers finds the shipper there. */
void pd_shipper_close(struct pd_shipper *shipper, void (*closed)(void *arg), void *arg);

/* A collector (common/metrics.h). arg: struct pd_shipper. */
struct pd_metrics;
void pd_shipper_collect(void *arg, struct pd_metrics *metrics);

#endif
