/* Messages between the agent and a zygote, over a SOCK_SEQPACKET socket. Plain
 * data between two builds of one source tree on one machine. */
#ifndef PD_AGENT_ZYGOTE_PROTO_H
#define PD_AGENT_ZYGOTE_PROTO_H

#include <stdint.h>

enum zygote_message_type {
    /* agent to zygote */
    ZYGOTE_CONFINE = 1, /* followed by a struct pd_confine */
    ZYGOTE_FORK = 2,    /* with descriptors, in the order of enum pd_join; without a cell
                           only those from PD_JOIN_STDIN on */
    /* zygote to agent */
    ZYGOTE_IS_READY = 16, /* imports done, one thread, waiting */
    ZYGOTE_FORKED = 17,   /* pid: as the agent sees it; <= 0: -errno */
    ZYGOTE_ENDED = 18,    /* of a child: pid, how it ended, usage */
};

struct zygote_message {
    uint32_t type;
    uint32_t ticket; /* FORK and FORKED: which request */
    uint32_t uid;    /* FORK: isolation uid */
    int32_t pid;
    int32_t by_signal; /* ENDED */
    int32_t status;    /* ENDED: exit code or signal */
    int64_t cpu_us;
    int64_t maxrss_bytes;
};

#endif
