#include "api/guesses.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define PREFIX_BYTES 8 /* of an IPv6 address: what one customer is given */
#define TEXT_BYTES 64

static const unsigned char v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* A token bucket as the time when it will be full again (GCRA). */
struct account {
    struct pd_address address;
    struct pd_time full;
};

struct pd_guesses {
    struct account accounts[PD_GUESS_ADDRESSES];
    struct account rest;
};

struct pd_guesses *pd_guesses_new(void)
{
    return PD_NEW(struct pd_guesses);
}

void pd_guesses_free(struct pd_guesses *guesses)
{
    free(guesses);
}

static struct pd_address network_of(const struct pd_address *address)
{
    struct pd_address network = *address;

    if (memcmp(network.bytes, v4_prefix, sizeof v4_prefix) != 0)
        memset(network.bytes + PREFIX_BYTES, 0, sizeof network.bytes - PREFIX_BYTES);
    return network;
}

/* Its account, else one that has nothing to remember, else the one of the rest. */
static struct account *account_of(struct pd_guesses *guesses, const struct pd_address *address,
                                  struct pd_time now)
{
    const struct pd_address network = network_of(address);
    struct account *end = guesses->accounts + PD_GUESS_ADDRESSES;
    struct account *free_one = &guesses->rest;

    for (struct account *a = guesses->accounts; a < end; a++) {
        if (!pd_time_before(now, a->full))
            free_one = a;
        else if (memcmp(&a->address, &network, sizeof network) == 0)
            return a;
    }
    return free_one;
}

int64_t pd_guesses_wait_ms(const struct pd_guesses *guesses, const struct pd_address *address,
                           struct pd_time now)
{
    const struct account *account = account_of((struct pd_guesses *)guesses, address, now);
    int64_t owed;

    if (!pd_time_before(now, account->full))
        return 0;
    owed = pd_time_ms_between(now, account->full) - (PD_GUESSES_BURST - 1) * PD_GUESS_EVERY_MS;
    return owed > 0 ? owed : 0;
}

void pd_guesses_failed(struct pd_guesses *guesses, const struct pd_address *address,
                       struct pd_time now)
{
    struct account *account = account_of(guesses, address, now);

    if (!pd_time_before(now, account->full))
        account->full = now;
    account->address = network_of(address);
    account->full = pd_time_add_ms(account->full, PD_GUESS_EVERY_MS);
}

/* ---- X-Forwarded-For ---- */

static bool parse(const char *text, struct pd_address *ret)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, text, &v4) == 1) {
        memcpy(ret->bytes, v4_prefix, sizeof v4_prefix);
        memcpy(ret->bytes + sizeof v4_prefix, &v4, sizeof v4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    memcpy(ret->bytes, &v6, sizeof ret->bytes);
    return true;
}

bool pd_address_forwarded(const char *header, struct pd_address *ret)
{
    const char *comma = strrchr(header, ',');
    const char *start = comma ? comma + 1 : header;
    char text[TEXT_BYTES];
    bool bracket;
    size_t len;

    start += strspn(start, " \t");
    bracket = *start == '[';
    start += bracket;
    len = strcspn(start, bracket ? "]" : " \t");
    if (len == 0 || len >= sizeof text)
        return false;
    memcpy(text, start, len);
    text[len] = '\0';
    if (!bracket && strchr(text, '.') && strchr(text, ':') == strrchr(text, ':'))
        text[strcspn(text, ":")] = '\0'; /* 192.0.2.1:4711 */
    return parse(text, ret);
}
