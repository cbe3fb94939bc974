#include "api/kube_selector.h"

#include <ctype.h>
#include <string.h>

#include "common/mem.h"

/* What is left of the text. */
struct scan {
    const char *at;
};

static void skip_space(struct scan *scan)
{
    while (*scan->at == ' ')
        scan->at++;
}

static bool take(struct scan *scan, const char *text)
{
    size_t len = strlen(text);

    skip_space(scan);
    if (strncmp(scan->at, text, len) != 0)
        return false;
    scan->at += len;
    return true;
}

/* A word, followed by what cannot belong to one. */
static bool take_word(struct scan *scan, const char *text)
{
    size_t len = strlen(text);

    skip_space(scan);
    if (strncmp(scan->at, text, len) != 0 || (scan->at[len] != ' ' && scan->at[len] != '('))
        return false;
    scan->at += len;
    return true;
}

static bool is_key_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-' || c == '/';
}

/* NULL where there is none. */
static char *take_token(struct scan *scan, bool may_be_empty)
{
    size_t len = 0;

    skip_space(scan);
    while (is_key_char(scan->at[len]))
        len++;
    if (len == 0 && !may_be_empty)
        return NULL;
    scan->at += len;
    return pd_strndup(scan->at - len, len);
}

static int wrong(const struct scan *scan, struct pd_err *err)
{
    return pd_err_set(err, PD_INVALID, "unable to parse the selector at '%.40s'", scan->at);
}

static int take_set(struct scan *scan, struct pd_kube_term *term, struct pd_err *err)
{
    if (!take(scan, "("))
        return wrong(scan, err);
    do {
        if (term->n_values == PD_KUBE_SELECTOR_VALUES_MAX)
            return pd_err_set(err, PD_LIMIT, "more than %d values in a selector",
                              PD_KUBE_SELECTOR_VALUES_MAX);
        term->values[term->n_values++] = take_token(scan, true);
    } while (take(scan, ","));
    return take(scan, ")") ? 0 : wrong(scan, err);
}

static int take_operator(struct scan *scan, struct pd_kube_term *term, struct pd_err *err)
{
    if (take_word(scan, "in")) {
        term->op = PD_KUBE_IN;
        return take_set(scan, term, err);
    }
    if (take_word(scan, "notin")) {
        term->op = PD_KUBE_NOT_IN;
        return take_set(scan, term, err);
    }
    if (take(scan, "!="))
        term->op = PD_KUBE_NOT_IN;
    else if (take(scan, "==") || take(scan, "="))
        term->op = PD_KUBE_IN;
    else
        term->op = PD_KUBE_EXISTS;
    if (term->op != PD_KUBE_EXISTS)
        term->values[term->n_values++] = take_token(scan, true);
    return 0;
}

static int take_label_term(struct scan *scan, struct pd_kube_term *term, struct pd_err *err)
{
    bool negated = take(scan, "!");

    term->key = take_token(scan, false);
    if (!term->key)
        return wrong(scan, err);
    if (!negated)
        return take_operator(scan, term, err);
    term->op = PD_KUBE_NOT_EXISTS;
    return 0;
}

/* A value of a field may have any character but a comma; a backslash takes away
 * what the next one means. */
static char *take_field_value(struct scan *scan)
{
    char *value = pd_calloc(strlen(scan->at) + 1, 1);
    size_t len = 0;

    for (; *scan->at && *scan->at != ','; scan->at++) {
        if (*scan->at == '\\' && scan->at[1])
            scan->at++;
        value[len++] = *scan->at;
    }
    return value;
}

static int take_field_term(struct scan *scan, struct pd_kube_term *term, struct pd_err *err)
{
    term->key = take_token(scan, false);
    if (!term->key)
        return wrong(scan, err);
    if (take(scan, "!="))
        term->op = PD_KUBE_NOT_IN;
    else if (take(scan, "==") || take(scan, "="))
        term->op = PD_KUBE_IN;
    else
        return wrong(scan, err);
    term->values[term->n_values++] = take_field_value(scan);
    return 0;
}

static int parse(const char *text, struct pd_kube_selector *ret,
                 int (*take_term)(struct scan *scan, struct pd_kube_term *term, struct pd_err *err),
                 struct pd_err *err)
{
    struct scan scan = {text};

    *ret = (struct pd_kube_selector){.count = 0};
    skip_space(&scan);
    while (*scan.at) {
        int rc;
        if (ret->count == PD_KUBE_SELECTOR_TERMS_MAX)
            return pd_err_set(err, PD_LIMIT, "more than %d terms in a selector",
                              PD_KUBE_SELECTOR_TERMS_MAX);
        rc = take_term(&scan, &ret->terms[ret->count++], err);
        if (rc < 0)
            return rc;
        skip_space(&scan);
        if (*scan.at && !take(&scan, ","))
            return wrong(&scan, err);
    }
    return 0;
}

int pd_kube_labels_parse(const char *text, struct pd_kube_selector *ret, struct pd_err *err)
{
    return parse(text, ret, take_label_term, err);
}

int pd_kube_fields_parse(const char *text, struct pd_kube_selector *ret, struct pd_err *err)
{
    return parse(text, ret, take_field_term, err);
}

void pd_kube_selector_fini(struct pd_kube_selector *selector)
{
    for (size_t i = 0; i < selector->count; i++) {
        free(selector->terms[i].key);
        for (size_t j = 0; j < selector->terms[i].n_values; j++)
            free(selector->terms[i].values[j]);
    }
    *selector = (struct pd_kube_selector){.count = 0};
}

/* ---- matching ---- */

/* value NULL: there is none. */
static bool term_holds(const struct pd_kube_term *term, const char *value)
{
    bool listed = false;

    for (size_t i = 0; value && i < term->n_values; i++)
        listed = listed || strcmp(term->values[i], value) == 0;
    switch (term->op) {
    case PD_KUBE_IN:
        return listed;
    case PD_KUBE_NOT_IN:
        return !listed;
    case PD_KUBE_EXISTS:
        return value != NULL;
    case PD_KUBE_NOT_EXISTS:
        return value == NULL;
    }
    return false;
}

static const char *text_of(const struct pd_node *node)
{
    return node && node->kind == PD_NODE_STRING ? node->string.text : NULL;
}

bool pd_kube_labels_match(const struct pd_kube_selector *selector, const struct pd_node *object)
{
    const struct pd_node *labels = pd_node_at(object, "metadata", "labels", NULL);

    for (size_t i = 0; i < selector->count; i++) {
        if (!term_holds(&selector->terms[i], text_of(pd_node_get(labels, selector->terms[i].key))))
            return false;
    }
    return true;
}

static const struct pd_node *field_at(const struct pd_node *object, const char *path)
{
    const struct pd_node *node = object;

    while (node && *path) {
        size_t len = strcspn(path, ".");
        pd_autofree char *key = pd_strndup(path, len);
        node = pd_node_get(node, key);
        path += len + (path[len] == '.');
    }
    return node;
}

bool pd_kube_fields_match(const struct pd_kube_selector *selector, const struct pd_node *object)
{
    for (size_t i = 0; i < selector->count; i++) {
        const char *value = text_of(field_at(object, selector->terms[i].key));
        if (!term_holds(&selector->terms[i], value ? value : ""))
            return false;
    }
    return true;
}
