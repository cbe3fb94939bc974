#include "common/strings.h"

#include "common/mem.h"

struct pd_strings pd_strings_from(const struct pd_node *list)
{
    struct pd_strings strings = {.count = pd_node_count(list)};

    strings.items = pd_calloc(strings.count + 1, sizeof *strings.items);
    for (size_t i = 0; i < strings.count; i++)
        strings.items[i] = pd_strdup(pd_node_text(list->list.items[i], ""));
    return strings;
}

struct pd_node *pd_strings_node(const struct pd_strings *strings)
{
    struct pd_node *list = pd_node_list_new();

    for (size_t i = 0; i < strings->count; i++)
        pd_node_add(list, pd_node_string_new(strings->items[i]));
    return list;
}

void pd_strings_fini(struct pd_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct pd_strings){0};
}
