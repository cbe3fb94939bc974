#include "controller/docker_operation.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

void pd_docker_operation(const char *method, const char *path,
                         char out[static PD_DOCKER_OPERATION_BYTES])
{
    static const char *const words[] = {"create", "json", "prune", "load"};
    char text[128];
    char *first = text + 1, *last;
    bool named;

    pd_strcpy(text, sizeof text, path);
    text[strcspn(text, "?")] = '\0';
    last = strrchr(text, '/') + 1;
    named = last > first && strchr(first, '/') < last - 1;
    for (unsigned i = 0; last > first && i < PD_COUNT(words); i++)
        named = named || strcmp(words[i], last) == 0;
    first[strcspn(first, "/")] = '\0';
    snprintf(out, PD_DOCKER_OPERATION_BYTES, "%.20s_%.24s", named ? first : method,
             named ? last : first);
    for (char *p = out; *p; p++)
        *p = (char)tolower((unsigned char)*p);
}
