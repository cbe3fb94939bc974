"""Histories of three replicas under kill -9 and outages, and the checker of them.

A long one:  PADDOCK_RUNS=5000 tests/e2e/run.py --file replica_history_test   (PADDOCK_SEED=n)
It also stops PostgreSQL for seconds at a time."""

import collections
import json
import os
import random
import re
import threading
import time
import unittest

from lib import postgres
from lib.cluster import Cluster
from lib.replica_history import Line, Row, Told, check
from lib.service import is_sanitized, manifest, wait_for
from records_test import everything, post, settled

PROGRAM = """import json, time
begin = time.monotonic_ns()
%s
print(json.dumps(["%s", begin, time.monotonic_ns()]))
"""


UNDER_WAY = 4  # executions of one client at once


class Planted(unittest.TestCase):
    """The checker catches what it is there for."""

    def setUp(self):
        self.story = dict(
            told=[Told("a", "ma", False), Told("b", "mb", True), Told("c", "mc", False)],
            rows=[Row("a", "done", "exited", "ma", "s1", 10, 20),
                  Row("b", "done", "exited", "mb", "s1", 20, 30),
                  Row("c", "done", "lost", None, None, None, None)],
            lines=[Line("r1", 0, "sent", "a", "s1"), Line("r1", 0, "over", "a", "s1"),
                   Line("r1", 0, "sent", "b", "s1"), Line("r1", 0, "over", "b", "s1"),
                   Line("r2", 0, "sent", "c", "s2")],
            engine={"s1": "r1"}, redis={"s1": "r1"}, pools=1, live={"r1", "r2"})

    def verdict(self, **changes):
        return " | ".join(check(**dict(self.story, **changes)))

    def test_a_good_one(self):
        self.assertEqual(self.verdict(), "")
        # Two records of one run that say the same, from two replicas.
        self.assertEqual(self.verdict(rows=self.story["rows"] * 2), "")
        # One that is safe may have run twice, also in two places.
        again = [Line("r2", 0, "sent", "b", "s2")]
        self.assertEqual(self.verdict(lines=again + self.story["lines"][:-1]), "")

    def test_planted_double_run(self):
        lines = self.story["lines"] + [Line("r2", 1, "sent", "a", "s3")]
        self.assertIn("ran 2 times: a", self.verdict(lines=lines))

    def test_planted_loss(self):
        self.assertIn("lost: a", self.verdict(rows=self.story["rows"][1:]))
        rows = [self.story["rows"][0]._replace(status="running")] + self.story["rows"][1:]
        self.assertIn("unfinished: a", self.verdict(rows=rows))

    def test_planted_second_outcome(self):
        rows = self.story["rows"] + [self.story["rows"][0]._replace(cause="lost")]
        self.assertIn("two outcomes: a", self.verdict(rows=rows))

    def test_planted_overlap(self):
        rows = [self.story["rows"][0]._replace(end=25)] + self.story["rows"][1:]
        self.assertIn("overlap: a and b in s1", self.verdict(rows=rows))

    def test_planted_claim(self):
        lines = [line for line in self.story["lines"] if (line.what, line.run) != ("over", "a")]
        self.assertIn("claimed twice: a", self.verdict(lines=lines))
        # After a kill -9 nobody says that it is over.
        lines[1] = lines[1]._replace(life=1)
        self.assertNotIn("claimed twice", self.verdict(lines=lines))

    def test_planted_second_owner(self):
        lines = self.story["lines"] + [Line("r2", 0, "sent", "c", "s1")]
        self.assertIn("two replicas: r1 and r2", self.verdict(lines=lines))

    def test_planted_leak(self):
        engine = {"s1": "r1", "s9": "dead"}
        verdict = self.verdict(engine=engine)
        self.assertIn("leaked: s9 of dead", verdict)
        self.assertIn("the engine has", verdict)
        self.assertIn("the replicas count 1 sandboxes, the engine 2", verdict)

    def test_planted_strangers(self):
        lines = self.story["lines"] + [Line("r1", 0, "sent", "x", "s1")]
        self.assertIn("nobody was told of x", self.verdict(lines=lines))
        rows = self.story["rows"] + [Row("y", "done", "exited", "my", "s1", 40, 41)]
        self.assertIn("nobody was told of y", self.verdict(rows=rows))
        rows = [self.story["rows"][0]._replace(marker="mb")] + self.story["rows"][1:]
        self.assertIn("another's answer: a", self.verdict(rows=rows))
        rows = [self.story["rows"][0]._replace(sandbox="s7")] + self.story["rows"][1:]
        self.assertIn("elsewhere: a", self.verdict(rows=rows))


class Traffic:
    """Clients, each of one replica, who post, repeat what was not acknowledged under the same
    key to the same replica, and remember. They end after `total` at least, when `enough` is
    set, or after ten times as many."""

    def __init__(self, replicas, total, seed, each=2):
        self.told, self.errors, self.begun = [], [], 0
        self.total, self.enough = total, False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(r, i * each + j, seed))
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
        while time.monotonic() < deadline:
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


class Histories(unittest.TestCase):
    def trouble(self, what, cluster, rng, postgres_server):
        """One of what may happen, and its end."""
        if what == "redis":
            cluster.redis.kill9()
            time.sleep(rng.uniform(0.1, 1.5))
            cluster.redis.start()
        elif what == "postgres":
            postgres_server.stop()
            time.sleep(rng.uniform(0.5, 4))
            postgres_server.start()
        else:
            victim = cluster.leader() if what == "leader" else None
            victim = victim or rng.choice(cluster.replicas)
            victim.kill9()
            # Now and then for so long that it is taken for dead, and collected.
            time.sleep(rng.choice((0, 0.2, 1, 1, 7.5) if self.is_long else (0, 0.2, 1)))
            victim.start()

    def history(self, cluster, total, troubles, seed, postgres_server=None):
        rng = random.Random(seed)
        cluster.wait_leader()
        traffic = Traffic(cluster.replicas, total, seed)
        kinds = ["leader", "any", "redis"] + ["postgres"] * bool(postgres_server)
        happened = [kinds[i % len(kinds)] for i in range(troubles)]
        rng.shuffle(happened)
        for what in happened:
            time.sleep(rng.uniform(0.3, 1.5))
            if not traffic.errors:
                self.trouble(what, cluster, rng, postgres_server)
        traffic.join()
        cluster.wait_leader()
        for replica in cluster.replicas:
            settled(replica, 240)
        world = World(cluster).settle(120)
        rows, lines = rows_of(cluster.replicas), lines_of(cluster.replicas)
        wrong = check(traffic.told, rows, lines, **world)
        self.assertEqual(wrong[:10], [], "%d wrong; seed %d" % (len(wrong), seed))
        causes = collections.Counter(row.cause for row in {row.id: row for row in rows}.values())
        print("     %d executions, %d sent, %d sandboxes; %s; %s" % (
            len(traffic.told), sum(line.what == "sent" for line in lines),
            len({line.sandbox for line in lines}),
            ", ".join("%d %s" % (n, w) for w, n in sorted(causes.items())),
            ", ".join("%d x %s" % (happened.count(w), w) for w in sorted(set(happened)))))
        self.assertGreater(causes["exited"], total // 2)

    def test_a_history_of_three_replicas(self):
        seed = int(os.environ.get("PADDOCK_SEED") or random.randrange(1 << 31))
        total = int(os.environ.get("PADDOCK_RUNS") or (40 if is_sanitized() else 120))
        self.is_long = "PADDOCK_RUNS" in os.environ
        print("     seed %d, %d executions" % (seed, total))
        config = manifest("default", minSize=3, maxSize=6, recycle="{afterRuns: 40}")
        server = postgres.Postgres(tcp=True).start() if self.is_long else None
        try:
            cluster = Cluster(3, config, args=("--log-level", "debug"),
                              env={"DATABASE_URL": server.url} if server else {})
            with cluster:
                self.history(cluster, total, total // 40 if self.is_long else 3, seed, server)
        finally:
            if server:
                server.__exit__()


if __name__ == "__main__":
    unittest.main()
