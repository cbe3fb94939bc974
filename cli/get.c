#include "cli/get.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/yaml.h"

#define TABLE "application/json;as=Table;v=v1;g=meta.k8s.io"
#define COLUMNS_MAX 32
#define NAME_MAX_BYTES 254
#define GAP 3

static const char usage[] =
    "usage: paddock get [pools|sandboxes|events] [NAME] [-o table|wide|yaml|json]\n"
    "                   [--url URL] [--state-dir DIR]\n\n"
    "Shows the pools, or one of them.\n" PD_CLIENT_HELP;

enum form { FORM_TABLE, FORM_WIDE, FORM_YAML, FORM_JSON };

/* ---- tables ---- */

static const char *cell_text(const struct pd_node *cell, char scratch[static 32])
{
    if (!cell || cell->kind == PD_NODE_NULL)
        return "<none>";
    if (cell->kind == PD_NODE_STRING)
        return *cell->string.text ? cell->string.text : "<none>";
    if (cell->kind == PD_NODE_INT)
        snprintf(scratch, 32, "%lld", (long long)cell->integer);
    else if (cell->kind == PD_NODE_NUMBER)
        snprintf(scratch, 32, "%g", cell->number);
    else
        pd_strcpy(scratch, 32, cell->kind == PD_NODE_BOOL && cell->boolean ? "true" : "false");
    return scratch;
}

static const struct pd_node *item(const struct pd_node *list, size_t index)
{
    return list && list->kind == PD_NODE_LIST && index < list->list.count ? list->list.items[index]
                                                                          : NULL;
}

static const struct pd_node *cell_at(const struct pd_node *rows, size_t row, size_t column)
{
    return item(pd_node_get(item(rows, row), "cells"), column);
}

struct columns {
    size_t index[COLUMNS_MAX]; /* in the cells */
    int width[COLUMNS_MAX];
    size_t count;
};

static void measure(const struct pd_node *table, bool wide, struct columns *ret)
{
    const struct pd_node *definitions = pd_node_get(table, "columnDefinitions");
    const struct pd_node *rows = pd_node_get(table, "rows");
    char scratch[32];

    ret->count = 0;
    for (size_t i = 0; i < pd_node_count(definitions) && ret->count < COLUMNS_MAX; i++) {
        const struct pd_node *definition = item(definitions, i);
        size_t width = strlen(pd_node_text(pd_node_get(definition, "name"), ""));
        if (pd_node_int(pd_node_get(definition, "priority"), 0) > 0 && !wide)
            continue;
        for (size_t row = 0; row < pd_node_count(rows); row++) {
            size_t len = strlen(cell_text(cell_at(rows, row, i), scratch));
            width = len > width ? len : width;
        }
        ret->index[ret->count] = i;
        ret->width[ret->count++] = (int)width;
    }
}

/* What could do something to a terminal is not printed. */
static void print_cell(const char *text, int width)
{
    int printed = 0;

    for (; *text; text++, printed++)
        putchar((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text);
    for (; printed < width; printed++)
        putchar(' ');
}

static void print_table(const struct pd_node *table, bool wide)
{
    const struct pd_node *definitions = pd_node_get(table, "columnDefinitions");
    const struct pd_node *rows = pd_node_get(table, "rows");
    struct columns columns;
    char scratch[32];

    if (pd_node_count(rows) == 0) {
        fputs("nothing found\n", stderr);
        return;
    }
    measure(table, wide, &columns);
    for (size_t i = 0; i < columns.count; i++) {
        pd_autofree char *name =
            pd_strdup(pd_node_text(pd_node_get(item(definitions, columns.index[i]), "name"), ""));
        for (char *p = name; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        print_cell(name, i + 1 < columns.count ? columns.width[i] + GAP : 0);
    }
    putchar('\n');
    for (size_t row = 0; row < pd_node_count(rows); row++) {
        for (size_t i = 0; i < columns.count; i++)
            print_cell(cell_text(cell_at(rows, row, columns.index[i]), scratch),
                       i + 1 < columns.count ? columns.width[i] + GAP : 0);
        putchar('\n');
    }
}

static int print_text(const struct pd_node *node, enum form form, struct pd_err *err)
{
    pd_autobuf struct pd_buf text;
    int rc;

    pd_buf_init(&text, PD_CLIENT_ANSWER_MAX);
    rc = form == FORM_YAML ? pd_yaml_format(node, &text, err) : pd_json_format(node, &text, err);
    if (rc == 0)
        fwrite(text.data, 1, text.len, stdout);
    if (rc == 0 && form == FORM_JSON)
        putchar('\n');
    return rc;
}

/* ---- the command ---- */

static bool parse_form(const char *text, enum form *ret)
{
    static const char *const names[] = {"table", "wide", "yaml", "json"};

    for (size_t i = 0; i < PD_COUNT(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = (enum form)i;
            return true;
        }
    }
    return false;
}

static int get(struct pd_client *client, const char *collection, const char *name, enum form form,
               struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s%s%s", collection, *name ? "/" : "", name);
    bool table = form == FORM_TABLE || form == FORM_WIDE;
    const struct pd_client_call call = {
        .method = "GET", .path = path, .accept = table ? TABLE : NULL};
    pd_autonode struct pd_node *answer = NULL;
    int rc = pd_client_ask(client, &call, &answer, err);

    if (rc < 0 || !answer)
        return rc;
    if (!table)
        return print_text(answer, form, err);
    print_table(answer, form == FORM_WIDE);
    return 0;
}

static bool is_name(const char *text)
{
    return strlen(text) < NAME_MAX_BYTES &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == strlen(text);
}

int pd_get_main(int argc, char **argv)
{
    static const struct option table[] = {
        {"output", required_argument, NULL, 'o'},
        {"url", required_argument, NULL, 'u'},
        {"state-dir", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *url = NULL, *state_dir = NULL, *collection, *name;
    enum form form = FORM_TABLE;
    struct pd_client *client = NULL;
    struct pd_err err;
    int rc;

    for (int c; (c = getopt_long(argc, argv, "o:h", table, NULL)) != -1;) {
        switch (c) {
        case 'u':
            url = optarg;
            break;
        case 's':
            state_dir = optarg;
            break;
        case 'o':
            if (!parse_form(optarg, &form)) {
                fputs(usage, stderr);
                return 2;
            }
            break;
        default:
            fputs(usage, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    collection = pd_client_collection(optind < argc ? argv[optind] : "pools");
    name = optind + 1 < argc ? argv[optind + 1] : "";
    if (!collection || optind + 2 < argc || !is_name(name)) {
        fputs(usage, stderr);
        return 2;
    }
    rc = pd_client_open(url, state_dir, &client, &err);
    if (rc == 0)
        rc = get(client, collection, name, form, &err);
    if (rc < 0)
        fprintf(stderr, "paddock get: %s\n", err.msg);
    pd_client_close(client);
    return rc < 0 ? 1 : 0;
}
