"""Checks the history of several replicas: what clients were told, what the records of
every replica and PostgreSQL say, what every replica's log says it sent into which sandbox,
what the programs themselves saw, and what the engine has must be one story. Pure:
replica_history_test.py plants faults to prove it."""

import collections

# What a client was told of one execution; `safe`: it may run again.
Told = collections.namedtuple("Told", "id marker safe")
# One row of the records. sandbox, begin and end are None where nothing came of it: begin and
# end are what the program itself read from the machine's monotonic clock.
Row = collections.namedtuple("Row", "id status cause marker sandbox begin end")
# One line of a replica's log: what is "sent" or "over".
Line = collections.namedtuple("Line", "replica life what run sandbox")


def _outcomes(told, rows, sent):
    wrong, by_id = [], {}
    for row in rows:
        if by_id.setdefault(row.id, row) != row:
            wrong.append("two outcomes: " + row.id)
    for item in told:
        row = by_id.get(item.id)
        if row is None:
            wrong.append("lost: %s was accepted and is not in the records" % item.id)
        elif row.status != "done":
            wrong.append("unfinished: " + item.id)
        elif row.cause not in ("exited", "lost", "canceled"):
            wrong.append("%s ended as %s" % (item.id, row.cause))
        elif row.cause == "exited" and not sent[item.id]:
            wrong.append("never ran: %s is said to have" % item.id)
        elif row.cause == "exited" and row.marker != item.marker:
            wrong.append("another's answer: %s has %s" % (item.id, row.marker))
        elif row.cause == "exited" and row.sandbox not in sent[item.id]:
            wrong.append("elsewhere: %s is said to have run in %s" % (item.id, row.sandbox))
        if len(sent[item.id]) > 1 and not item.safe:
            wrong.append("ran %d times: %s" % (len(sent[item.id]), item.id))
    known = {item.id for item in told}
    wrong += ["nobody was told of " + run for run in sent if run not in known]
    wrong += ["nobody was told of " + id for id in by_id if id not in known]
    if len(by_id) != len(known):
        wrong.append("%d rows, %d acknowledgements" % (len(by_id), len(known)))
    return wrong


def _owners(lines):
    """No sandbox has two replicas, and none has two runs at once by its owner's log. A run
    whose replica was killed is over with that life."""
    wrong, owner, inside = [], {}, {}
    for line in lines:
        if owner.setdefault(line.sandbox, line.replica) != line.replica:
            wrong.append("two replicas: %s and %s ran in %s"
                         % (owner[line.sandbox], line.replica, line.sandbox))
        now = inside.get(line.sandbox)
        if line.what == "over":
            if now and now.run == line.run:
                del inside[line.sandbox]
        elif now and now.life == line.life:
            wrong.append("claimed twice: %s was in %s when %s was sent"
                         % (now.run, line.sandbox, line.run))
        else:
            inside[line.sandbox] = line
    return wrong


def _overlaps(rows):
    """By the programs' own clocks."""
    wrong, by_sandbox = [], {}
    for row in {row.id: row for row in rows}.values():
        if row.sandbox and row.begin is not None:
            by_sandbox.setdefault(row.sandbox, []).append(row)
    for sandbox, inside in by_sandbox.items():
        inside.sort(key=lambda row: row.begin)
        for first, second in zip(inside, inside[1:]):
            if second.begin < first.end:
                wrong.append("overlap: %s and %s in %s" % (first.id, second.id, sandbox))
    return wrong


def _leaks(engine, redis, pools, live):
    """engine: {container: instance}; redis: {container's sandbox: instance}, pools: how many
    the replicas say there are in all, live: the instances that are alive."""
    wrong = ["leaked: %s of %s, which is dead" % (name, instance)
             for name, instance in engine.items() if instance not in live]
    if engine != redis:
        wrong.append("the engine has %s, Redis %s" % (sorted(engine.items()),
                                                      sorted(redis.items())))
    if pools != len(engine):
        wrong.append("the replicas count %d sandboxes, the engine %d" % (pools, len(engine)))
    return wrong


def _copies(rows, kept, shipped):
    """What is done is in the records of one replica at least, the same in all that have it,
    and in PostgreSQL once."""
    wrong, ends, held = [], {row.id: (row.status, row.cause) for row in rows}, set()
    for instance, copies in kept.items():
        for id, status, cause in copies:
            held.add(id)
            if id not in ends:
                wrong.append("%s has %s, which nobody knows" % (instance, id))
            elif (status, cause) != ends[id]:
                wrong.append("two outcomes: %s is %s in Redis and %s with %s"
                             % (id, ends[id], (status, cause), instance))
    wrong += ["no replica's records have " + id for id in ends if id not in held]
    if shipped is None:
        return wrong
    there = dict(shipped)
    if len(there) != len(shipped):
        wrong.append("PostgreSQL has %d rows of %d executions" % (len(shipped), len(there)))
    wrong += ["PostgreSQL does not have " + id for id in ends if id not in there]
    wrong += ["PostgreSQL has %s, which nobody knows" % id for id in there if id not in ends]
    wrong += ["two outcomes: %s is %s in Redis and %s in PostgreSQL" % (id, ends[id][1], cause)
              for id, cause in there.items() if id in ends and ends[id][1] != cause]
    return wrong


def check(told, rows, lines, engine, redis, pools, live, kept, shipped=None):
    """What is wrong, as sentences. lines: of each replica in the order of its log. kept:
    {instance: (id, status, cause) of its records}. shipped: (id, cause) of PostgreSQL's
    rows, or None."""
    sent = collections.defaultdict(list)
    for line in lines:
        if line.what == "sent":
            sent[line.run].append(line.sandbox)
    return (_outcomes(told, rows, sent) + _owners(lines) + _overlaps(rows) +
            _copies(rows, kept, shipped) + _leaks(engine, redis, pools, live))
