/* An engine that says what no real one can be made to say: nonsense, half answers, refusals,
 * silence; and the Docker provider that talks to it. What no rule is about gets the answer of a
 * good engine with one container. */
#ifndef PD_TESTS_LIB_DOCKER_FAKE_H
#define PD_TESTS_LIB_DOCKER_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "common/buf.h"
#include "controller/provider.h"
#include "tests/lib/http_peer.h"

#define DOCKER_FAKE_WAIT_MS 30000
#define DOCKER_FAKE_RULES_MAX 16
#define DOCKER_FAKE_CONTAINER "0123456789abcdef"

struct docker_fake_rule {
    const char *request; /* how it begins; matched after the defaults' overrides */
    const char *answer;  /* NULL: silence */
    bool end;            /* hang up afterwards */
    unsigned times;      /* so often; 0: always */
};

struct docker_fake {
    uv_loop_t loop;
    char path[64];
    struct pd_http_peer *peer;
    struct docker_fake_rule rules[DOCKER_FAKE_RULES_MAX];
    size_t n_rules;
    struct pd_buf asked;               /* the first line of every request, and create's bodies */
    struct pd_peer_connection *stream; /* whoever asked for events or to attach */
    struct pd_provider *provider;
    struct pd_pool_spec *spec;
    bool done;
    int kind;
    char msg[PD_ERR_MSG_MAX];
    char id[PD_PROVIDER_ID_MAX];
    struct pd_stream *link;
    struct pd_buf data;
    int end_kind;
    bool ended;
    bool got_data;
    unsigned ups, downs, changes;
    char down_reason[PD_REASON_MAX];
    bool up, down, changed;
};

/* For cmocka. */
int docker_fake_set_up(void **state);
int docker_fake_tear_down(void **state);

/* Rules in order of preference; request and answer are borrowed. */
void docker_fake_rule(struct docker_fake *ctx, struct docker_fake_rule rule);
void docker_fake_answer(struct docker_fake *ctx, const char *request, const char *answer);
void docker_fake_answer_times(struct docker_fake *ctx, const char *request, const char *answer,
                              unsigned times);
void docker_fake_answer_and_end(struct docker_fake *ctx, const char *request, const char *answer);
/* A whole answer with this body; the caller frees. */
char *docker_fake_json(int status, const char *body);
/* Was this ever part of a request? */
bool docker_fake_was_asked(struct docker_fake *ctx, const char *text);

/* Until the flag is set; it is false again then. */
void docker_fake_wait(struct docker_fake *ctx, bool *flag);
/* Operations of the provider's, waited for: what they ended with, 0 or a kind. */
int docker_fake_create(struct docker_fake *ctx);
int docker_fake_list(struct docker_fake *ctx);
int docker_fake_destroy(struct docker_fake *ctx);
int docker_fake_link(struct docker_fake *ctx);

/* Callbacks of the provider's and its streams', with the fake as `arg`. */
void docker_fake_on_done(void *arg, const struct pd_err *err);
void docker_fake_on_create(void *arg, const struct pd_err *err, const char *provider_id);
void docker_fake_on_list(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                         size_t count);
void docker_fake_on_link(void *arg, const struct pd_err *err, struct pd_stream *stream);
void docker_fake_on_data(void *arg, const void *data, size_t len);
void docker_fake_on_end(void *arg, const struct pd_err *err);
void docker_fake_on_event(void *arg, const struct pd_provider_event *event);

#endif
