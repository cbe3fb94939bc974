/* A provider in memory, in simulated time. Nothing happens but in
 * provider_sim_run: what is due by then takes effect, is answered, is announced.
 * Every operation can be made slow, made to fail before or after it took
 * effect, or left without an answer; events can get lost. Behind each running
 * instance an agent speaks the real protocol (common/proto.h) over the stream
 * that `link` gives. */
#ifndef PD_TESTS_LIB_PROVIDER_SIM_H
#define PD_TESTS_LIB_PROVIDER_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/strmap.h"
#include "common/time.h"
#include "controller/provider.h"

enum provider_sim_op {
    PROVIDER_SIM_ENSURE,
    PROVIDER_SIM_CREATE,
    PROVIDER_SIM_LIST,
    PROVIDER_SIM_DESTROY,
    PROVIDER_SIM_LINK,
    PROVIDER_SIM_OPS,
};

/* What becomes of one call. */
enum provider_sim_verdict {
    PROVIDER_SIM_CHANCE, /* whatever the faults make of it */
    PROVIDER_SIM_WELL,
    PROVIDER_SIM_FAIL,   /* fails without effect */
    PROVIDER_SIM_LATE,   /* takes effect, but is answered with a failure */
    PROVIDER_SIM_SILENT, /* takes effect, but is never answered (until close) */
    PROVIDER_SIM_DIE,    /* takes effect; when it is to be answered, on_die is called */
};

/* How an operation behaves; all zeros: at once and well. Percentages are of calls. */
struct provider_sim_fault {
    int64_t slow_ms;    /* up to so much until it takes effect, and again until it is answered */
    int fail_percent;   /* fails without effect */
    int late_percent;   /* takes effect, but is answered with a failure */
    int silent_percent; /* takes effect, but is never answered (until close) */
    int refuse_percent; /* is refused at the call */
    int kind;           /* of the failures; 0: PD_INTERNAL */
};

struct provider_sim_instance {
    struct pd_instance instance;
    struct provider_sim_stream *stream; /* the newest to its agent, or NULL */
    uint32_t epoch;                     /* of the last attach */
    uint64_t runs;
    bool mute;    /* never says a word */
    size_t index; /* in provider_sim.instances */
};

struct provider_sim {
    struct pd_provider provider; /* first */
    uv_loop_t *loop;
    struct pd_time (*now)(void);
    uint64_t random;

    struct provider_sim_fault faults[PROVIDER_SIM_OPS];
    int lose_event_percent;
    int mute_percent;            /* of instances created: their agent never says a word */
    int stillborn_percent;       /* of instances created: they die right after the start */
    enum pd_isolation isolation; /* what agents say they can do */
    bool down;

    struct provider_sim_instance **instances;
    size_t count;
    size_t cap;
    struct pd_strmap by_id;
    struct pd_strmap by_provider_id;
    size_t count_max; /* the most that ever existed at once */
    unsigned created; /* ever */
    unsigned calls[PROVIDER_SIM_OPS];

    enum provider_sim_verdict
        next_verdict;          /* of the next call, once; PROVIDER_SIM_CHANCE: by faults */
    void (*on_die)(void *arg); /* instead of an answer: PROVIDER_SIM_DIE */
    void *on_die_arg;

    struct provider_sim_call *pending;
    struct provider_sim_stream *streams;
    bool announce_due;
    pd_provider_event_cb event_cb;
    void *event_arg;
};

struct provider_sim *provider_sim_new(uv_loop_t *loop, struct pd_time (*now)(void), uint64_t seed);
/* Every call still pending is answered with PD_CANCELED. */
void provider_sim_free(struct provider_sim *sim);

/* Who had called is no more, without a word: what is under way takes effect and
 * is answered to nobody; `loop` is the next one's. */
void provider_sim_orphan(struct provider_sim *sim, uv_loop_t *loop);

/* Do what is due; true when anything was. */
bool provider_sim_run(struct provider_sim *sim);
/* When next something is due; unset: never. */
struct pd_time provider_sim_next(const struct provider_sim *sim);

/* An instance ends of itself; it stays in the list, dead, until destroyed. */
void provider_sim_kill(struct provider_sim *sim, size_t i);
/* An instance is gone without a trace. */
void provider_sim_vanish(struct provider_sim *sim, size_t i);
/* One that no controller of this life has made. */
void provider_sim_plant(struct provider_sim *sim, const char *id, const char *pool,
                        const char *template_hash, enum pd_instance_phase phase, uint64_t runs);
/* The agent's stream breaks, the instance lives on. */
void provider_sim_break_link(struct provider_sim *sim, size_t i);
/* The engine goes and comes back: streams break, calls fail meanwhile; `dead`:
 * the instances die with it. */
void provider_sim_set_down(struct provider_sim *sim, bool down, bool dead);

#endif
