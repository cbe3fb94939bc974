/* paddock: a pool operator and a code-execution API in one program. */
#include <stdio.h>
#include <string.h>

#include "cli/apply.h"
#include "cli/check.h"
#include "cli/get.h"
#include "cli/key.h"
#include "cli/kubeconfig.h"
#include "cli/login.h"
#include "cli/manual.h"
#include "cli/probe.h"
#include "cli/run.h"
#include "cli/selftest.h"
#include "cli/serve.h"
#include "common/mem.h"

static const struct pd_command commands[] = {
    {"serve", pd_serve_main, "keep the pools and answer the API"},
    {"controller", pd_serve_main, "lead: make and collect the sandboxes of several `api`s"},
    {"api", pd_serve_main, "answer the API; somebody else leads"},
    {"check", pd_check_main, "print a configuration file in canonical form, or its problems"},
    {"run", pd_run_main, "run one program, and exit as it did"},
    {"get", pd_get_main, "show pools, sandboxes or events"},
    {"apply", pd_apply_main, "make or change the pools of a file"},
    {"scale", pd_scale_main, "change how many sandboxes a pool has at least"},
    {"delete", pd_delete_main, "delete a pool, once its runs have finished"},
    {"key", pd_key_main, "make, list, revoke and show API keys"},
    {"kubeconfig", pd_kubeconfig_main, "print what kubectl needs to be a client"},
    {"login", pd_login_main, "a one-time link that logs a browser in"},
    {"probe", pd_probe_main, "ask the running service how it is"},
    {"selftest", pd_selftest_main, "replay known attacks against the running service"},
};

static void print_help(FILE *out)
{
    fputs("usage: paddock COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < PD_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\npaddock COMMAND --help says more; paddock --version says which one this is;\n"
          "paddock man prints a manual page, paddock completion a script for bash.\n",
          out);
}

static const struct pd_command *find_command(const char *name)
{
    for (size_t i = 0; i < PD_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const struct pd_command *command = find_command(word);

    if (command)
        return command->run(argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0) {
        pd_manual_version(stdout);
        return 0;
    }
    if (strcmp(word, "man") == 0) {
        pd_manual_page(stdout, commands, PD_COUNT(commands));
        return 0;
    }
    if (strcmp(word, "completion") == 0) {
        pd_manual_completion(stdout, commands, PD_COUNT(commands));
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (*word)
        fprintf(stderr, "paddock: unknown command '%s'\n\n", word);
    print_help(stderr);
    return 2;
}
