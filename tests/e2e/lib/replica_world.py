"""Clients of several replicas, and what can be seen of a history afterwards."""

import collections
import contextlib
import json
import random
import re
import sqlite3
import threading
import time

from lib.replica_history import Line, Row, Told
from lib.service import wait_for
from records_test import everything, post

PROGRAM = """import json, time
begin = time.monotonic_ns()
%s
print(json.dumps(["%s", begin, time.monotonic_ns()]))
"""


UNDER_WAY = 4  # executions of one client at once


class Traffic:
    """Clients, each of one replica, who post, repeat what was not acknowledged under the same
    key to the same replica, and remember. They end after `total` at least, when `enough` is
    set, or after ten times as many."""

    def __init__(self, replicas, total, seed, each=2):
        self.told, self.errors, self.begun = [], [], 0
        self.total, self.enough = total, False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(r, i * each + j, seed),
                                         daemon=True)
                        for i, r in enumerate(replicas) for j in range(each)]
        for thread in self.threads:
            thread.start()

    def client(self, replica, number, seed):
        rng = random.Random(seed * 1000 + number)
        mine = collections.deque()
        for count in range(1 << 30):
            with self.lock:
                if self.errors or (self.enough and self.begun >= self.total) or \
                        self.begun >= 10 * self.total:
                    return
                self.begun += 1
            marker, safe = "m%d-%d" % (number, count), rng.random() < 0.3
            work = "time.sleep(%.3f)" % rng.choice((0, 0, 0, 0.01, 0.1, 0.5))
            id = self.tell(replica, {"code": PROGRAM % (work, marker), "retry_safe": safe},
                           marker, safe)
            if not id:
                return
            mine.append(id)
            if len(mine) > UNDER_WAY:
                self.await_end(replica, mine.popleft())

    @staticmethod
    def await_end(replica, id):
        """So that the line does not grow without end; what became of it is judged later."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if replica.request("GET", "/executions/" + id).json.get("status") == "done":
                    return
            except Exception:
                pass  # killed meanwhile
            time.sleep(0.05)

    def tell(self, replica, body, marker, safe):
        deadline, last = time.monotonic() + 180, None
        while time.monotonic() < deadline and not self.errors:
            try:
                answer = post(replica, body, Idempotency_Key=marker)
                if answer.status == 202:
                    with self.lock:
                        self.told.append(Told(answer.json["id"], marker, safe))
                    return answer.json["id"]
                if answer.status not in (404, 429, 503):
                    self.errors.append(answer)
                    return None
                last = answer
            except Exception as error:  # it was killed in the middle of whatever it was doing
                last = error
            time.sleep(0.05)
        self.errors.append("no acknowledgement of %s: %r" % (marker, last))
        return None

    def give_up(self):
        """The test has failed: nobody waits for the clients' last answers."""
        self.errors.append("given up")

    def join(self):
        self.enough = True
        for thread in self.threads:
            thread.join()
        assert not self.errors, self.errors[:3]


def rows_of(replicas):
    rows = []
    for replica in replicas:
        for item in everything(replica):
            marker = begin = end = sandbox = None
            if item.get("cause") == "exited":
                full = replica.request("GET", "/executions/" + item["id"]).json
                sandbox = full.get("sandbox") or item.get("sandbox")
                marker, begin, end = json.loads(full["result"]["output"])
            rows.append(Row(item["id"], item["status"], item.get("cause"), marker, sandbox,
                            begin, end))
    return rows


def lines_of(replicas):
    lines = []
    for replica in replicas:
        life = 0
        for line in replica.log().splitlines():
            if "msg=serving " in line:
                life += 1
            found = re.search(r'msg="run (sent|over)" run=(\S+) id=(\S+)', line)
            if found:
                lines.append(Line(replica.instance, life, *found.groups()))
    return lines


def counted(replicas):
    """Sandboxes by what every replica says that it has itself."""
    names = set()
    for replica in replicas:
        answer = replica.request("GET", "/apis/paddock.dev/v1/namespaces/default/sandboxes")
        if answer.status != 200:
            return -1
        names |= {item["metadata"]["name"] for item in answer.json["items"]
                  if item["status"].get("phase") != "Dead"}
    return len(names)


class World:
    """What the engine, Redis and the replicas have, once they agree; else as it is."""

    def __init__(self, cluster):
        self.cluster = cluster

    def look(self):
        cluster = self.cluster
        engine = {}
        for instance in cluster.instances:
            for container in cluster.replicas[0].engine.containers(instance):
                name = container["Labels"].get("paddock.dev/sandbox")
                if name:
                    engine[name] = instance
        words = cluster.redis.cli("--raw", "HGETALL", cluster.key("sandboxes")).split("\n")
        redis = {words[i]: words[i + 1].split()[0] for i in range(0, len(words) - 1, 2)}
        return dict(engine=engine, redis=redis, pools=counted(cluster.replicas),
                    live={r.instance for r in cluster.replicas})

    def settle(self, timeout):
        end = time.monotonic() + timeout
        while True:
            seen = self.look()
            if (seen["engine"] == seen["redis"] and len(seen["engine"]) == seen["pools"]) or \
                    time.monotonic() > end:
                return seen
            time.sleep(0.3)


def kept_of(replicas, timeout=60):
    """{instance: (id, status, cause) of each row in the records of its state folder}, once
    everything that is done in Redis has been copied to somebody's."""
    def look(replica):
        with contextlib.closing(sqlite3.connect(
                "file:%s/paddock.db?mode=ro" % replica.state_dir, uri=True, timeout=30)) as db:
            return [(id, "done" if state == 2 else "unfinished", cause) for id, state, cause in
                    db.execute("SELECT id, state, cause FROM executions")]

    end = time.monotonic() + timeout
    while True:
        kept = {replica.instance: look(replica) for replica in replicas}
        wanted = {item["id"] for item in everything(replicas[0])}
        if wanted <= {row[0] for rows in kept.values() for row in rows} or time.monotonic() > end:
            return kept
        time.sleep(0.3)


def shipped_of(server, count, timeout=120):
    """(id, cause) of each row in PostgreSQL, once there are so many."""
    def caught_up():
        """every row in PostgreSQL"""
        return int(server.query("SELECT count(*) FROM paddock.executions")[0][0]) >= count

    with contextlib.suppress(AssertionError):  # then the checker says what is missing
        wait_for(caught_up, timeout, 0.3)
    return [tuple(row) for row in server.query("SELECT id, cause FROM paddock.executions")]
