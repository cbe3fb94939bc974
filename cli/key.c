#include "cli/key.h"

#include <stdio.h>
#include <string.h>

#include "api/keys.h"
#include "cli/state.h"
#include "common/mem.h"

static int show(void)
{
    pd_autofree char *dir = pd_state_dir(NULL);
    const char *env_key = getenv("EXECUTION_API_KEY");
    char text[PD_KEY_TEXT_MAX + 1];
    struct pd_err err = {0};

    if (env_key && *env_key) {
        puts(env_key);
        return 0;
    }
    if (pd_state_prepare(dir, &err) < 0 || pd_keys_load(dir, text, &err) < 0) {
        fprintf(stderr, "paddock key show: %s\n", err.msg);
        return 1;
    }
    puts(text);
    pd_wipe(text, sizeof text);
    return 0;
}

int pd_key_main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "show") == 0)
        return show();
    fprintf(stderr, "usage: %s show\n"
                    "  Prints the API key in force: $EXECUTION_API_KEY, or the one kept in the\n"
                    "  state folder, which is made if there is none.\n",
            argc > 0 ? argv[0] : "paddock key");
    return 2;
}
