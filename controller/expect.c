#include "controller/expect.h"

#include <stdlib.h>

#include "common/mem.h"
#include "common/strmap.h"

/* All expectations live equally long, so a list in the order of their making is
 * also in the order of their ending. */
struct entry {
    char *id;
    enum pd_expectation what;
    struct pd_time expires;
    struct entry *older;
    struct entry *newer;
};

struct pd_expect {
    struct pd_strmap entries;
    struct entry *oldest;
    struct entry *newest;
};

struct pd_expect *pd_expect_new(void)
{
    return PD_NEW(struct pd_expect);
}

static void entry_unlink(struct pd_expect *expect, struct entry *entry)
{
    *(entry->older ? &entry->older->newer : &expect->oldest) = entry->newer;
    *(entry->newer ? &entry->newer->older : &expect->newest) = entry->older;
}

static void entry_append(struct pd_expect *expect, struct entry *entry)
{
    entry->older = expect->newest;
    entry->newer = NULL;
    *(expect->newest ? &expect->newest->newer : &expect->oldest) = entry;
    expect->newest = entry;
}

static void entry_free(struct pd_expect *expect, struct entry *entry)
{
    entry_unlink(expect, entry);
    pd_strmap_remove(&expect->entries, entry->id);
    free(entry->id);
    free(entry);
}

void pd_expect_free(struct pd_expect *expect)
{
    if (!expect)
        return;
    while (expect->oldest)
        entry_free(expect, expect->oldest);
    pd_strmap_fini(&expect->entries);
    free(expect);
}

void pd_expect_set(struct pd_expect *expect, const char *id, enum pd_expectation what,
                   struct pd_time now)
{
    struct entry *entry = pd_strmap_get(&expect->entries, id);

    if (entry) {
        entry_unlink(expect, entry);
    } else {
        entry = PD_NEW(struct entry);
        entry->id = pd_strdup(id);
        pd_strmap_add(&expect->entries, entry->id, entry);
    }
    entry->what = what;
    entry->expires = pd_time_add_ms(now, PD_EXPECT_TTL_MS);
    entry_append(expect, entry);
}

bool pd_expect_is_pending(const struct pd_expect *expect, const char *id, enum pd_expectation what,
                          struct pd_time now)
{
    const struct entry *entry = pd_strmap_get(&expect->entries, id);

    return entry && entry->what == what && pd_time_before(now, entry->expires);
}

void pd_expect_met(struct pd_expect *expect, const char *id, enum pd_expectation what)
{
    struct entry *entry = pd_strmap_get(&expect->entries, id);

    if (entry && entry->what == what)
        entry_free(expect, entry);
}

void pd_expect_prune(struct pd_expect *expect, struct pd_time now)
{
    while (expect->oldest && !pd_time_before(now, expect->oldest->expires))
        entry_free(expect, expect->oldest);
}

size_t pd_expect_count(const struct pd_expect *expect)
{
    return expect->entries.count;
}
