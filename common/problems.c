#include "common/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

#define SHOWN_CHARS 40
#define NAME_MAX_NEAR 48 /* bytes of a name that is worth a suggestion */

void pd_problems_add(struct pd_problems *problems, const char *path, int line, const char *fmt, ...)
{
    struct pd_problem *problem;
    va_list ap;

    if (problems->count == PD_PROBLEMS_MAX) {
        problems->dropped++;
        return;
    }
    problem = &problems->items[problems->count++];
    pd_strcpy(problem->path, sizeof problem->path, path);
    problem->line = line;
    va_start(ap, fmt);
    vsnprintf(problem->text, sizeof problem->text, fmt, ap);
    va_end(ap);
}

const char *pd_problem_format(const struct pd_problem *problem, char *out, size_t out_bytes)
{
    char line[32] = "";

    if (problem->line)
        snprintf(line, sizeof line, " (line %d)", problem->line);
    snprintf(out, out_bytes, "%s%s%s%s", problem->path, *problem->path ? ": " : "", problem->text,
             line);
    return out;
}

int pd_problems_err(const struct pd_problems *problems, struct pd_err *err)
{
    char all[PD_ERR_MSG_MAX] = "";
    size_t used = 0;

    if (problems->count == 0)
        return 0;
    for (size_t i = 0; i < problems->count; i++) {
        char one[PD_ERR_MSG_MAX];
        size_t need = strlen(pd_problem_format(&problems->items[i], one, sizeof one));
        if (i > 0 && used + need + 32 > sizeof all) {
            snprintf(all + used, sizeof all - used, "; and %zu more",
                     problems->count - i + problems->dropped);
            break;
        }
        if (i > 0) {
            pd_strcpy(all + used, sizeof all - used, "; ");
            used += strlen(all + used);
        }
        pd_strcpy(all + used, sizeof all - used, one);
        used += strlen(all + used);
    }
    return pd_err_set(err, PD_INVALID, "%s", all);
}

const char *pd_shown(const char *text, size_t len, char out[static PD_SHOWN_BYTES])
{
    size_t used = 0, chars = 0;

    for (size_t i = 0; i < len;) {
        bool ok;
        size_t step = pd_utf8_next(text + i, len - i, &ok);
        if (chars++ == SHOWN_CHARS) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (!ok || (unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            out[used++] = '?';
        } else {
            memcpy(out + used, text + i, step);
            used += step;
        }
        i += step;
    }
    out[used] = '\0';
    return out;
}

/* How many insertions, deletions, replacements and swaps of neighbours turn a
 * into b (optimal string alignment), capitals not counting. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][NAME_MAX_NEAR + 1];

    for (unsigned j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *up = rows[(i - 1) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned differ = (a[i - 1] | 0x20) != (b[j - 1] | 0x20);
            row[j] = up[j - 1] + differ;
            if (up[j] + 1 < row[j])
                row[j] = up[j] + 1;
            if (row[j - 1] + 1 < row[j])
                row[j] = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < row[j])
                row[j] = up2[j - 2] + 1;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *pd_nearest(const char *given, const char *const *names, size_t count)
{
    size_t len = strnlen(given, NAME_MAX_NEAR + 1);
    unsigned best = (unsigned)(len < 2 ? 1 : len < 4 ? 2 : len / 3 + 1); /* that far is too far */
    const char *nearest = NULL;

    if (len == 0 || len > NAME_MAX_NEAR)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t name_len = strlen(names[i]);
        unsigned far;
        if (name_len > NAME_MAX_NEAR)
            continue;
        far = distance(given, len, names[i], name_len);
        if (far < best) {
            best = far;
            nearest = names[i];
        }
    }
    return nearest;
}
