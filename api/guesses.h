/* Logins that failed, counted by address, so that keys cannot be tried without end.
 *
 * An address may fail PD_GUESSES_BURST times at once, then once every
 * PD_GUESS_EVERY_MS: who mistyped, or shares an address with somebody who guesses,
 * waits no longer than that. PD_GUESS_ADDRESSES are told apart; when all of them have
 * failed lately, the rest share one account, which bounds guesses from any number of
 * addresses. An IPv6 address is its /64. Pure: time is what the caller says it is. */
#ifndef PD_API_GUESSES_H
#define PD_API_GUESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/time.h"

#define PD_GUESSES_BURST 10
#define PD_GUESS_EVERY_MS INT64_C(6000)
#define PD_GUESS_ADDRESSES 256

/* IPv6 in network order; IPv4 mapped (RFC 4291, 2.5.5.2); all zero: unknown. */
struct pd_address {
    unsigned char bytes[16];
};

struct pd_guesses;

struct pd_guesses *pd_guesses_new(void);
void pd_guesses_free(struct pd_guesses *guesses); /* NULL is fine */

/* 0: it may try. Otherwise in so many milliseconds (at most PD_GUESS_EVERY_MS). */
int64_t pd_guesses_wait_ms(const struct pd_guesses *guesses, const struct pd_address *address,
                           struct pd_time now);
/* It has tried, in vain. */
void pd_guesses_failed(struct pd_guesses *guesses, const struct pd_address *address,
                       struct pd_time now);

/* The last address in an X-Forwarded-For (the one that the nearest proxy has added),
 * with or without port and brackets. False when that is none; *ret is untouched then. */
bool pd_address_forwarded(const char *header, struct pd_address *ret);

#endif
