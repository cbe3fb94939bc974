/* pdwait: waiting for a program's arguments and environment, for interpreters
 * that cannot read a descriptor, close it or change their environment themselves
 * (agent/spares/lua.lua, R.R).
 *
 * Linked to nothing, like agent/pdspare: what it names is found in the process
 * that loads it; an interpreter's own functions are weak, since only one of them
 * is there. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GO_FD 3 /* as in agent/confine.h */
#define READY_FD 4
#define GO_BYTES_MAX 65536
#define ARGS_MAX 1024

struct lua_State;
int lua_checkstack(struct lua_State *lua, int more) __attribute__((weak));
void lua_pushlstring(struct lua_State *lua, const char *text, size_t len) __attribute__((weak));
void R_set_command_line_arguments(int argc, char **argv) __attribute__((weak));

int pd_lua_wait(struct lua_State *lua);
void pd_r_wait(int *n, char **command);

static char message[GO_BYTES_MAX + 1];
static char *args[ARGS_MAX];

static size_t receive(void)
{
    size_t len = 0;
    ssize_t n;

    (void)!write(READY_FD, "R", 1);
    close(READY_FD);
    while (len < GO_BYTES_MAX && (n = read(GO_FD, message + len, GO_BYTES_MAX - len)) > 0)
        len += (size_t)n;
    close(GO_FD);
    return len;
}

/* Wait; set the environment; the number of arguments. */
static int await(void)
{
    size_t len = receive(), at = strlen(message) + 1;
    int n_args = atoi(message);

    unsetenv("PADDOCK_SPARE");
    for (int i = 0; at < len; at += strlen(message + at) + 1, i++) {
        char *equals;
        if (i < n_args && i < ARGS_MAX) {
            args[i] = message + at;
            continue;
        }
        equals = strchr(message + at, '=');
        if (!equals)
            continue;
        *equals = '\0';
        setenv(message + at, equals + 1, 1);
        *equals = '=';
    }
    return n_args < ARGS_MAX ? n_args : ARGS_MAX;
}

/* A lua_CFunction that returns the arguments. */
int pd_lua_wait(struct lua_State *lua)
{
    int n = await();

    unsetenv("LUA_INIT");
    if (!lua_checkstack(lua, n))
        return 0;
    for (int i = 0; i < n; i++)
        lua_pushlstring(lua, args[i], strlen(args[i]));
    return n;
}

/* For .C(): what commandArgs() tells from now on is `command` and the arguments.
 * R copies them. */
void pd_r_wait(int *n, char **command)
{
    static char separator[] = "--args";
    char *argv[ARGS_MAX * 2];
    int n_args = await(), argc = 0;

    setenv("R_PROFILE", "", 1); /* as --vanilla leaves it */
    for (int i = 0; i < *n && argc < ARGS_MAX - 1; i++)
        argv[argc++] = command[i];
    if (n_args > 0)
        argv[argc++] = separator;
    for (int i = 0; i < n_args; i++)
        argv[argc++] = args[i];
    R_set_command_line_arguments(argc, argv);
}
