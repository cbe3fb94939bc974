/* `paddock key new|list|revoke|show`: the API keys of a state folder. */
#ifndef PD_CLI_KEY_H
#define PD_CLI_KEY_H

/* argv[0] is "key". Returns the process's exit status: 0, 1 when the key cannot
 * be read or made, 2 for a mistake in the arguments. */
int pd_key_main(int argc, char **argv);

#endif
