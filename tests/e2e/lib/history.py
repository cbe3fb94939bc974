"""Checks a history: what clients were told, what the records say, and what the runs
themselves did must be one story. Pure; records_test.py plants faults to prove it."""


class Told:
    """What one client was told of one execution."""

    def __init__(self, id, marker, safe=False):
        self.id, self.marker, self.safe = id, marker, safe


def check(told, records, ran):
    """told: Told of every acknowledged execution. records: (id, status, cause) of every
    row. ran: {marker: times its program was sent to a sandbox}. Returns what is
    wrong, as sentences."""
    wrong = []
    rows = {}
    for id, status, cause in records:
        if id in rows:
            wrong.append("two outcomes: " + id)
        rows[id] = (status, cause)
    for item in told:
        if item.id not in rows:
            wrong.append("lost: %s was accepted and is not in the records" % item.id)
            continue
        status, cause = rows[item.id]
        times = ran.get(item.marker, 0)
        if status != "done":
            wrong.append("unfinished: " + item.id)
        elif cause == "exited" and times == 0:
            wrong.append("never ran: %s is said to have" % item.id)
        elif times > 1 and not item.safe:
            wrong.append("ran %d times: %s" % (times, item.id))
        elif cause not in ("exited", "lost", "canceled"):
            wrong.append("%s ended as %s" % (item.id, cause))
    markers = {item.marker for item in told}
    for marker, times in ran.items():
        if marker not in markers and times > 0:
            wrong.append("nobody was told of " + marker)
    return wrong
