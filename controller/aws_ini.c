#include "controller/aws_ini.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

static char *trim(char *text)
{
    char *end;

    while (isspace((unsigned char)*text))
        text++;
    end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return text;
}

/* " # ..." and " ; ..." at the end of a line are comments; inside a value that
 * has no blank before them they are not. */
static void cut_comment(char *value)
{
    for (char *p = value; *p; p++) {
        if ((*p == '#' || *p == ';') && (p == value || isspace((unsigned char)p[-1]))) {
            *p = '\0';
            return;
        }
    }
}

/* "[profile  dev] # work" becomes "profile dev"; NULL: no header of a section. */
static const char *section_name(char *line)
{
    char *end = strrchr(line, ']'), *name, *to;

    if (!end)
        return NULL;
    *end = '\0';
    name = to = trim(line + 1);
    for (char *from = name; *from; from++) {
        if (isspace((unsigned char)*from) && isspace((unsigned char)from[1]))
            continue;
        *to++ = isspace((unsigned char)*from) ? ' ' : *from;
    }
    *to = '\0';
    return name;
}

static int add_entry(struct pd_aws_ini *ini, const char *section, char *line, struct pd_err *err)
{
    char *value = strchr(line, '=');

    if (!value || !section)
        return 0;
    if (ini->count == PD_AWS_INI_ENTRIES_MAX)
        return pd_err_set(err, PD_LIMIT, "more than %d settings", PD_AWS_INI_ENTRIES_MAX);
    *value++ = '\0';
    cut_comment(value);
    ini->entries = pd_realloc(ini->entries, ini->count + 1, sizeof *ini->entries);
    ini->entries[ini->count++] = (struct pd_aws_ini_entry){section, trim(line), trim(value)};
    return 0;
}

int pd_aws_ini_parse(const char *text, size_t len, struct pd_aws_ini *ret_ini, struct pd_err *err)
{
    struct pd_aws_ini ini = {.text = pd_strndup(text, len), .len = len};
    const char *section = NULL;
    char *rest = ini.text, *line;
    int rc = 0;

    while (rc == 0 && (line = strsep(&rest, "\n"))) {
        if (*line == '[')
            section = section_name(line);
        else if (*line && !isspace((unsigned char)*line) && *line != '#' && *line != ';')
            rc = add_entry(&ini, section, line, err);
    }
    if (rc < 0)
        pd_aws_ini_fini(&ini);
    else
        *ret_ini = ini;
    return rc;
}

void pd_aws_ini_fini(struct pd_aws_ini *ini)
{
    if (ini->text)
        pd_wipe(ini->text, ini->len);
    free(ini->text);
    free(ini->entries);
    *ini = (struct pd_aws_ini){.text = NULL};
}

const char *pd_aws_ini_get(const struct pd_aws_ini *ini, const char *section, const char *name)
{
    for (size_t i = ini->count; i-- > 0;) {
        const struct pd_aws_ini_entry *entry = &ini->entries[i];
        if (strcmp(entry->section, section) == 0 && strcasecmp(entry->name, name) == 0)
            return entry->value;
    }
    return NULL;
}

int pd_aws_ini_has(const struct pd_aws_ini *ini, const char *section)
{
    for (size_t i = 0; i < ini->count; i++) {
        if (strcmp(ini->entries[i].section, section) == 0)
            return 1;
    }
    return 0;
}
