"""Several replicas on one real Redis and one engine: all serve, one leads, and
whoever is killed leaves nothing behind."""

import os
import signal
import time
import unittest

from lib.cluster import Cluster, Load
from lib.service import IMAGE, is_sanitized, manifest, short_form, wait_for


class Replicas(unittest.TestCase):
    def test_all_serve_one_leads(self):
        with Cluster(3, short_form(3, 6)) as cluster:
            cluster.wait_all_warm()
            for service in cluster.replicas:
                self.assertEqual(service.hello()["output"], "hello\n")
            leads = [s for s in cluster.replicas if "this replica leads" in s.log()]
            self.assertEqual(len(leads), 1)
            with Load(cluster.replicas) as load:
                most, end = 0, time.monotonic() + 4
                while time.monotonic() < end:
                    most = max(most, len(cluster.live()))
            self.assertFalse(load.bad)
            self.assertGreater(load.done, 10)
            self.assertLessEqual(most, 6)
            # What Redis says is what there is.
            def agrees():
                return int(cluster.redis.cli("HLEN", cluster.key("sandboxes"))) == len(cluster.live())
            wait_for(agrees, 30)

    def test_the_leader_is_killed(self):
        with Cluster(3, short_form(3, 6)) as cluster:
            cluster.wait_all_warm()
            old, token = cluster.wait_leader(), cluster.token()
            others = [s for s in cluster.replicas if s is not old]
            with Load(others) as load:
                cluster.kill(old)
                began = time.monotonic()
                new = cluster.wait_leader(old, 20)
                took = time.monotonic() - began
                self.assertLess(took, 8, "seconds without a leader")
                self.assertGreater(cluster.token(), token)
                self.assertIn(new, others)
                # What it left is collected; the others take over its share.
                wait_for(lambda: not old.containers(), 60)
                wait_for(lambda: len(cluster.live()) >= 3, 60)
            self.assertFalse(load.bad, "runs of others suffered")
            cluster.forget(old)

    def test_a_follower_is_killed_and_comes_back(self):
        with Cluster(2, short_form(2, 4)) as cluster:
            cluster.wait_all_warm()
            leader = cluster.wait_leader()
            follower = [s for s in cluster.replicas if s is not leader][0]
            before = {c["Id"] for c in follower.sandboxes(state="running")}
            follower.kill9()
            follower.start()  # before it is taken for dead: it adopts what it had
            follower.hello()
            self.assertTrue(before & {c["Id"] for c in follower.sandboxes(state="running")})
            follower.kill9()
            wait_for(lambda: not follower.containers(), 60)
            follower.start()
            cluster.wait_all_warm()
            follower.hello()

    def test_a_leader_that_stalls_steps_down(self):
        with Cluster(2, short_form(2, 2)) as cluster:
            cluster.wait_all_warm()
            old = cluster.wait_leader()
            old.process.send_signal(signal.SIGSTOP)
            try:
                new = cluster.wait_leader(old, 20)
                # It was not heard for so long that its sandboxes are collected.
                wait_for(lambda: not old.containers(), 60)
            finally:
                old.process.send_signal(signal.SIGCONT)
            new.hello()
            wait_for(lambda: "does not lead any more" in old.log(), 20)
            cluster.wait_all_warm()
            old.hello()
            self.assertIs(cluster.leader(), new)
            self.assertLessEqual(len(cluster.live()), 2)

    def test_redis_restarts_under_load(self):
        with Cluster(2, short_form(2, 6)) as cluster:
            cluster.wait_all_warm()
            with Load(cluster.replicas) as load:
                for _ in range(1 if is_sanitized() else 2):
                    time.sleep(1.5)
                    cluster.redis.kill9()
                    time.sleep(1)
                    cluster.redis.start()
                    cluster.wait_leader()
            self.assertFalse(load.bad)
            self.assertGreater(load.done, 10)
            self.assertLessEqual(len(cluster.live()), 6)

    def test_redis_is_away_and_comes_back_empty(self):
        away = 8 if is_sanitized() else 15
        # Nothing is recycled: what goes while Redis is away is not replaced.
        config = manifest("default", minSize=2, maxSize=2, recycle="{afterRuns: 1000000}")
        with Cluster(2, config) as cluster:
            cluster.wait_all_warm()
            before = {c for c in cluster.live()}
            with Load(cluster.replicas, 1) as load:
                cluster.redis.kill9()
                time.sleep(away)
                for name in os.listdir(cluster.redis.dir):
                    if name.startswith("appendonly"):
                        os.rename(os.path.join(cluster.redis.dir, name),
                                  os.path.join(cluster.redis.dir, "lost"))
                cluster.redis.start()
                cluster.wait_leader()
                time.sleep(8)  # longer than it takes to be thought dead
            self.assertFalse(load.bad)
            self.assertTrue(before & set(cluster.live()), "live replicas lost their sandboxes")
            def registered():
                return int(cluster.redis.cli("HLEN", cluster.key("sandboxes"))) == len(cluster.live())
            wait_for(registered, 30)
            self.assertLessEqual(len(cluster.live()), 2)

    def test_one_dies_while_redis_loses_its_data(self):
        """Nobody in Redis knows of it any more; those who live do."""
        with Cluster(3, short_form(3, 6)) as cluster:
            cluster.wait_all_warm()
            time.sleep(1.5)  # everyone has heard of everyone
            dead = cluster.replicas[1]
            foreign = dead.engine.create(IMAGE, {
                "paddock.dev/instance": "0123456789abcdef", "paddock.dev/pool": "default",
                "paddock.dev/sandbox": "somebody-elses"}, start=True)
            try:
                cluster.redis.kill9()
                cluster.kill(dead)
                self.assertTrue(dead.containers())
                for name in os.listdir(cluster.redis.dir):
                    if name.startswith("appendonly"):
                        os.rename(os.path.join(cluster.redis.dir, name),
                                  os.path.join(cluster.redis.dir, "lost"))
                cluster.redis.start()
                wait_for(lambda: not dead.containers(), 90)
                self.assertTrue(dead.engine.inspect(foreign)["State"]["Running"],
                                "a container that is not ours was stopped")
                for service in cluster.replicas:
                    if service is not dead:
                        service.hello()
            finally:
                dead.engine.remove(foreign)
            cluster.forget(dead)
