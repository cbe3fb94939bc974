/* The scripts of kube_shared.h. KEYS of each: the hash, the order; ARGV begins as told. */
#ifndef PD_API_KUBE_SHARED_SCRIPT_H
#define PD_API_KUBE_SHARED_SCRIPT_H

/* ARGV: the version and dataset that are known, a fresh dataset, how many, "1" where
 * this goes on with a read of everything. -> {dataset, version, all, more, field,
 * version, text ...}: what changed after the version, in order, text "" for what is
 * removed; all is 1 where it begins with everything that there is, because what is
 * known cannot be brought up to date. */
extern const char pd_kube_shared_read_script[];

/* KEYS also the lease. ARGV: channel, known version, lease ("": whoever), then field
 * and text ("": to be removed) in turn. What is so already is left alone. -> version */
extern const char pd_kube_shared_write_script[];

/* ARGV: channel, known version, field, expected version ("0": none), text, the field
 * that must not be there. -> the new version, or an error CONFLICT. */
extern const char pd_kube_shared_put_script[];

/* What Redis has lost. ARGV: channel, known version, dataset, then field, version and
 * text in turn: written where Redis has it in no later version. */
extern const char pd_kube_shared_restore_script[];

/* KEYS also the lease. ARGV: lease, so many microseconds: removals that are older are
 * forgotten. */
extern const char pd_kube_shared_prune_script[];

#endif
