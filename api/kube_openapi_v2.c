#include "api/kube_openapi_v2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 256
#define WIRE_BYTES 2 /* wire type: length-delimited */

static void add(struct pd_buf *out, const void *data, size_t len)
{
    if (pd_buf_add(out, data, len, NULL) < 0)
        abort(); /* our own few texts */
}

static void add_varint(struct pd_buf *out, size_t value)
{
    unsigned char byte;

    do {
        byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        add(out, &byte, 1);
        value >>= 7;
    } while (value);
}

static void add_field(struct pd_buf *out, unsigned number, const void *data, size_t len)
{
    add_varint(out, number << 3 | WIRE_BYTES);
    add_varint(out, len);
    add(out, data, len);
}

static void add_text(struct pd_buf *out, unsigned number, const char *text)
{
    add_field(out, number, text, strlen(text));
}

/* `inner`, as a message in `out`; ends inner. */
static void add_message(struct pd_buf *out, unsigned number, struct pd_buf *inner)
{
    add_field(out, number, inner->data, inner->len);
    pd_buf_fini(inner);
}

static struct pd_buf message(void)
{
    struct pd_buf buf;

    pd_buf_init(&buf, PD_KUBE_OPENAPI_V2_BYTES_MAX);
    return buf;
}

/* ParametersItem { Parameter { NonBodyParameter { QueryParameterSubSchema } } } */
static struct pd_buf query_parameter(const char *name)
{
    struct pd_buf query = message(), non_body = message(), parameter = message(), item = message();

    add_text(&query, 2, "query");
    add_text(&query, 4, name);
    add_message(&non_body, 3, &query);
    add_message(&parameter, 2, &non_body);
    add_message(&item, 1, &parameter);
    return item;
}

/* NamedAny { name, Any { yaml } } */
static struct pd_buf kind_extension(const struct pd_kube_kind *kind)
{
    struct pd_buf any = message(), named = message();
    char yaml[TEXT_BYTES];

    snprintf(yaml, sizeof yaml, "group: %s\nkind: %s\nversion: %s\n", kind->group, kind->kind,
             kind->version);
    add_text(&any, 2, yaml);
    add_text(&named, 1, "x-kubernetes-group-version-kind");
    add_message(&named, 2, &any);
    return named;
}

/* NamedPathItem { name, PathItem { patch: Operation } } */
static struct pd_buf path_item(const struct pd_kube_kind *kind)
{
    static const char *const names[] = {"dryRun", "fieldManager", "fieldValidation"};
    struct pd_buf operation = message(), item = message(), named = message(), part;
    char path[TEXT_BYTES];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        part = query_parameter(names[i]);
        add_message(&operation, 8, &part);
    }
    part = kind_extension(kind);
    add_message(&operation, 13, &part);
    add_message(&item, 8, &operation);
    snprintf(path, sizeof path, "/apis/%s/namespaces/{namespace}/%s/{name}", kind->api_version,
             kind->plural);
    add_text(&named, 1, path);
    add_message(&named, 2, &item);
    return named;
}

void pd_kube_openapi_v2(const struct pd_kube_kinds *kinds, struct pd_buf *out)
{
    struct pd_buf info = message(), paths = message(), part;

    add_text(out, 1, "2.0");
    add_text(&info, 1, "paddock");
    add_text(&info, 2, PD_VERSION);
    add_message(out, 2, &info);
    for (size_t i = 0; i < PD_KUBE_KINDS; i++) {
        if (!kinds->list[i].writable)
            continue;
        part = path_item(&kinds->list[i]);
        add_message(&paths, 2, &part);
    }
    add_message(out, 8, &paths);
}
