"""What the controller promises of a pool's size, against the real engine."""

import threading
import time
import unittest

from lib.service import Service, is_sanitized, manifest, short_form, wait_for


class Sampler:
    """The largest number of sandboxes that ever existed at once (any state)."""

    def __init__(self, service, pool=None):
        self.most, self._stop = 0, threading.Event()

        def sample():
            while not self._stop.is_set():
                self.most = max(self.most, len(service.sandboxes(pool)))
        self._thread = threading.Thread(target=sample, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)


def in_parallel(count, call):
    results = [None] * count

    def work(i):
        try:
            results[i] = call(i)
        except Exception as problem:  # handed to the test
            results[i] = problem
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Pool(unittest.TestCase):
    def test_min_size_is_kept_warm(self):
        with Service(short_form(3, 5)) as service:
            service.wait_sandboxes(3)
            time.sleep(1)
            self.assertEqual(len(service.sandboxes()), 3)

    def test_container_is_closed_as_promised(self):
        with Service(short_form(1, 1)) as service:
            sandbox = service.wait_sandboxes(1)[0]
            seen = service.engine.inspect(sandbox["Id"])
            host = seen["HostConfig"]
            self.assertEqual(host["NetworkMode"], "none")
            self.assertTrue(host["ReadonlyRootfs"])
            self.assertEqual(host["CapDrop"], ["ALL"])
            self.assertFalse(host["CapAdd"])
            self.assertFalse(host["Privileged"])
            self.assertGreater(host["PidsLimit"], 0)
            self.assertGreater(host["Memory"], 0)
            self.assertEqual(host["MemorySwap"], host["Memory"])
            self.assertEqual(host["LogConfig"]["Type"], "none")
            options = " ".join(host["SecurityOpt"])
            self.assertIn("no-new-privileges", options)
            self.assertIn("seccomp=", options)
            self.assertNotIn("unconfined", options)
            self.assertNotIn(seen["Config"]["User"].split(":")[0], ("", "0", "root"))
            self.assertFalse([m for m in seen["Mounts"] if m["RW"]], "a writable mount")

    def test_max_size_is_never_exceeded(self):
        with Service(short_form(1, 3)) as service:
            service.wait_sandboxes(1)
            with Sampler(service) as sampler:
                answers = in_parallel(12, lambda _: service.execute(
                    "import time; time.sleep(1.0); print('done')"))
            for answer in answers:
                self.assertIsInstance(answer, dict, answer)
                self.assertEqual(answer["output"], "done\n")
            self.assertLessEqual(sampler.most, 3)
            self.assertEqual(sampler.most, 3, "the pool did not grow with demand")

    def test_max_size_holds_while_containers_die(self):
        with Service(short_form(2, 3)) as service:
            service.wait_sandboxes(2)
            with Sampler(service) as sampler:
                for _ in range(6):
                    for sandbox in service.sandboxes(state="running")[:2]:
                        service.engine.kill(sandbox["Id"])
                    time.sleep(0.5)
                service.wait_sandboxes(2)
            self.assertLessEqual(sampler.most, 3)
            service.hello()

    def test_shrinks_after_demand(self):
        pool = manifest("small", minSize=1, maxSize=4, scaleDownAfter="2s", targetIdle=0)
        with Service(short_form(0, 1), pools={"small": pool}) as service:
            service.wait_sandboxes(1, "small")
            in_parallel(4, lambda _: service.execute("import time; time.sleep(3)", pool="small"))
            self.assertGreater(len(service.sandboxes("small")), 1)
            service.wait_sandboxes(1, "small", timeout=60)
            service.execute("print(1)", pool="small")

    def test_killed_container_is_being_replaced_at_once(self):
        """From the engine's own clock: the container's end to its replacement's create."""
        with Service(short_form(2, 4)) as service:
            service.wait_sandboxes(2)
            waits = []
            with service.engine.events(service.instance) as events:
                for _ in range(5):
                    victim = service.wait_sandboxes(2)[0]["Id"]
                    time.sleep(0.5)  # let the pool come to rest
                    service.engine.kill(victim)
                    died = events.wait(lambda e: e[1] == "die" and e[2] == victim)
                    made = events.wait(lambda e: e[1] == "create")
                    waits.append((made[0] - died[0]) / 1e6)
                    wait_for(lambda: len(service.sandboxes(state="running")) == 2)
            print("     die to create, ms: " + ", ".join("%.1f" % w for w in waits))
            self.assertLess(sorted(waits)[2], 400 if is_sanitized() else 100)

    def test_pools_follow_their_files(self):
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            service.write_pool("extra", manifest("extra", minSize=2, maxSize=2))
            service.wait_sandboxes(2, "extra")
            service.write_pool("extra", manifest("extra", minSize="no number"))
            wait_for(lambda: "spec.minSize" in service.log())
            time.sleep(0.5)
            self.assertEqual(len(service.sandboxes("extra")), 2, "a broken manifest changed the pool")
            service.write_pool("extra", manifest("extra", minSize=1, maxSize=2, scaleDownAfter="1s"))
            service.wait_sandboxes(1, "extra")
            service.remove_pool("extra")
            service.wait_sandboxes(0, "extra")
            self.assertEqual(len(service.sandboxes("default")), 1)

    def test_sighup_reads_again(self):
        import signal
        with Service(short_form(1, 3)) as service:
            service.wait_sandboxes(1)
            service.write_config(short_form(2, 3))
            service.process.send_signal(signal.SIGHUP)
            service.wait_sandboxes(2)


class FirstRequest(unittest.TestCase):
    def test_min_size_zero_waits_for_the_container(self):
        node = manifest("node", image='"node:20-slim"', languages="[javascript]", minSize=0,
                        maxSize=2)
        with Service(short_form(1, 2), pools={"node": node}) as service:
            service.wait_sandboxes(1, "default")
            self.assertEqual(service.sandboxes("node"), [])
            service.execute("console.log(1)", "javascript", pool="node")
            self.assertGreaterEqual(len(service.sandboxes("node")), 1)


class Languages(unittest.TestCase):
    def test_shipped_configuration_serves_three(self):
        """conf/ as it is shipped, apart from its place."""
        import os
        from lib.service import ROOT
        with open(os.path.join(ROOT, "conf", "default.yaml")) as file:
            config = file.read()
        with open(os.path.join(ROOT, "conf", "pools.d", "node.yaml")) as file:
            node = file.read()
        with Service(config, pools={"node": node}) as service:
            for language in ("python", "bash", "javascript"):
                service.hello(language)
            listed = service.request("GET", "/languages").body.decode()
            for language in ("python", "bash", "javascript"):
                self.assertIn('"%s"' % language, listed)


if __name__ == "__main__":
    unittest.main()
