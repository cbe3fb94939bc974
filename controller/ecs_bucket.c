#include "controller/ecs_bucket.h"

static const struct {
    double burst, rate;
} published[] = {
    [PD_ECS_BUCKET_MODIFY] = {100, 40}, [PD_ECS_BUCKET_READ] = {100, 20},
    [PD_ECS_BUCKET_REGISTER] = {20, 1}, [PD_ECS_BUCKET_DEFINED] = {50, 20},
    [PD_ECS_BUCKET_FARGATE] = {20, 20}, [PD_ECS_BUCKET_LAUNCH] = {100, 20},
};

void pd_ecs_buckets_init(struct pd_ecs_bucket buckets[PD_ECS_BUCKETS], double factor,
                         struct pd_time now)
{
    for (int i = 0; i < PD_ECS_BUCKETS; i++)
        buckets[i] = (struct pd_ecs_bucket){published[i].burst, published[i].burst,
                                            published[i].rate * factor, now};
}

static void fill(struct pd_ecs_bucket *bucket, struct pd_time now)
{
    double seconds = (double)(now.ns - bucket->filled.ns) / 1e9;

    if (seconds <= 0)
        return;
    bucket->filled = now;
    bucket->tokens += seconds * bucket->rate;
    if (bucket->tokens > bucket->burst)
        bucket->tokens = bucket->burst;
}

int64_t pd_ecs_bucket_take(struct pd_ecs_bucket *bucket, int count, struct pd_time now)
{
    fill(bucket, now);
    bucket->tokens -= count;
    return bucket->tokens >= 0 ? 0 : (int64_t)(-bucket->tokens / bucket->rate * 1000) + 1;
}

void pd_ecs_bucket_drain(struct pd_ecs_bucket *bucket, struct pd_time now)
{
    fill(bucket, now);
    if (bucket->tokens > 0)
        bucket->tokens = 0;
}
