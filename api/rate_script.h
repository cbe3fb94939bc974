/* The bucket of a key's rate in Redis, and the script that takes blocks out of it.
 *
 *   paddock:x:rate:KEY  hash: t (tokens), us (as of then, by Redis's clock, in microseconds),
 *                       h:REPLICA ("TOKENS UNTIL": what a replica holds, in microseconds too)
 *
 * It goes when it would be full again. What replicas hold counts as in the bucket: with it
 * there are never more tokens than the limit. What a replica that is gone held is not
 * counted any more after PD_LEASE_LIFE_MS; its place fills at the key's rate. */
#ifndef PD_API_RATE_SCRIPT_H
#define PD_API_RATE_SCRIPT_H

#define PD_RATE_SCRIPT_ARGS 11

/* key, replica, limit, seconds, replicas, waiting, block, held, back, owed, life in ms
 * (lease.h). {granted, left, microseconds until there is one}. */
extern const char pd_rate_lua[];

#endif
