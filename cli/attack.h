/* A known attack on a sandbox, as one program of tests/attacks, which is built
 * into the service's binary. What it tries, and how its end is to be read, stands
 * in the comment at its top, one "# key: value" a line:
 *
 *   tries:      for people
 *   steps:      words; the program is run once for each, with it as its argument
 *   ends:       statuses that a held attack may have (exited)
 *   exit:       the exit code that it then has (any)
 *   timeout:    seconds (20)
 *   silent:     yes: a held attack may say nothing
 *   artifacts:  patterns of files to ask for
 *   secret:     bytes that must be in none of them
 *
 * Programs print a line that begins with HELD, or one with "BROKEN: " and how. */
#ifndef PD_CLI_ATTACK_H
#define PD_CLI_ATTACK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/asset.h"
#include "common/node.h"

#define PD_ATTACK_STEPS_MAX 4
#define PD_ATTACK_WORD_MAX 64
#define PD_ATTACK_TEXT_MAX 256

enum pd_verdict {
    PD_VERDICT_HELD,
    PD_VERDICT_BROKEN,
    PD_VERDICT_UNCLEAR, /* it did not come to an end that tells */
};

struct pd_attack {
    char name[PD_ATTACK_WORD_MAX];
    const char *language; /* static */
    char tries[PD_ATTACK_TEXT_MAX];
    char steps[PD_ATTACK_STEPS_MAX][PD_ATTACK_WORD_MAX];
    size_t n_steps; /* at least 1; the word may be empty */
    char ends[PD_ATTACK_TEXT_MAX];
    char artifacts[PD_ATTACK_TEXT_MAX];
    char secret[PD_ATTACK_WORD_MAX];
    int exit_code; /* -1: any */
    int timeout_s;
    bool silent;
    char *code; /* owned */
};

/* The i-th attack that is built in; false past the last. Free it by
 * pd_attack_fini. */
bool pd_attack_at(unsigned i, struct pd_attack *ret_attack);
void pd_attack_fini(struct pd_attack *attack);

/* The body of POST /execute for one step; `pool` may be NULL. The caller frees. */
struct pd_node *pd_attack_request(const struct pd_attack *attack, size_t step, const char *pool);

/* Read the answer of POST /execute. `why` gets a short reason where it is not
 * held. */
enum pd_verdict pd_attack_judge(const struct pd_attack *attack, const struct pd_node *answer,
                                char *why, size_t why_bytes);

#endif
