#include "cli/probe.h"

#include <curl/curl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "common/buf.h"
#include "common/mem.h"

#define ANSWER_BYTES_MAX (16u * 1024)
#define WAIT_S 4L

static const char usage[] =
    "usage: paddock probe [--url URL] [livez|readyz|health]\n\n"
    "Asks the running service, at URL or where PADDOCK_LISTEN says, else at\n"
    "http://127.0.0.1:8000. Exit status 0 when all is well, else 1 and what it said.\n\n"
    "  livez   its loop turns (the default): for whoever restarts it\n"
    "  readyz  it can take work: for load balancers\n"
    "  health  runs come to something: for monitors\n";

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    return pd_buf_add(arg, data, size * count, NULL) < 0 ? 0 : size * count;
}

static int ask(const char *url, const char *what)
{
    CURL *curl = curl_easy_init();
    pd_autofree char *target = pd_asprintf("%s/%s", url, what);
    struct pd_buf answer;
    long status = 0;
    CURLcode code;

    pd_buf_init(&answer, ANSWER_BYTES_MAX);
    curl_easy_setopt(curl, CURLOPT_URL, target);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, WAIT_S);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK)
        fprintf(stderr, "paddock probe: %s: %s\n", target, curl_easy_strerror(code));
    else if (status != 200)
        fprintf(stderr, "paddock probe: %s answers %ld: %s\n", target, status,
                answer.data ? answer.data : "");
    pd_buf_fini(&answer);
    return code == CURLE_OK && status == 200 ? 0 : 1;
}

int pd_probe_main(int argc, char **argv)
{
    static const struct option table[] = {
        {"url", required_argument, NULL, 'u'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    pd_autofree char *url = pd_listen_url();
    const char *what = "livez";

    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (c != 'u') {
            fputs(usage, stderr);
            return 2;
        }
        free(url);
        url = pd_strdup(optarg);
    }
    if (optind < argc)
        what = argv[optind++];
    if (optind < argc || (strcmp(what, "livez") != 0 && strcmp(what, "readyz") != 0 &&
                          strcmp(what, "health") != 0)) {
        fputs(usage, stderr);
        return 2;
    }
    return ask(url, what);
}
