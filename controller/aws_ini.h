/* The files ~/.aws/config and ~/.aws/credentials ("Configuration and credential
 * file settings", AWS SDKs and Tools Reference Guide): sections of "name = value"
 * lines. Values are secrets, some of them, and are wiped. */
#ifndef PD_CONTROLLER_AWS_INI_H
#define PD_CONTROLLER_AWS_INI_H

#include <stddef.h>

#include "common/err.h"

#define PD_AWS_INI_BYTES_MAX (256u * 1024)
#define PD_AWS_INI_ENTRIES_MAX 2000

struct pd_aws_ini_entry {
    const char *section; /* "default", "profile dev", "dev" */
    const char *name;    /* as written */
    const char *value;
};

struct pd_aws_ini {
    char *text; /* what the entries point into */
    size_t len;
    struct pd_aws_ini_entry *entries;
    size_t count;
};

/* A line that is nothing known is skipped, as the AWS tools do; lines that are
 * indented below an empty value belong to it and are skipped too. PD_LIMIT: too
 * many entries. Text is borrowed. */
int pd_aws_ini_parse(const char *text, size_t len, struct pd_aws_ini *ret_ini, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_aws_ini_fini(struct pd_aws_ini *ini);

/* The last value of that name in the sections of that name, or NULL. */
const char *pd_aws_ini_get(const struct pd_aws_ini *ini, const char *section, const char *name);
/* Whether a section of that name holds anything. */
int pd_aws_ini_has(const struct pd_aws_ini *ini, const char *section);

#endif
