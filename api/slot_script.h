/* The places of a key's concurrency in Redis, and the script that gives them out.
 *
 *   paddock:x:slots:KEY  hash: REPLICA ("HELD WANTED HAD UNTIL": places that it has, or runs
 *                        more than they; places it could use; when it had one last; until when
 *                        it counts; both in microseconds, by Redis's clock)
 *   paddock:x:slots      channel: a KEY of which places have become free that others want
 *
 * Everybody gets what he wants as far as it goes round: all the same number, but for those
 * who want fewer; the rest, one each, to those who had none for longest. What is held is
 * never taken away: its holder asks again, and is told of fewer. */
#ifndef PD_API_SLOT_SCRIPT_H
#define PD_API_SLOT_SCRIPT_H

#define PD_SLOT_SCRIPT_ARGS 6
#define PD_SLOT_CHANNEL "paddock:x:slots"

/* key, replica, the key's concurrency, places that may be in use until the answer, wanted,
 * life in ms. {places, 1: others want more than they have, else 0}. */
extern const char pd_slot_lua[];

#endif
