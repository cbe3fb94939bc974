#include "api/kube_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"

#define CELL_BYTES_MAX 4096
#define KEY_BYTES 64

/* ---- paths ---- */

/* [?(@.key=="value")] at *at, which is moved behind it. */
static bool take_filter(const char **at, char key[static KEY_BYTES], char value[static KEY_BYTES])
{
    int used = 0;

    if (sscanf(*at, "[?(@.%63[A-Za-z0-9_]==\"%63[^\"]\")]%n", key, value, &used) != 2 || used == 0)
        return false;
    *at += used;
    return true;
}

static const struct pd_node *element_with(const struct pd_node *list, const char *key,
                                          const char *value)
{
    if (!list || list->kind != PD_NODE_LIST)
        return NULL;
    for (size_t i = 0; i < list->list.count; i++) {
        const struct pd_node *member = pd_node_get(list->list.items[i], key);
        if (member && member->kind == PD_NODE_STRING && strcmp(member->string.text, value) == 0)
            return list->list.items[i];
    }
    return NULL;
}

const struct pd_node *pd_kube_path_find(const struct pd_node *object, const char *path)
{
    const struct pd_node *node = object;

    while (node && *path) {
        char key[KEY_BYTES], value[KEY_BYTES];
        size_t len;
        if (*path == '[') {
            node = take_filter(&path, key, value) ? element_with(node, key, value) : NULL;
            continue;
        }
        path += *path == '.';
        len = strcspn(path, ".[");
        if (len == 0 || len >= sizeof key)
            return NULL;
        memcpy(key, path, len);
        key[len] = '\0';
        node = pd_node_get(node, key);
        path += len;
    }
    return node;
}

/* ---- times ---- */

bool pd_kube_time_parse(const char *text, int64_t *ret_wall_ms)
{
    struct tm utc = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    int64_t ms = 0;

    if (!rest)
        return false;
    if (*rest == '.') {
        int64_t scale = 100;
        for (rest++; isdigit((unsigned char)*rest); rest++, scale /= 10)
            ms += (*rest - '0') * scale;
    }
    if (strcmp(rest, "Z") != 0)
        return false;
    *ret_wall_ms = (int64_t)timegm(&utc) * 1000 + ms;
    return true;
}

/* Two units while the smaller one still matters. */
static const char *two_units(int64_t big, const char *big_unit, int64_t small,
                             const char *small_unit, char *out)
{
    if (small)
        snprintf(out, PD_KUBE_AGE_BYTES, "%lld%s%lld%s", (long long)big, big_unit, (long long)small,
                 small_unit);
    else
        snprintf(out, PD_KUBE_AGE_BYTES, "%lld%s", (long long)big, big_unit);
    return out;
}

const char *pd_kube_age(int64_t ms, char out[static PD_KUBE_AGE_BYTES])
{
    int64_t s = ms > 0 ? ms / 1000 : 0;
    int64_t m = s / 60, h = m / 60, d = h / 24;

    if (s < 120)
        return two_units(s, "s", 0, "", out);
    if (m < 10)
        return two_units(m, "m", s % 60, "s", out);
    if (h < 3)
        return two_units(m, "m", 0, "", out);
    if (h < 8)
        return two_units(h, "h", m % 60, "m", out);
    if (d < 2)
        return two_units(h, "h", 0, "", out);
    if (d < 8)
        return two_units(d, "d", h % 24, "h", out);
    if (d < 2 * 365)
        return two_units(d, "d", 0, "", out);
    return d < 8 * 365 ? two_units(d / 365, "y", d % 365, "d", out)
                       : two_units(d / 365, "y", 0, "", out);
}

/* ---- cells ---- */

static struct pd_node *date_cell(const struct pd_node *value, int64_t now_wall_ms)
{
    char age[PD_KUBE_AGE_BYTES];
    int64_t wall_ms;

    if (value->kind != PD_NODE_STRING || !pd_kube_time_parse(value->string.text, &wall_ms))
        return pd_node_string_new("<unknown>");
    return pd_node_string_new(pd_kube_age(now_wall_ms - wall_ms, age));
}

/* "sandboxpool/python" */
static struct pd_node *object_cell(const struct pd_node *value)
{
    pd_autofree char *text = pd_asprintf("%s/%s", pd_node_text(pd_node_get(value, "kind"), ""),
                                         pd_node_text(pd_node_get(value, "name"), ""));

    for (char *p = text; *p && *p != '/'; p++)
        *p = (char)tolower((unsigned char)*p);
    return pd_node_string_new(text);
}

/* What is no single value is shown as JSON. */
static struct pd_node *text_cell(const struct pd_node *value)
{
    pd_autobuf struct pd_buf text;

    pd_buf_init(&text, CELL_BYTES_MAX);
    if (value->kind == PD_NODE_STRING)
        return pd_node_copy(value);
    if (pd_json_format(value, &text, NULL) < 0)
        return pd_node_string_new("...");
    return pd_node_string_new_len(text.data, text.len);
}

static struct pd_node *cell(const struct pd_node *object, const struct pd_node *column,
                            int64_t now_wall_ms)
{
    const char *type = pd_node_text(pd_node_get(column, "type"), "string");
    const struct pd_node *value =
        pd_kube_path_find(object, pd_node_text(pd_node_get(column, "jsonPath"), ""));

    if (!value || value->kind == PD_NODE_NULL)
        return strcmp(type, "date") == 0 || strcmp(type, "string") == 0 ? pd_node_string_new("")
                                                                        : pd_node_null_new();
    if (strcmp(type, "date") == 0)
        return date_cell(value, now_wall_ms);
    if (strcmp(type, "object") == 0)
        return object_cell(value);
    if (strcmp(type, "string") == 0)
        return text_cell(value);
    return pd_node_copy(value);
}

/* ---- the table ---- */

static bool has_own_name(const struct pd_kube_kind *kind)
{
    for (size_t i = 0; i < pd_node_count(kind->columns); i++) {
        const struct pd_node *name = pd_node_get(kind->columns->list.items[i], "name");
        if (strcmp(pd_node_text(name, ""), "Name") == 0)
            return true;
    }
    return false;
}

static struct pd_node *definition(const char *name, const char *type, const char *format,
                                  const char *description, int64_t priority)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "name", name);
    pd_node_set_string(node, "type", strcmp(type, "object") == 0 ? "string" : type);
    pd_node_set_string(node, "format", format);
    pd_node_set_string(node, "description", description);
    pd_node_set_int(node, "priority", priority);
    return node;
}

static struct pd_node *definitions(const struct pd_kube_kind *kind)
{
    struct pd_node *list = pd_node_list_new();

    if (!has_own_name(kind))
        pd_node_add(list, definition("Name", "string", "name", "Its name.", 0));
    for (size_t i = 0; i < pd_node_count(kind->columns); i++) {
        const struct pd_node *column = kind->columns->list.items[i];
        pd_node_add(list, definition(pd_node_text(pd_node_get(column, "name"), ""),
                                     pd_node_text(pd_node_get(column, "type"), "string"),
                                     pd_node_text(pd_node_get(column, "format"), ""),
                                     pd_node_text(pd_node_get(column, "description"), ""),
                                     pd_node_int(pd_node_get(column, "priority"), 0)));
    }
    return list;
}

static struct pd_node *partial(const struct pd_node *object)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "kind", "PartialObjectMetadata");
    pd_node_set_string(node, "apiVersion", "meta.k8s.io/v1");
    pd_node_set(node, "metadata", pd_node_copy(pd_node_get(object, "metadata")));
    return node;
}

static struct pd_node *row(const struct pd_kube_kind *kind, const struct pd_node *object,
                           enum pd_kube_include include, int64_t now_wall_ms)
{
    struct pd_node *node = pd_node_map_new(), *cells = pd_node_list_new();

    if (!has_own_name(kind))
        pd_node_add(cells, pd_node_copy(pd_node_at(object, "metadata", "name", NULL)));
    for (size_t i = 0; i < pd_node_count(kind->columns); i++)
        pd_node_add(cells, cell(object, kind->columns->list.items[i], now_wall_ms));
    pd_node_set(node, "cells", cells);
    if (include == PD_KUBE_INCLUDE_METADATA)
        pd_node_set(node, "object", partial(object));
    else if (include == PD_KUBE_INCLUDE_OBJECT)
        pd_node_set(node, "object", pd_node_copy(object));
    return node;
}

struct pd_node *pd_kube_table(const struct pd_kube_kind *kind, struct pd_node *const *objects,
                              size_t count, struct pd_node *metadata, bool columns,
                              enum pd_kube_include include, int64_t now_wall_ms)
{
    struct pd_node *table = pd_node_map_new(), *rows = pd_node_list_new();

    pd_node_set_string(table, "kind", "Table");
    pd_node_set_string(table, "apiVersion", "meta.k8s.io/v1");
    pd_node_set(table, "metadata", metadata);
    pd_node_set(table, "columnDefinitions", columns ? definitions(kind) : pd_node_list_new());
    for (size_t i = 0; i < count; i++)
        pd_node_add(rows, row(kind, objects[i], include, now_wall_ms));
    pd_node_set(table, "rows", rows);
    return table;
}
