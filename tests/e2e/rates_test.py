"""A key's rate and concurrency over several replicas on one real Redis: so much in all, however
the requests arrive, and whatever becomes of a replica or of Redis."""

import http.client
import os
import re
import shutil
import signal
import threading
import time
import unittest

from keys_test import key
from lib.cluster import Cluster
from lib.service import PATIENCE, is_sanitized, short_form, wait_for

# A request that is let in, and then refused for its body: it costs a run of the rate, and no
# sandbox.
EMPTY = ("POST", "/execute", "{}")
LET_IN, REFUSED = 422, 429
# How much more than burst and rate may be let in: what a clock that is read here and not at
# Redis makes of it, and a run that was on its way.
SLACK = 3


class Rates(Cluster):
    """Replicas that have the same keys."""

    def key(self, *args):
        first = self.replicas[0]
        text, said = key(first, "new", *args)
        name = said.split()[-1] + ".json"
        for other in self.replicas[1:]:
            folder = os.path.join(other.state_dir, "keys.d")
            draft = os.path.join(folder, name + ".draft")
            shutil.copy(os.path.join(first.state_dir, "keys.d", name), draft)
            os.rename(draft, os.path.join(folder, name))
        for service in self.replicas:
            def known(service=service):
                return service.request("GET", "/languages",
                                       headers={"X-API-Key": text}).status == 200
            wait_for(known)
        return text

    def wait_divided(self, count):
        """Until all know how many they are: what is divided is divided among so many."""
        def counted():
            return int(self.redis.cli("ZCOUNT", "paddock:x:seen", "1", "+inf")) == count
        wait_for(counted, 60)
        time.sleep(2.5)  # two heartbeats


class Hammer:
    """One caller of each of some replicas, who asks again and again."""

    def __init__(self, services, text):
        self.count = {LET_IN: 0, REFUSED: 0}
        self.other, self.headers = [], []
        self.at = {service: 0 for service in services}  # let in, by replica
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(service, text), daemon=True)
                        for service in services]

    def run(self, service, text):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        headers = {"X-API-Key": text, "Content-Type": "application/json"}
        while not self.over.is_set():
            try:
                connection.request(*EMPTY, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as problem:
                with self.lock:
                    self.other.append(repr(problem))
                return
            with self.lock:
                if answer.status in self.count:
                    self.count[answer.status] += 1
                    self.at[service] += answer.status == LET_IN
                else:
                    self.other.append(answer.status)
                self.headers.append((answer.headers["RateLimit-Policy"],
                                     answer.headers["RateLimit"], answer.headers["Retry-After"]))

    def __enter__(self):
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads)
        self.took = time.monotonic() - self.began

    @property
    def let_in(self):
        with self.lock:
            return self.count[LET_IN]


def once(service, text):
    return service.request(*EMPTY, headers={"X-API-Key": text, "Content-Type": "application/json"})


def questions(cluster):
    total = 0
    for service in cluster.replicas:
        figures = service.request("GET", "/metrics").body.decode()
        total += int(float(re.search(r"^paddock_rate_questions_total (\S+)", figures, re.M)[1]))
    return total


class OneBucket(unittest.TestCase):
    def holds(self, hammer, limit, seconds, spent=0):
        """No more than the burst and the rate; and no less than nine tenths of them."""
        self.assertFalse(hammer.other[:3])
        most = limit - spent + hammer.took * limit / seconds
        self.assertLessEqual(hammer.let_in, most + SLACK)
        self.assertGreaterEqual(hammer.let_in, 0.9 * most - 1)

    def test_evenly_and_at_one(self):
        seconds = 3 * PATIENCE
        with Rates(3, short_form(1, 1)) as cluster:
            cluster.wait_divided(3)
            text = cluster.key("--rate", "600/m")
            before = questions(cluster)
            with Hammer(cluster.replicas, text) as hammer:
                time.sleep(seconds)
            self.holds(hammer, 600, 60)
            # Each has something of it, and tells of the whole.
            for service in cluster.replicas:
                self.assertGreater(hammer.at[service], 20, hammer.at.values())
            for policy, left, after in hammer.headers:
                self.assertEqual(policy, '"runs";q=600;w=60')
                self.assertLessEqual(int(re.search(r"r=(\d+)", left)[1]), 599)
                self.assertIn(after, (None, "1"))
            # Few questions for many requests.
            asked, requests = questions(cluster) - before, sum(hammer.count.values())
            print("rates: %d requests, %d let in, %d questions to Redis"
                  % (requests, hammer.let_in, asked))
            self.assertLess(asked * (1.5 if is_sanitized() else 3), requests)
            # All at one: it has the whole, not a third.
            text = cluster.key("--rate", "600/m")
            with Hammer(cluster.replicas[:1] * 3, text) as hammer:
                time.sleep(seconds)
            self.holds(hammer, 600, 60)
            # Then another has no burst of its own.
            answers = [once(cluster.replicas[2], text).status for _ in range(20)]
            self.assertLess(answers.count(LET_IN), 20)

    def test_few_are_exact(self):
        with Rates(3, short_form(1, 1)) as cluster:
            text = cluster.key("--rate", "5/h")
            statuses = [once(cluster.replicas[i % 3], text).status for i in range(9)]
            self.assertEqual(sorted(statuses), [LET_IN] * 5 + [REFUSED] * 4)
            refused = once(cluster.replicas[1], text)
            self.assertEqual(refused.status, REFUSED)
            self.assertEqual(refused.headers["RateLimit-Policy"], '"runs";q=5;w=3600')
            self.assertTrue(600 <= int(refused.headers["Retry-After"]) <= 720, refused.headers)
            # A batch takes one for each of its executions.
            text = cluster.key("--rate", "5/h")
            wait_for(lambda: cluster.replicas[0].request(
                "POST", "/executions", [{"code": "print(%d)" % i} for i in range(5)],
                {"X-API-Key": text}).status == 202)
            def spent():
                return once(cluster.replicas[1], text).status == REFUSED
            wait_for(spent)
            self.assertEqual(once(cluster.replicas[2], text).status, REFUSED)

    def test_what_waits_for_redis_comes_whole(self):
        """The first request of a key at a replica waits for Redis's answer, with its body."""
        with Rates(1, short_form(1, 1)) as cluster:
            cluster.wait_all_warm()
            service, = cluster.replicas
            for size in (10, 70000, 600000):
                text = cluster.key("--rate", "600/m")
                answer = service.request("POST", "/execute",
                                         {"code": "#%s\nprint(%d)" % ("x" * size, size)},
                                         {"X-API-Key": text})
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer.json["output"], "%d\n" % size)
                self.assertTrue(answer.headers["RateLimit"].startswith('"runs";r=599;'),
                                answer.headers["RateLimit"])
            # As events, too.
            text = cluster.key("--rate", "600/m")
            events = service.request("POST", "/execute", {"code": "print('seen')"},
                                     {"X-API-Key": text, "Accept": "text/event-stream"})
            self.assertEqual(events.status, 200, events)
            self.assertIn(b"seen", events.body)

    def test_a_replica_is_killed(self):
        with Rates(3, short_form(1, 1)) as cluster:
            cluster.wait_divided(3)
            text = cluster.key("--rate", "600/m")
            victim, others = cluster.replicas[2], cluster.replicas[:2]
            with Hammer([victim], text) as first:
                time.sleep(0.05)
                victim.process.send_signal(signal.SIGKILL)
                time.sleep(0.2)
            # What it held is a part of the bucket: the others do not starve of it.
            with Hammer(others, text) as hammer:
                wait_for(lambda: hammer.count[REFUSED] > 20, 60)
            most = 600 + (hammer.took + 3) * 10
            self.assertFalse(hammer.other[:3])
            self.assertLessEqual(hammer.let_in, most + SLACK)
            self.assertGreaterEqual(first.let_in + hammer.let_in, 0.6 * 600)
            cluster.kill(victim)
            wait_for(lambda: not victim.containers(), 60)
            cluster.forget(victim)

    def test_redis_restarts_and_freezes(self):
        with Rates(2, short_form(1, 1)) as cluster:
            cluster.wait_divided(2)
            text = cluster.key("--rate", "60/m")
            with Hammer(cluster.replicas, text) as hammer:
                time.sleep(1 * PATIENCE)
                cluster.redis.kill9()
                time.sleep(1.5 * PATIENCE)
                before = hammer.let_in
                time.sleep(1.5 * PATIENCE)
                # Neither closed nor without bound: their parts go on.
                between = hammer.let_in - before
                cluster.redis.start()
                time.sleep(2 * PATIENCE)
            self.assertFalse(hammer.other[:3])
            self.assertGreater(between, 0)
            # With Redis (perhaps twice the burst, where it has lost what it had) and without.
            self.assertLessEqual(hammer.let_in, 2 * 60 + hammer.took + SLACK)
            def shared():
                once(cluster.replicas[0], text)
                return '"runs";q=60;w=60' == once(cluster.replicas[0], text).headers["RateLimit-Policy"]
            wait_for(shared, 60)
            # One that hangs keeps nobody waiting.
            other = cluster.key("--rate", "60/m")
            cluster.redis.freeze()
            try:
                began = time.monotonic()
                answer = once(cluster.replicas[1], other)
                self.assertEqual(answer.status, LET_IN)
                self.assertEqual(answer.headers["RateLimit-Policy"], '"runs";q=30;w=60')
                self.assertLess(time.monotonic() - began, 5 * PATIENCE)
            finally:
                cluster.redis.freeze(False)
            def whole():
                return '"runs";q=60;w=60' == once(cluster.replicas[1], other).headers["RateLimit-Policy"]
            wait_for(whole, 60)

    def test_redis_cannot_write(self):
        """Without memory (-OOM) it goes on; read-only (a replica of another) is as if away."""
        with Rates(1, short_form(1, 1)) as cluster:
            cluster.wait_all_warm()
            service, = cluster.replicas
            text = cluster.key("--rate", "60/m")
            self.assertEqual(once(service, text).status, LET_IN)
            cluster.redis.cli("CONFIG", "SET", "maxmemory", "1")
            answers = [once(service, text) for _ in range(40)]
            self.assertEqual({a.status for a in answers}, {LET_IN})
            cluster.redis.cli("CONFIG", "SET", "maxmemory", "0")
            cluster.redis.cli("SCRIPT", "FLUSH")  # NOSCRIPT: they are sent again
            other = cluster.key("--rate", "60/m")
            self.assertEqual(once(service, other).status, LET_IN)
            cluster.redis.cli("REPLICAOF", "127.0.0.1", "1")
            last = cluster.key("--rate", "60/m")
            self.assertEqual(once(service, last).status, LET_IN)
            self.assertIn("paddock_rates_shared 0",
                          service.request("GET", "/metrics").body.decode())
            cluster.redis.cli("REPLICAOF", "NO", "ONE")
            def shared():
                once(service, last)
                return "paddock_rates_shared 1" in service.request("GET", "/metrics").body.decode()
            wait_for(shared, 60)


SLEEP = "import time; b = time.time(); time.sleep(%s); print(b, time.time())"


class Runs:
    """Runs of one key, each in a thread of its own: when they began and ended."""

    def __init__(self, text):
        self.text, self.threads, self.spans, self.bad = text, [], [], []

    def start(self, service, count=1, seconds=0.5):
        def run():
            try:
                answer = service.request("POST", "/execute",
                                         {"code": SLEEP % seconds, "timeout": 60},
                                         {"X-API-Key": self.text})
                if answer.status == 200:
                    self.spans.append((service, *map(float, answer.json["output"].split())))
                else:
                    self.bad.append(answer)
            except (OSError, http.client.HTTPException) as problem:
                self.bad.append(problem)
        for _ in range(count):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            self.threads.append(thread)

    def join(self):
        for thread in self.threads:
            thread.join(120 * PATIENCE)
        assert not any(thread.is_alive() for thread in self.threads)
        return self

    def most(self):
        """How many were under way at a time."""
        ends = sorted([(b, 1) for _, b, e in self.spans] + [(e, -1) for _, b, e in self.spans])
        now = most = 0
        for _, step in ends:
            now += step
            most = max(most, now)
        return most


class OneConcurrency(unittest.TestCase):
    def test_everywhere_and_at_one(self):
        with Rates(2, short_form(6, 6)) as cluster:
            cluster.wait_all_warm(3)
            text = cluster.key("--concurrency", "3")
            a, b = cluster.replicas
            at_one = Runs(text)
            at_one.start(a, 9)
            at_one.join()
            self.assertFalse(at_one.bad)
            self.assertEqual(at_one.most(), 3, "its whole concurrency, where it asks one alone")
            both = Runs(text)
            for service in (a, b) * 6:
                both.start(service)
            both.join()
            self.assertFalse(both.bad)
            self.assertLessEqual(both.most(), 3)
            # One place, and replicas that both want it: each has it in turn.
            text = cluster.key("--concurrency", "1")
            turns = Runs(text)
            turns.start(a, 10, 0.1)
            turns.start(b, 10, 0.1)
            turns.join()
            self.assertFalse(turns.bad)
            self.assertEqual(turns.most(), 1)
            order = [service for service, begin, _ in sorted(turns.spans, key=lambda s: s[1])]
            self.assertGreater(len({id(service) for service in order[:15]}), 1)

    def test_one_has_all_and_is_killed(self):
        with Rates(2, short_form(6, 6)) as cluster:
            cluster.wait_all_warm(3)
            text = cluster.key("--concurrency", "2")
            a, b = cluster.replicas
            long = Runs(text)
            long.start(a, 2, 50)
            def held():
                keys = cluster.redis.cli("--raw", "KEYS", "paddock:x:slots:*").split()
                return any(value.startswith("2 2 ")
                           for key in keys for value in cluster.redis.cli("--raw", "HVALS", key)
                           .splitlines())
            wait_for(held, 30)
            waits = Runs(text)
            waits.start(b, 1, 0.1)
            time.sleep(1)
            self.assertFalse(waits.spans, "more ran than the key may have")
            cluster.kill(a)
            waits.join()
            self.assertFalse(waits.bad)
            self.assertEqual(len(waits.spans), 1)
            wait_for(lambda: not a.containers(), 60)
            cluster.forget(a)

    def test_redis_is_away(self):
        with Rates(2, short_form(6, 6)) as cluster:
            cluster.wait_all_warm(3)
            cluster.wait_divided(2)
            text, limited = cluster.key("--concurrency", "2"), cluster.key("--rate", "100/m")
            for service in cluster.replicas:  # so that they know their parts
                once(service, limited)
            cluster.redis.kill9()
            away = Runs(text)
            for service in cluster.replicas:
                away.start(service, 3, 0.3)
            away.join()
            self.assertFalse(away.bad)
            self.assertLessEqual(away.most(), 2)
            cluster.redis.start()
            def whole():
                """both places at one replica"""
                again = Runs(text)
                again.start(cluster.replicas[0], 2, 0.5)
                return again.join().most() == 2
            wait_for(whole, 60)


if __name__ == "__main__":
    unittest.main()
