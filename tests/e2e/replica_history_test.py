"""Histories of three replicas under kill -9, outages and full disks, and the checker of them.

A long one:  PADDOCK_RUNS=5000 tests/e2e/run.py --file replica_history_test   (PADDOCK_SEED=n)
It also stops PostgreSQL for seconds at a time, and fills the disk of each part."""

import collections
import contextlib
import faulthandler
import os
import random
import subprocess
import time
import unittest

from lib import postgres
from lib.cluster import AOF, Cluster
from lib.full_disk import Disk
from lib.redis import Redis
from lib.replica_history import Line, Row, Told, check
from lib.replica_world import Traffic, World, kept_of, lines_of, rows_of, shipped_of
from lib.service import is_sanitized, manifest, wait_for
from records_test import settled

LONG = "PADDOCK_RUNS" in os.environ
STATE_MIB, REDIS_MIB, POSTGRES_MIB = 64, 64, 256
if LONG:
    STATE_MIB, REDIS_MIB, POSTGRES_MIB = 256, 1024, 512


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
            engine={"s1": "r1"}, redis={"s1": "r1"}, pools=1, live={"r1", "r2"},
            kept={"r1": [("a", "done", "exited"), ("b", "done", "exited")],
                  "r2": [("c", "done", "lost"), ("a", "done", "exited")]},
            shipped=[("a", "exited"), ("b", "exited"), ("c", "lost")])

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

    def test_planted_copies(self):
        """What a full disk could do: a row that reached Redis and no records, or other ones."""
        kept = self.story["kept"]
        verdict = self.verdict(kept={"r1": kept["r1"], "r2": []})
        self.assertIn("no replica's records have c", verdict)
        verdict = self.verdict(kept=dict(kept, r1=[("a", "done", "lost")] + kept["r1"][1:]))
        self.assertIn("two outcomes: a is ('done', 'exited') in Redis", verdict)
        verdict = self.verdict(kept=dict(kept, r1=kept["r1"] + [("x", "done", "exited")]))
        self.assertIn("r1 has x, which nobody knows", verdict)

    def test_planted_rows_of_postgres(self):
        shipped = self.story["shipped"]
        self.assertIn("PostgreSQL does not have a", self.verdict(shipped=shipped[1:]))
        self.assertIn("PostgreSQL has 4 rows of 3", self.verdict(shipped=shipped + shipped[:1]))
        self.assertIn("PostgreSQL has x", self.verdict(shipped=shipped + [("x", "exited")]))
        self.assertIn("c is lost in Redis and exited in PostgreSQL",
                      self.verdict(shipped=shipped[:2] + [("c", "exited")]))
        self.assertEqual(self.verdict(shipped=None), "")


class SmallDisks(Cluster):
    """Replicas whose state folders are each on a small disk, and a Redis on one."""

    def __init__(self, count, config, fsync="everysec", **more):
        self.disks, self.redis_disk = {}, Disk(REDIS_MIB)
        super().__init__(count, config, redis=Redis(
            "--appendonly", "yes", "--appendfsync", fsync, folder=self.redis_disk.path), **more)

    def prepare(self, service):
        self.disks[service] = Disk(STATE_MIB)
        service.state_dir = self.disks[service].path + "/state"

    def sweep(self):
        super().sweep()
        for disk in [*self.disks.values(), self.redis_disk]:
            disk.close()

    def takes_writes(self):
        """Redis to take writes"""
        return self.redis.cli("SET", "paddock-test", "x", check=False) == "OK"

    def refuses_writes(self):
        """Redis to refuse writes"""
        # appendfsync always: it ends by itself, since it cannot take back what it did.
        return self.redis.process.poll() is not None or "MISCONF" in self.redis.cli(
            "SET", "paddock-test", "x", check=False)

    def fill_redis(self, while_full):
        self.redis_disk.fill()
        wait_for(self.refuses_writes)
        while_full()
        self.redis_disk.free()
        if self.redis.process.poll() is not None:
            self.redis.start()
        wait_for(self.takes_writes)

    def fill_state(self, services, while_full):
        for service in services:
            self.disks[service].fill()
        while_full()
        for service in services:
            self.disks[service].free()


def fill_postgres(server, disk, while_full):
    disk.fill()
    while_full()
    disk.free()

    def answers():
        """PostgreSQL"""
        if server.process.poll() is not None:  # its log could not be written: it ends
            server.start()
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            return server.query("SELECT 1")
    wait_for(answers, 60)


class Histories(unittest.TestCase):
    def restart(self, cluster, rng, what="any"):
        victim = cluster.leader() if what == "leader" else None
        victim = victim or rng.choice(cluster.replicas)
        victim.kill9()
        # Now and then for so long that it is taken for dead, and collected.
        time.sleep(rng.choice((0, 0.2, 1, 1, 7.5) if LONG else (0, 0.2, 1)))
        return victim

    def while_full(self, cluster, rng):
        """Some seconds of a full disk, with a replica killed in them or not."""
        victim = self.restart(cluster, rng) if rng.random() < 0.5 else None
        time.sleep(rng.choice((0.5, 2, 9)))
        return victim

    def trouble(self, what, cluster, rng, server, server_disk):
        """One of what may happen, and its end."""
        victim = []

        def full():
            victim.append(self.while_full(cluster, rng))
        if what == "redis":
            cluster.redis.kill9()
            time.sleep(rng.uniform(0.1, 1.5))
            cluster.redis.start()
        elif what == "postgres":
            server.stop()
            time.sleep(rng.uniform(0.5, 4))
            server.start()
        elif what == "full redis":
            cluster.fill_redis(full)
        elif what == "full state":
            cluster.fill_state([rng.choice(cluster.replicas)], full)
        elif what == "full postgres":
            fill_postgres(server, server_disk, full)
        else:
            victim.append(self.restart(cluster, rng, what))
        for replica in filter(None, victim):
            replica.start()

    def judge(self, cluster, traffic, total, what, server=None):
        traffic.join()
        cluster.wait_leader()
        for replica in cluster.replicas:
            settled(replica, 240)
        world = World(cluster).settle(120)
        rows, lines = rows_of(cluster.replicas), lines_of(cluster.replicas)
        kept = kept_of(cluster.replicas)
        shipped = shipped_of(server, len(traffic.told)) if server else None
        wrong = check(traffic.told, rows, lines, kept=kept, shipped=shipped, **world)
        self.assertEqual(wrong[:10], [], "%d wrong" % len(wrong))
        causes = collections.Counter(row.cause for row in {row.id: row for row in rows}.values())
        print("     %d executions, %d sent, %d sandboxes; %s; %s" % (
            len(traffic.told), sum(line.what == "sent" for line in lines),
            len({line.sandbox for line in lines}),
            ", ".join("%d %s" % (n, w) for w, n in sorted(causes.items())), what))
        self.assertGreater(causes["exited"], total // 2)
        return causes

    def history(self, cluster, total, happens, seed, server=None, server_disk=None):
        rng = random.Random(seed)
        cluster.wait_leader()
        traffic = Traffic(cluster.replicas, total, seed)
        try:
            rng.shuffle(happens)
            for what in happens:
                time.sleep(rng.uniform(0.3, 1.5))
                if not traffic.errors:
                    self.trouble(what, cluster, rng, server, server_disk)
        except BaseException:
            traffic.give_up()
            raise
        self.judge(cluster, traffic, total, ", ".join(
            "%d x %s" % (n, w) for w, n in sorted(collections.Counter(happens).items())), server)

    @staticmethod
    def begin(total):
        """(its seed, how many executions)"""
        seed = int(os.environ.get("PADDOCK_SEED") or random.randrange(1 << 31))
        total = int(os.environ.get("PADDOCK_RUNS") or total)
        print("     seed %d, %d executions" % (seed, total))
        if LONG:  # not stuck after minutes
            faulthandler.dump_traceback_later(600 + 2 * total, exit=True)
        return seed, total

    config = manifest("default", minSize=3, maxSize=6, recycle="{afterRuns: 40}")

    def test_a_history_of_three_replicas(self):
        seed, total = self.begin(40 if is_sanitized() else 120)
        if LONG:
            self.long_history(seed, total)
            return
        with Cluster(3, self.config, args=("--log-level", "debug")) as cluster:
            self.history(cluster, total, ["leader", "any", "redis"], seed)

    def long_history(self, seed, total):
        kinds = ["leader", "any", "redis", "postgres", "full state", "full redis", "full postgres"]
        with Disk(POSTGRES_MIB) as disk, postgres.Postgres(tcp=True, folder=disk.path) as server:
            fsync = "everysec" if seed % 2 else "always"
            with SmallDisks(3, self.config, fsync, args=("--log-level", "debug"),
                            env={"DATABASE_URL": server.url}) as cluster:
                happens = [kinds[i % len(kinds)] for i in range(max(len(kinds), total // 40))]
                self.history(cluster, total, happens, seed, server, disk)

    def test_full_disks(self):
        """Nobody is killed, so nothing may be lost: not even by replicas that were not heard
        for as long as the dead are not."""
        seed, total = self.begin(30 if is_sanitized() else 60)
        with SmallDisks(3, self.config, args=("--log-level", "debug")) as cluster:
            cluster.wait_leader()
            traffic = Traffic(cluster.replicas, total, seed)
            try:
                cluster.fill_state(cluster.replicas, lambda: time.sleep(2))
                cluster.fill_redis(lambda: time.sleep(9))
            except BaseException:
                traffic.give_up()
                raise
            causes = self.judge(cluster, traffic, total, "each disk full")
            self.assertEqual(set(causes), {"exited"})


if __name__ == "__main__":
    unittest.main()
