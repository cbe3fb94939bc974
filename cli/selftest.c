#include "cli/selftest.h"

#include <curl/curl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/keys.h"
#include "cli/attack.h"
#include "cli/state.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"

#define ANSWER_BYTES_MAX (64 << 20)
#define WAIT_S 120L
#define WHY_BYTES 160
/* Attacks in steps are repeated, since a pool has several sandboxes and the
 * second step must come to one that saw the first. */
#define REPEATS 4

static const char usage[] =
    "usage: paddock selftest [--url URL] [--pool NAME] [--state-dir DIR] [NAME...]\n\n"
    "Replays known attacks against a running service (http://127.0.0.1:8000) and says\n"
    "which were held. Names choose among them. The key is $EXECUTION_API_KEY, or the\n"
    "one in the state folder. Exit status 1 when any attack was not held.\n";

struct selftest {
    CURL *curl;
    struct curl_slist *headers;
    char *url;
    const char *pool;
    unsigned held, failed;
};

/* ---- asking the service ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    return pd_buf_add(arg, data, size * count, NULL) < 0 ? 0 : size * count;
}

/* POST /execute: the answer, which the caller frees, or NULL and why. */
static struct pd_node *execute(struct selftest *test, const struct pd_node *request, char *why)
{
    pd_autobuf struct pd_buf body, answer;
    struct pd_node *node = NULL;
    struct pd_err err = {0};
    long status = 0;
    CURLcode code;

    pd_buf_init(&body, ANSWER_BYTES_MAX);
    pd_buf_init(&answer, ANSWER_BYTES_MAX);
    if (pd_json_format(request, &body, &err) < 0) {
        pd_strcpy(why, WHY_BYTES, err.msg);
        return NULL;
    }
    curl_easy_setopt(test->curl, CURLOPT_POSTFIELDS, body.data);
    curl_easy_setopt(test->curl, CURLOPT_WRITEDATA, &answer);
    code = curl_easy_perform(test->curl);
    curl_easy_getinfo(test->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
        snprintf(why, WHY_BYTES, "%s", curl_easy_strerror(code));
    else if (status != 200)
        snprintf(why, WHY_BYTES, "answered %ld: %.120s", status, answer.data ? answer.data : "");
    else if (pd_json_parse(answer.data, answer.len, &node, &err) < 0)
        snprintf(why, WHY_BYTES, "%.150s", err.msg);
    return node;
}

static bool is_well(struct selftest *test, char *why)
{
    pd_autonode struct pd_node *request = pd_node_map_new();
    pd_autonode struct pd_node *answer = NULL;
    const struct pd_node *output;

    pd_node_set_string(request, "code", "echo fine");
    pd_node_set_string(request, "language", "bash");
    if (test->pool)
        pd_node_set_string(request, "pool", test->pool);
    answer = execute(test, request, why);
    output = pd_node_get(answer, "output");
    if (!answer)
        return false;
    snprintf(why, WHY_BYTES, "a run afterwards did not work");
    return output && output->kind == PD_NODE_STRING && strcmp(output->string.text, "fine\n") == 0;
}

/* ---- attacking ---- */

static enum pd_verdict attack_once(struct selftest *test, const struct pd_attack *attack, char *why)
{
    enum pd_verdict verdict = PD_VERDICT_HELD;

    for (size_t step = 0; step < attack->n_steps && verdict == PD_VERDICT_HELD; step++) {
        pd_autonode struct pd_node *request = pd_attack_request(attack, step, test->pool);
        pd_autonode struct pd_node *answer = execute(test, request, why);
        verdict = answer ? pd_attack_judge(attack, answer, why, WHY_BYTES) : PD_VERDICT_UNCLEAR;
    }
    if (verdict == PD_VERDICT_HELD && !is_well(test, why))
        verdict = PD_VERDICT_BROKEN;
    return verdict;
}

static void report(struct selftest *test, const struct pd_attack *attack, enum pd_verdict verdict,
                   const char *why)
{
    static const char *const words[] = {[PD_VERDICT_HELD] = "held",
                                        [PD_VERDICT_BROKEN] = "BROKEN",
                                        [PD_VERDICT_UNCLEAR] = "unclear"};

    printf("%-18s %-8s %s\n", attack->name, words[verdict], attack->tries);
    if (verdict != PD_VERDICT_HELD)
        printf("%-18s %-8s -> %s\n", "", "", why);
    fflush(stdout);
    if (verdict == PD_VERDICT_HELD)
        test->held++;
    else
        test->failed++;
}

static void run_attack(struct selftest *test, const struct pd_attack *attack)
{
    unsigned repeats = attack->n_steps > 1 ? REPEATS : 1;
    enum pd_verdict verdict = PD_VERDICT_HELD;
    char why[WHY_BYTES] = "";

    while (repeats-- > 0 && verdict == PD_VERDICT_HELD)
        verdict = attack_once(test, attack, why);
    report(test, attack, verdict, why);
}

static bool is_chosen(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return count == 0;
}

static int run_attacks(struct selftest *test, char **names, int count)
{
    struct pd_attack attack;
    char why[WHY_BYTES];

    if (!is_well(test, why)) {
        fprintf(stderr, "paddock selftest: no run works at %s: %s\n", test->url, why);
        return 2;
    }
    for (unsigned i = 0; pd_attack_at(i, &attack); i++) {
        if (is_chosen(attack.name, names, count))
            run_attack(test, &attack);
        pd_attack_fini(&attack);
    }
    printf("%u held, %u not\n", test->held, test->failed);
    if (test->held + test->failed == 0)
        fputs("paddock selftest: no attack has such a name\n", stderr);
    return test->failed ? 1 : test->held ? 0 : 2;
}

/* ---- setting up ---- */

static int find_key(const char *state_dir, char key[static PD_KEY_TEXT_MAX + 1])
{
    const char *from_env = getenv("EXECUTION_API_KEY");
    pd_autofree char *dir = pd_state_dir(state_dir);
    struct pd_err err = {0};

    if (from_env && *from_env) {
        pd_strcpy(key, PD_KEY_TEXT_MAX + 1, from_env);
        return 0;
    }
    if (pd_keys_load(dir, key, &err) < 0) {
        fprintf(stderr, "paddock selftest: %s\n", err.msg);
        return -1;
    }
    return 0;
}

static int with_service(struct selftest *test, const char *base, const char *state_dir,
                        char **names, int count)
{
    char key[PD_KEY_TEXT_MAX + 1];
    pd_autofree char *header = NULL;
    int result;

    if (find_key(state_dir, key) < 0)
        return 2;
    header = pd_asprintf("X-API-Key: %s", key);
    test->url = pd_asprintf("%s/execute", base);
    test->curl = curl_easy_init();
    test->headers = curl_slist_append(NULL, header);
    test->headers = curl_slist_append(test->headers, "Content-Type: application/json");
    test->headers = curl_slist_append(test->headers, "Expect:");
    curl_easy_setopt(test->curl, CURLOPT_URL, test->url);
    curl_easy_setopt(test->curl, CURLOPT_HTTPHEADER, test->headers);
    curl_easy_setopt(test->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(test->curl, CURLOPT_TIMEOUT, WAIT_S);
    curl_easy_setopt(test->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    result = run_attacks(test, names, count);
    curl_slist_free_all(test->headers);
    curl_easy_cleanup(test->curl);
    free(test->url);
    pd_wipe(key, sizeof key);
    pd_wipe(header, strlen(header));
    return result;
}

int pd_selftest_main(int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"pool", required_argument, NULL, 'p'},
                                            {"state-dir", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *base = "http://127.0.0.1:8000", *state_dir = NULL;
    struct selftest test = {0};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (option) {
        case 'u':
            base = optarg;
            break;
        case 'p':
            test.pool = optarg;
            break;
        case 's':
            state_dir = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    return with_service(&test, base, state_dir, argv + optind, argc - optind);
}
