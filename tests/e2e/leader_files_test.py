"""Among replicas the files of the one that leads count: the others have its pools, a
change of leader converges, and only a removal deletes."""

import time
import unittest

from lib.cluster import Cluster
from lib.service import manifest, wait_for

POOLS = "/apis/paddock.dev/v1/namespaces/default/sandboxpools"


def pools_of(service):
    answer = service.request("GET", POOLS)
    return {item["metadata"]["name"]: item for item in answer.json["items"]} \
        if answer.status == 200 else {}


def pool(name, minimum=0, maximum=2):
    return manifest(name, minSize=minimum, maxSize=maximum)


class LeaderFiles(unittest.TestCase):
    def agree(self, services, names, **spec):
        """All have these pools, one identity each, with this in the spec of the first."""
        def same():
            seen = [pools_of(service) for service in services]
            if any(sorted(pools) != sorted(names) for pools in seen):
                return False
            if any(pools[names[0]]["spec"][key] != value
                   for pools in seen for key, value in spec.items()):
                return False
            return all(len({(p[name]["metadata"]["uid"], p[name]["metadata"]["generation"])
                            for p in seen}) == 1 for name in names)
        same.__doc__ = "the same pools everywhere: %s %s; there are %s" % (
            names, spec, [sorted(pools_of(s)) for s in services])
        wait_for(same, 40)

    def test_the_leaders_files_count(self):
        with Cluster(0, "") as cluster:
            first = cluster.add(config=pool("shared"), pools={"a": pool("only-first")})
            cluster.wait_leader()
            self.agree([first], ["shared", "only-first"])
            second = cluster.add(config=pool("shared", 0, 3), pools={"b": pool("only-second")})
            both = [first, second]
            self.agree(both, ["shared", "only-first"], maxSize=2)
            wait_for(lambda: "its files count" in second.log(), 40)
            uid = pools_of(first)["shared"]["metadata"]["uid"]
            # What a follower's own files say changes nothing, now and later.
            second.write_pool("c", pool("more-of-second"))
            # The leader's change is everybody's, with a generation.
            first.write_config(pool("shared", 0, 4))
            self.agree(both, ["shared", "only-first"], maxSize=4)
            self.assertEqual(pools_of(second)["shared"]["metadata"]["generation"], 2)
            # Owned by files, at every replica.
            answer = second.request("PUT", POOLS + "/shared", {
                "apiVersion": "paddock.dev/v1", "kind": "SandboxPool",
                "metadata": {"name": "shared"}, "spec": {"image": "python:3.11-slim"}})
            self.assertEqual(answer.status, 409, answer)
            # Taken away by the leader: gone everywhere.
            first.write_pool("d", pool("comes-and-goes"))
            self.agree(both, ["shared", "only-first", "comes-and-goes"])
            first.remove_pool("d")
            self.agree(both, ["shared", "only-first"])
            # Another leader, with other files. It keeps what nobody took away.
            cluster.kill(first)
            cluster.wait_leader(first)
            self.agree([second], ["shared", "only-first", "only-second", "more-of-second"],
                       maxSize=3)
            self.assertEqual(pools_of(second)["shared"]["metadata"]["uid"], uid)
            wait_for(lambda: "earlier leader" in
                     pools_of(second)["only-first"]["status"].get("sourceError", ""), 40)
            # The first one comes back, and follows.
            first.start()
            self.agree(both, ["shared", "only-first", "only-second", "more-of-second"], maxSize=3)
            # Declared and taken away again, an orphan goes.
            second.write_pool("e", pool("only-first"))
            wait_for(lambda: "sourceError" not in pools_of(second)["only-first"]["status"], 30)
            second.remove_pool("e")
            self.agree(both, ["shared", "only-second", "more-of-second"])

    def test_an_emptied_redis_deletes_nothing(self):
        with Cluster(0, "") as cluster:
            first = cluster.add(config=pool("one"), pools={"a": pool("two")})
            cluster.wait_leader()
            second = cluster.add(config=pool("other"))
            both = [first, second]
            self.agree(both, ["one", "two"])
            uids = [pools_of(first)[name]["metadata"]["uid"] for name in ("one", "two")]
            cluster.redis.cli("FLUSHALL")
            cluster.wait_leader()
            time.sleep(3)
            self.agree(both, ["one", "two"] if cluster.leader() is first
                       else ["one", "two", "other"])
            self.assertEqual(uids, [pools_of(second)[name]["metadata"]["uid"]
                                    for name in ("one", "two")])


if __name__ == "__main__":
    unittest.main()
