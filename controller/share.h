/* How a pool's size is shared out among replicas (docs/replicas.md). */
#ifndef PD_CONTROLLER_SHARE_H
#define PD_CONTROLLER_SHARE_H

/* What a pool says, or what of it one replica is to keep. */
struct pd_share {
    int min_size;
    int max_size;
    int target_idle;
};

/* Which one of how many live replicas: 0 <= index < count. */
struct pd_place {
    int index;
    int count;
};

/* What nobody else may take from it: its part of minSize, at least one sandbox
 * where targetIdle is not 0, as far as its part of maxSize goes. The floors of all
 * add up to maxSize at most. */
int pd_share_floor(const struct pd_share *pool, struct pd_place place);

/* own: sandboxes of the pool that it has. others: of every other replica, what it
 * has or its floor, whichever is more. All parts of minSize add up to minSize; what
 * one may have at most leaves the others what they have, and where that is too
 * much of all, everyone keeps an equal part of maxSize. */
struct pd_share pd_share_of(const struct pd_share *pool, struct pd_place place, int own,
                            int others);

#endif
