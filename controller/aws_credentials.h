/* The key to sign AWS calls with: found by the chain (aws_source.h), kept fresh
 * ahead of its end, asked for once however many wait for it. Also what is known
 * of AWS's clock, which every signature needs. */
#ifndef PD_CONTROLLER_AWS_CREDENTIALS_H
#define PD_CONTROLLER_AWS_CREDENTIALS_H

#include <uv.h>

#include "common/err.h"
#include "common/loop_curl.h"
#include "controller/aws_key.h"

/* A key with an end is replaced 15 to 10 minutes before it, or at half of its
 * life where that is shorter. */
#define PD_AWS_REFRESH_MAX_MS (15 * 60 * 1000)
#define PD_AWS_REFRESH_SPREAD_MS (5 * 60 * 1000)
#define PD_AWS_REFRESH_PAUSE_MIN_MS 2000 /* after a failure, doubling */
#define PD_AWS_REFRESH_PAUSE_MAX_MS 60000

struct pd_aws_credentials;
struct pd_metrics;

/* The key is borrowed for the call. err: there is none; PD_CANCELED: closing. */
typedef void (*pd_aws_credentials_cb)(void *arg, const struct pd_err *err,
                                      const struct pd_aws_key *key);

/* Region: where STS is asked. `http` and `metrics` (which may be NULL) outlive it. Asks
 * nothing yet. */
struct pd_aws_credentials *pd_aws_credentials_new(uv_loop_t *loop, struct pd_http *http,
                                                  struct pd_metrics *metrics, const char *region);
/* Whoever waits is told PD_CANCELED; `closed` fires once from the loop. */
void pd_aws_credentials_close(struct pd_aws_credentials *credentials, void (*closed)(void *arg),
                              void *arg);

/* A key that is good now, or NULL: then ask for one. Valid until the next turn
 * of the loop. */
const struct pd_aws_key *pd_aws_credentials_now(struct pd_aws_credentials *credentials);
/* cb fires once, from the loop. */
void pd_aws_credentials_want(struct pd_aws_credentials *credentials, pd_aws_credentials_cb cb,
                             void *arg);
/* AWS refused this key as expired or unknown: a new one is asked for. */
void pd_aws_credentials_refused(struct pd_aws_credentials *credentials, const char *key_id);

/* Where the key came from, "" before the first. For people. */
const char *pd_aws_credentials_origin(const struct pd_aws_credentials *credentials);

/* The time at AWS, as far as known. */
int64_t pd_aws_credentials_wall_ms(const struct pd_aws_credentials *credentials);
/* A Date header of AWS's (RFC 9110, 5.6.7). true: ours differs by so much that
 * signatures fail, and is corrected from now on. */
bool pd_aws_credentials_note_date(struct pd_aws_credentials *credentials, const char *date);

#endif
