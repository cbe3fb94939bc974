#include "cli/ledger_env.h"

#include <stdlib.h>
#include <string.h>

#include "cli/records_env.h"
#include "common/quantity.h"

static int parse_durability(const char *text, enum pd_ledger_durability *ret, struct pd_err *err)
{
    static const char *const names[] = {
        [PD_LEDGER_AOF] = "aof", [PD_LEDGER_FSYNC] = "fsync", [PD_LEDGER_RELAXED] = "relaxed"};

    *ret = PD_LEDGER_AOF;
    if (!text || !*text)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = (enum pd_ledger_durability)i;
            return 0;
        }
    }
    return pd_err_set(err, PD_INVALID,
                      "PADDOCK_REDIS_DURABILITY: must be aof, fsync or relaxed, got '%.40s'", text);
}

int pd_ledger_env(struct pd_ledger_redis_config *config, struct pd_err *err)
{
    const char *size = getenv("PADDOCK_REDIS_SIZE");

    config->size_bytes = PD_LEDGER_SIZE_DEFAULT_BYTES;
    if (parse_durability(getenv("PADDOCK_REDIS_DURABILITY"), &config->durability, err) < 0 ||
        pd_records_env_age("PADDOCK_REDIS_AGE", PD_LEDGER_AGE_DEFAULT_MS, &config->age_ms, err) < 0)
        return PD_INVALID;
    if (config->age_ms < 60000)
        return pd_err_set(err, PD_INVALID, "PADDOCK_REDIS_AGE: must be a minute or more");
    if (size && *size && pd_quantity_parse_bytes(size, &config->size_bytes, err) < 0)
        return pd_err_wrap(err, "PADDOCK_REDIS_SIZE");
    return 0;
}
