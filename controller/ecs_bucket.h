/* Token buckets for ECS's published request rates ("Request throttling for the
 * Amazon ECS API", "AWS Fargate throttling quotas"), which all pools share. Time
 * is an argument. */
#ifndef PD_CONTROLLER_ECS_BUCKET_H
#define PD_CONTROLLER_ECS_BUCKET_H

#include <stdint.h>

#include "common/time.h"

enum pd_ecs_bucket_kind {
    PD_ECS_BUCKET_MODIFY,   /* RunTask, StopTask: 100 at once, 40 a second */
    PD_ECS_BUCKET_READ,     /* ListTasks, DescribeTasks, and DescribeClusters: 100, 20 */
    PD_ECS_BUCKET_REGISTER, /* RegisterTaskDefinition: 20, 1 */
    PD_ECS_BUCKET_DEFINED,  /* DescribeTaskDefinition: 50, 20 */
    PD_ECS_BUCKET_FARGATE,  /* calls of RunTask on Fargate: 20, 20 */
    PD_ECS_BUCKET_LAUNCH,   /* tasks launched on Fargate: 100, 20 */
    PD_ECS_BUCKETS
};

struct pd_ecs_bucket {
    double tokens; /* negative: promised to calls that wait */
    double burst, rate;
    struct pd_time filled; /* up to then */
};

/* factor: 1; tests make time pass faster. */
void pd_ecs_buckets_init(struct pd_ecs_bucket buckets[PD_ECS_BUCKETS], double factor,
                         struct pd_time now);
/* Take `count`; how long to wait for them, in ms. Who asks first waits least. */
int64_t pd_ecs_bucket_take(struct pd_ecs_bucket *bucket, int count, struct pd_time now);
/* AWS says that it is empty, whatever we counted: others take from it as well. */
void pd_ecs_bucket_drain(struct pd_ecs_bucket *bucket, struct pd_time now);

#endif
