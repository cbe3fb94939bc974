/* The catalogue of languages: conf/languages.yaml, checked against
 * conf/schemas/languages.yaml.
 *
 *   languages:
 *     - name: python
 *       aliases: [py, python3]
 *       file: main.py               # the program's file name in its workspace
 *       compile: []                 # argv of a stage of its own, empty for none
 *       run: [python3, -u, main.py] # argv; the run's args follow; argv[0] is looked up in PATH
 *       version: [python3, --version]
 *       spare: node.js              # hook in the agent volume (agent/spares) that keeps a
 *                                   # started interpreter waiting, "" for none
 *       spareCommand: [node, -r, /paddock/spares/node.js, main.js] # how a spare starts
 *       spareFile: false            # its file must be there, an empty line, when one starts
 *       startEnv: ["NODE_*"]        # read by the interpreter as it starts: a run that sets
 *                                   # any of it gets no spare
 *       zygote: true                # spares are forked from one parent
 *       env: {PYTHONUNBUFFERED: "1"}
 *
 * The catalogue is immutable once loaded. */
#ifndef PD_COMMON_LANGUAGES_H
#define PD_COMMON_LANGUAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/pool.h"

#define PD_LANGUAGES_MAX 32
#define PD_LANGUAGE_NAME_MAX 32

struct pd_language {
    char name[PD_LANGUAGE_NAME_MAX];
    struct pd_strings aliases;
    char *file;
    struct pd_strings compile;
    struct pd_strings run;
    struct pd_strings version;
    char *spare; /* "" for none */
    struct pd_strings spare_command;
    bool spare_file;
    struct pd_strings start_env; /* names, or prefixes with a final '*' */
    bool zygote;
    struct pd_strings env; /* "NAME=value" */
};

struct pd_languages {
    struct pd_language items[PD_LANGUAGES_MAX];
    size_t count;
    struct pd_node *node; /* the file's tree, defaults filled in */
};

/* From YAML text; problems as in pool.h. The caller frees. */
int pd_languages_parse(const char *text, size_t len, struct pd_languages **ret_languages,
                       struct pd_problems *problems);
/* Likewise, from a tree, which is borrowed. */
int pd_languages_parse_node(const struct pd_node *node, struct pd_languages **ret_languages,
                            struct pd_problems *problems);
void pd_languages_free(struct pd_languages *languages);

/* By name or alias, exact; NULL when unknown. */
const struct pd_language *pd_languages_find(const struct pd_languages *languages,
                                            const char *name);

/* A problem for each of the pool's languages that is no name of the catalogue. */
void pd_languages_check_pool(const struct pd_languages *languages, const struct pd_pool_spec *spec,
                             struct pd_problems *problems);

#endif
