/* The scripts of the ledger in Redis. Each begins with PRELUDE's names: P, the prefix
 * of all keys, and now(), Redis's clock in ms. Keys:
 *
 *   r:ID       hash, an execution: owner state(0 queued, 1 running, 2 done) kind key pool
 *              language safe cancel accepted began by(whom it began) ended cause sha head end body
 * fp idem answer events bytes unkept i:KEY:IK   the id that an Idempotency-Key stands for all,
 * by:KEY  sorted sets of ids by `accepted`, of everything and of one key done       likewise by
 * `ended`, of what is done of:OWNER   sorted set of ids that are not done, by `accepted`
 *   cancels:OWNER  set of ids of its own that are to end
 *   keep:OWNER set of ids that are done and not yet in somebody's records
 *   seen       sorted set of owners: when they were heard last; 0: it has left
 *   bytes      of bodies, answers and events of what is done
 *   said       channel: "ended ID", "cancel OWNER ID"
 *
 * `head` and `end` are members of a JSON object, without braces. Scripts that take
 * nothing new in begin with a DEL, so that a Redis without memory carries them out
 * (it refuses the first command that could need some, and none after a write). */
#ifndef PD_API_LEDGER_REDIS_SCRIPT_H
#define PD_API_LEDGER_REDIS_SCRIPT_H

#define PD_LEDGER_PREFIX "paddock:x:"
#define PD_LEDGER_CHANNEL PD_LEDGER_PREFIX "said"
#define PD_LEDGER_ACCEPT_ARGS 11 /* of each item */
#define PD_LEDGER_TAKEN_ITEMS 9  /* of each execution that is taken */
#define PD_LEDGER_ROW_ITEMS 7    /* of each row: id state accepted began cancel head end */
#define PD_LEDGER_ADD_ARGS 9     /* of each item */

/* owner, count, then per item: id key idem pool language kind safe sha body fp
 * head. {"OK", per item: id, state or "new", answer}; {"CONFLICT", id}; {"GONE"}. */
extern const char pd_ledger_accept_lua[];
/* owner, id. "OK", "NONE", "OTHER", "DONE", "CANCELED". */
extern const char pd_ledger_begin_lua[];
/* owner, id, ended ms, cause, end, answer, events, life in s. "OK", "NONE", "OTHER", "DONE". */
extern const char pd_ledger_finish_lua[];
/* id, key or "". "OK", "NONE". */
extern const char pd_ledger_cancel_lua[];
/* owner, id. "OK", "NONE", "OTHER". */
extern const char pd_ledger_forget_lua[];
/* life in s, count, then per item: id key pool language accepted ended cause head end. */
extern const char pd_ledger_add_lua[];

/* owner, instance and ".". "OK". */
extern const char pd_ledger_join_lua[];
/* owner. {"GONE"}, or {replicas that live, ids that are to end ...}. */
extern const char pd_ledger_beat_lua[];
/* owner, silence in ms that is death (or -1: only who has left), limit. Rows of
 * PD_LEDGER_TAKEN_ITEMS: id key pool language kind state safe cancel accepted. */
extern const char pd_ledger_collect_lua[];
/* owner, limit, then the pools that it may be of: some that wait with a busier replica.
 * Likewise. */
extern const char pd_ledger_steal_lua[];
/* owner, ids ...: of these what is its own. Likewise. */
extern const char pd_ledger_fetch_lua[];
/* owner. "OK": others may have at once what it has. */
extern const char pd_ledger_leave_lua[];

/* id. {state accepted began cancel head end answer key} or {}. */
extern const char pd_ledger_get_lua[];
/* index, max, cursor ms, cursor id, min, status, cause, pool, language, limit, look max.
 * {next ms, next id ("": no more), rows of PD_LEDGER_ROW_ITEMS}. */
extern const char pd_ledger_list_lua[];
/* owner, limit: rows of what is to be copied to its records. */
extern const char pd_ledger_keep_lua[];
/* owner, ids ...: they were. */
extern const char pd_ledger_kept_lua[];
/* ended before, bytes at most, limit. How many went. */
extern const char pd_ledger_prune_lua[];

#endif
