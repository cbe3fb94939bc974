/* The system calls of a run: an allowlist as a seccomp filter (seccomp(2),
 * BPF as in linux/filter.h). Everything not listed gets EPERM, or ENOSYS where
 * it came with Linux 5.1 or later (clone3, io_uring, openat2...), so that a C
 * library falls back. ioctl, prctl, setsockopt, socket and the limits are decided
 * by their arguments. */
#ifndef PD_AGENT_FILTER_H
#define PD_AGENT_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#define PD_FILTER_INSNS_MAX 1024

/* Write the filter for this machine's architecture. unix_sockets: AF_UNIX is
 * allowed (only where the sandbox has no network). inet_sockets: AF_INET and
 * AF_INET6 are. Returns the number of instructions. */
size_t pd_filter_build(bool unix_sockets, bool inet_sockets, struct sock_filter *out, size_t cap);

#endif
