"""Pools made by the API among replicas: kept in Redis, shown alike by everyone, in one
order of resourceVersions; two replicas, a real Redis, the real engine, kubectl."""

import http.client
import json
import queue
import shutil
import socket
import threading
import time
import unittest

from lib.cluster import Cluster
from lib.kubectl import Kubectl
from lib.redis import Redis
from lib.service import IMAGE, KEY, Service, is_sanitized, manifest, short_form, wait_for

POOLS = "/apis/paddock.dev/v1/namespaces/default/sandboxpools"
SANDBOXES = "/apis/paddock.dev/v1/namespaces/default/sandboxes"
EVENTS = "/api/v1/namespaces/default/events"


def pool_of(service, name):
    answer = service.request("GET", POOLS + "/" + name, timeout=30)
    return answer.json if answer.status == 200 else None


def body(name, minimum=0, maximum=2, **metadata):
    return {"apiVersion": "paddock.dev/v1", "kind": "SandboxPool",
            "metadata": dict(metadata, name=name),
            "spec": {"image": IMAGE, "minSize": minimum, "maxSize": maximum}}


def create(service, name, minimum=0, maximum=2):
    """The pool as it was answered, once a replica may write at all."""
    def created():
        answer = service.request("POST", POOLS, body(name, minimum, maximum), timeout=30)
        return answer.json if answer.status == 201 else None
    created.__doc__ = "the pool %s, made at %s" % (name, service.instance)
    return wait_for(created, 60)


def patch(service, name, change, **headers):
    return service.request("PATCH", POOLS + "/" + name, change, timeout=30,
                           headers=dict({"Content-Type": "application/merge-patch+json"}, **headers))


def version_of(thing):
    return int(thing["metadata"]["resourceVersion"])


class Watch:
    """A watch by hand: its changes come into a queue, until it is closed."""

    def __init__(self, service, since, path=POOLS):
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=90)
        self.connection.request("GET", "%s?watch=1&resourceVersion=%s" % (path, since),
                                headers={"X-API-Key": KEY})
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.changes = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for line in self.answer:
                self.changes.put(json.loads(line))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass

    def until(self, wanted, timeout=60):
        """The changes up to the first that is wanted."""
        seen, end = [], time.monotonic() + timeout
        while True:
            try:
                seen.append(self.changes.get(timeout=max(0.01, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError("no such change; there were %s" % [
                    (c["type"], c["object"].get("metadata", {}).get("name"),
                     c["object"].get("message")) for c in seen])
            if wanted(seen[-1]):
                return seen

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # the reader has the rest
        except OSError:
            pass


def two(cluster):
    """The leader and the other one, both of which show what Redis has."""
    leader = cluster.wait_leader()
    return leader, [s for s in cluster.replicas if s is not leader][0]


def wait_everywhere(services, name, wanted=lambda pool: True, timeout=60):
    def everywhere():
        pools = [pool_of(service, name) for service in services]
        everywhere.__doc__ = "the pool %s as wanted everywhere; there is %s" % (name, pools)
        return all(pool and wanted(pool) for pool in pools)
    wait_for(everywhere, timeout)


def wait_nowhere(services, name, timeout=90):
    def nowhere():
        return all(s.request("GET", POOLS + "/" + name, timeout=30).status == 404 for s in services)
    nowhere.__doc__ = "no pool %s anywhere" % name
    wait_for(nowhere, timeout)


def running(services, name):
    return {c["Id"] for s in services for c in s.sandboxes(name, "running")}


class ReplicaPools(unittest.TestCase):
    @unittest.skipUnless(shutil.which("kubectl"), "there is no kubectl")
    def test_made_anywhere_it_outlives_everyone(self):
        with Cluster(2, short_form(0, 1)) as cluster:
            leader, follower = two(cluster)
            file = follower.dir + "/pool.yaml"
            with open(file, "w") as out:
                out.write(manifest("anywhere", minSize=2, maxSize=4))
            at_follower, at_leader = Kubectl(follower), Kubectl(leader)
            wait_for(lambda: at_follower.try_("apply", "-f", file).returncode == 0, 60)
            # Seen at once at the other one, the same object with the same sandboxes.
            at_leader("get", "sandboxpool", "anywhere")
            at_leader("wait", "--for=condition=Available", "--timeout=60s", "sandboxpool/anywhere")
            at_follower("wait", "--for=condition=Available", "--timeout=60s", "sandboxpool/anywhere")
            wait_for(lambda: len(running(cluster.replicas, "anywhere")) == 2, 60)
            made = pool_of(leader, "anywhere")
            same = ("uid", "generation", "creationTimestamp", "managedFields")
            for key in same:
                self.assertEqual(made["metadata"][key],
                                 pool_of(follower, "anywhere")["metadata"][key])
            # Status, events and sandboxes are of all replicas, at each of them.
            def alike():
                return all(
                    len([s for s in service.request("GET", SANDBOXES, timeout=30).json["items"]
                         if s["spec"]["pool"] == "anywhere" and s["status"]["phase"] == "Warm"]) == 2
                    and pool_of(service, "anywhere")["status"]["readyReplicas"] == 2
                    for service in cluster.replicas)
            alike.__doc__ = "two warm sandboxes, shown by each"
            wait_for(alike, 60)
            self.assertIn("ScaledUp", at_follower("describe", "sandboxpool", "anywhere"))
            # The leader dies, then everybody; what there was is adopted.
            cluster.kill(leader)
            cluster.wait_leader(leader)
            self.assertEqual(pool_of(follower, "anywhere")["metadata"]["uid"],
                             made["metadata"]["uid"])
            leader.start()
            wait_for(lambda: len(running(cluster.replicas, "anywhere")) == 2, 90)
            before = running(cluster.replicas, "anywhere")
            for service in cluster.replicas:
                cluster.kill(service)
            for service in cluster.replicas:
                service.start()
            wait_everywhere(cluster.replicas, "anywhere",
                            lambda pool: pool["metadata"]["uid"] == made["metadata"]["uid"])
            wait_for(lambda: len(running(cluster.replicas, "anywhere")) == 2, 90)
            self.assertTrue(before & running(cluster.replicas, "anywhere"), "none was adopted")
            # Stopped in good order, too: the pool comes back, and is changed and deleted
            # at whichever replica.
            for service in cluster.replicas:
                service.stop()
            for service in cluster.replicas:
                service.start()
            wait_everywhere(cluster.replicas, "anywhere")
            leader, follower = two(cluster)
            at_follower, at_leader = Kubectl(follower), Kubectl(leader)
            wait_for(lambda: at_leader.try_("scale", "--replicas=1",
                                            "sandboxpool/anywhere").returncode == 0, 60)
            self.assertEqual(pool_of(follower, "anywhere")["metadata"]["generation"], 2)
            wait_everywhere(cluster.replicas, "anywhere",
                            lambda pool: pool["status"].get("observedGeneration") == 2)
            at_follower("delete", "sandboxpool", "anywhere", "--timeout=80s")
            wait_nowhere(cluster.replicas, "anywhere")
            wait_for(lambda: not running(cluster.replicas, "anywhere"), 60)
            # Its name is free.
            create(follower, "anywhere")
            self.assertNotEqual(pool_of(leader, "anywhere")["metadata"]["uid"],
                                made["metadata"]["uid"])

    def test_of_two_writers_one_wins(self):
        with Cluster(2, short_form(0, 1)) as cluster:
            create(cluster.replicas[1], "raced")
            rounds, versions = (6 if is_sanitized() else 15), []
            for turn in range(rounds):
                was = pool_of(cluster.replicas[turn % 2], "raced")
                answers = [None, None]
                gate = threading.Barrier(2, timeout=30)

                def write(i, service):
                    gate.wait()
                    answers[i] = patch(service, "raced", {
                        "metadata": {"resourceVersion": was["metadata"]["resourceVersion"]},
                        "spec": {"maxSize": 3 + 2 * turn + i}})
                threads = [threading.Thread(target=write, args=(i, s), daemon=True)
                           for i, s in enumerate(cluster.replicas)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
                statuses = sorted(a.status for a in answers)
                if statuses == [409, 409]:
                    continue  # a status came in between: a version of its own
                self.assertEqual(statuses, [200, 409], answers)
                won = [i for i in range(2) if answers[i].status == 200][0]
                self.assertEqual(answers[1 - won].json["reason"], "Conflict")
                for service in cluster.replicas:
                    now = pool_of(service, "raced")
                    self.assertEqual(now["spec"]["maxSize"], 3 + 2 * turn + won)
                    self.assertGreaterEqual(version_of(now), version_of(answers[won].json))
                versions.append(version_of(answers[won].json))
            self.assertGreater(len(versions), rounds // 2, "nobody won")
            self.assertEqual(versions, sorted(set(versions)))
            # Without a version every change is made, one on top of the other.
            def label(service, i):
                for n in range(5):
                    done[i] += patch(service, "raced", {
                        "metadata": {"labels": {"l%d-%d" % (i, n): "x"}}}).status == 200
            done = [0, 0]
            threads = [threading.Thread(target=label, args=(s, i), daemon=True)
                       for i, s in enumerate(cluster.replicas)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(90)
            self.assertEqual(done, [5, 5])
            self.assertEqual(len(pool_of(cluster.replicas[0], "raced")["metadata"]["labels"]), 10)

    def test_one_order_for_everyone(self):
        with Cluster(2, short_form(0, 1)) as cluster:
            leader, follower = two(cluster)
            create(follower, "first")
            listed = leader.request("GET", POOLS, timeout=30).json
            # Begun at one with the version of the other.
            watch = Watch(follower, listed["metadata"]["resourceVersion"])
            try:
                create(leader, "second")
                changed = patch(leader, "second", {"spec": {"maxSize": 3}})
                self.assertEqual(changed.status, 200, changed)
                patch(follower, "first", {"metadata": {"labels": {"a": "b"}}})
                seen = watch.until(lambda c: c["object"]["metadata"].get("labels") == {"a": "b"})
                self.assertEqual([c["type"] for c in seen
                                  if c["object"]["metadata"]["name"] == "second"][0], "ADDED")
                self.assertIn(3, [c["object"]["spec"]["maxSize"] for c in seen
                                  if c["object"]["metadata"]["name"] == "second"])
                # A version of one that the other may not have heard of yet: what comes
                # after it comes, what was before does not.
                made = create(leader, "third")
                late = Watch(follower, version_of(made))
                try:
                    patch(leader, "third", {"metadata": {"labels": {"c": "d"}}})
                    after = late.until(lambda c: c["object"]["metadata"].get("labels") == {"c": "d"})
                    self.assertNotIn(("ADDED", "third"), [
                        (c["type"], c["object"]["metadata"]["name"]) for c in after])
                    self.assertTrue(all(version_of(c["object"]) > version_of(made) for c in after))
                finally:
                    late.close()
                # The leader dies: versions go on, and so does the watch.
                cluster.kill(leader)
                cluster.wait_leader(leader)
                self.assertEqual(follower.request("DELETE", POOLS + "/second", timeout=30).status,
                                 200)
                seen += watch.until(lambda c: c["type"] == "DELETED" and
                                    c["object"]["metadata"]["name"] == "second", 90)
                versions = [version_of(c["object"]) for c in seen]
                self.assertEqual(versions, sorted(versions))
                self.assertGreater(versions[0], int(listed["metadata"]["resourceVersion"]))
                # One from before all that is known, and one of nobody's.
                leader.start()
                wait_everywhere([leader], "third")
                for service, since in ((leader, listed["metadata"]["resourceVersion"]),
                                       (follower, str(version_of(made) * 2))):
                    gone = Watch(service, since)
                    self.assertEqual(gone.until(lambda c: True)[0]["object"].get("code"), 410)
                    gone.close()
            finally:
                watch.close()

    def test_redis_away_and_empty(self):
        with Cluster(2, short_form(0, 1)) as cluster:
            create(cluster.replicas[1], "kept", 2, 2)  # one each, and no room for more

            def one_each():
                return all(len(running([s], "kept")) == 1 for s in cluster.replicas)
            wait_for(one_each, 90)
            wait_everywhere(cluster.replicas, "kept",
                            lambda pool: pool["status"].get("readyReplicas") == 2)
            was, before = pool_of(cluster.replicas[0], "kept"), running(cluster.replicas, "kept")
            watch = Watch(cluster.replicas[1], version_of(was))
            try:
                cluster.redis.cli("FLUSHALL")
                # Nothing is deleted, nobody is told that anything was; it is written again.
                def there_again():
                    key = cluster.key("objects")
                    return cluster.redis.cli("--raw", "HEXISTS", key, "api/kept") == "1"
                wait_for(there_again, 60)
                wait_everywhere(cluster.replicas, "kept",
                                lambda pool: version_of(pool) > version_of(was))
                now = pool_of(cluster.replicas[1], "kept")
                self.assertEqual(now["metadata"]["uid"], was["metadata"]["uid"])
                self.assertEqual(now["spec"], was["spec"])
                self.assertNotIn("deletionTimestamp", now["metadata"])
                cluster.wait_leader()
                self.assertEqual(patch(cluster.replicas[0], "kept", {
                    "metadata": {"labels": {"after": "all"}}}).status, 200)
                seen = watch.until(lambda c: c["object"]["metadata"].get("labels"))
                self.assertNotIn("DELETED", [c["type"] for c in seen])
            finally:
                watch.close()
            self.assertEqual(running(cluster.replicas, "kept"), before)
            # Away: what is known is told, nothing is changed.
            cluster.redis.kill9()
            for service in cluster.replicas:
                def refused(service=service):
                    answer = patch(service, "kept", {"spec": {"maxSize": 9}})
                    return answer if answer.status == 503 else None
                answer = wait_for(refused, 60)
                self.assertGreater(int(answer.headers["Retry-After"]), 0)
                self.assertEqual(answer.json["kind"], "Status")
                self.assertEqual(answer.json["reason"], "ServiceUnavailable")
                self.assertIn("Redis", answer.json["message"])
                self.assertEqual(service.request("DELETE", POOLS + "/kept", timeout=30).status, 503)
                self.assertEqual(service.request("POST", POOLS, body("more"), timeout=30).status,
                                 503)
                self.assertEqual(pool_of(service, "kept")["spec"]["maxSize"], 2)
            # One that is started meanwhile knows of no such pool, and leaves it alone.
            cluster.kill(cluster.replicas[1])
            cluster.replicas[1].start()
            self.assertEqual(cluster.replicas[1].request("POST", POOLS, body("more"),
                                                         timeout=30).status, 503)
            time.sleep(5)
            self.assertEqual(running(cluster.replicas, "kept"), before)
            # Back, with its file: nothing was lost.
            cluster.redis.start()
            wait_for(lambda: patch(cluster.replicas[1], "kept",
                                   {"metadata": {"labels": {"after": "that"}}}).status == 200, 60)
            wait_everywhere(cluster.replicas, "kept",
                            lambda pool: pool["metadata"].get("labels") == {"after": "that"} and
                            pool["metadata"]["uid"] == was["metadata"]["uid"] and
                            pool["status"].get("readyReplicas") == 2)
            self.assertTrue(before & running(cluster.replicas, "kept"), "none was adopted")

    def test_what_one_process_kept_is_everybodys(self):
        with Redis("--appendonly", "yes") as redis:
            first, second = Service(short_form(0, 1)), Service(short_form(0, 1))
            try:
                first.start()
                made = create(first, "moved", 1, 2)
                first.wait_sandboxes(1, "moved")
                first.stop()
                for service in (first, second):
                    service.env["REDIS_URL"] = redis.url
                    service.start()
                wait_everywhere((first, second), "moved",
                                lambda pool: pool["metadata"]["uid"] == made["metadata"]["uid"])
                self.assertEqual(second.request("DELETE", POOLS + "/moved", timeout=30).status, 200)
                wait_nowhere((first, second), "moved")
                # It does not come back from the database.
                first.stop()
                first.start()
                wait_for(lambda: first.request("GET", POOLS, timeout=30).status == 200, 30)
                time.sleep(3)
                self.assertIsNone(pool_of(first, "moved"))
                # Whose it is counts at every replica.
                redis.cli("HSET", "paddock:pools", "of-redis", json.dumps(body("of-redis")))
                redis.cli("PUBLISH", "paddock:pools:changed", "of-redis")
                wait_everywhere((first, second), "of-redis")
                for service in (first, second):
                    answer = patch(service, "of-redis", {"spec": {"maxSize": 3}})
                    self.assertEqual(answer.status, 409, answer)
                    self.assertIn("belongs to redis", answer.json["message"])
            finally:
                for service in (first, second):
                    service.stop()
                    service.close()


if __name__ == "__main__":
    unittest.main()
