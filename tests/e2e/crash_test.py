"""kill -9 of the service at random instants: what is left is adopted or collected,
nothing leaks, and what is not ours is never touched."""

import random
import threading
import time
import unittest

from lib.service import IMAGE, Service, short_form, wait_for


class Crash(unittest.TestCase):
    def test_idle_sandboxes_are_adopted(self):
        with Service(short_form(2, 3)) as service:
            before = {c["Id"] for c in service.wait_sandboxes(2)}
            service.hello()
            time.sleep(1)
            service.kill9()
            self.assertEqual({c["Id"] for c in service.sandboxes(state="running")}, before)
            service.start()
            service.hello()
            after = {c["Id"] for c in service.wait_sandboxes(2)}
            # The one that was used may go; one that never ran is kept.
            self.assertTrue(after & before, "no sandbox was adopted")

    def test_run_under_way_dies_with_its_service(self):
        with Service(short_form(1, 1)) as service:
            service.wait_sandboxes(1)
            caller = threading.Thread(target=lambda: self._lost(service), daemon=True)
            caller.start()
            time.sleep(1)
            service.kill9()
            caller.join(10)
            service.start()
            service.hello()

    @staticmethod
    def _lost(service):
        try:
            service.execute("import time; time.sleep(60)")
        except Exception:
            pass

    def test_kill_at_random_instants(self):
        seed = random.randrange(1 << 32)
        print("     seed %d" % seed)
        rng = random.Random(seed)
        service = Service(short_form(2, 4))
        foreign = [
            service.engine.create(IMAGE, {}, start=True),
            service.engine.create(IMAGE, {"paddock.dev/instance": "0123456789abcdef",
                                          "paddock.dev/pool": "default",
                                          "paddock.dev/sandbox": "somebody-elses"}, start=True),
            service.engine.create(IMAGE, {"paddock.dev/pool": "default"}),
        ]
        try:
            with service:
                for _ in range(8):
                    callers = [threading.Thread(target=self._some_runs, args=(service,),
                                                daemon=True) for _ in range(3)]
                    for caller in callers:
                        caller.start()
                    time.sleep(rng.uniform(0.0, 1.5))
                    service.kill9()
                    for caller in callers:
                        caller.join(30)
                    self.assertLessEqual(len(service.sandboxes()), 4)
                    service.start()
                service.hello()
                settled = service.wait_sandboxes(2, timeout=90)
                self.assertEqual(len(settled), 2)
                wait_for(lambda: len(service.sandboxes()) == 2)
                for container in foreign[:2]:
                    self.assertTrue(service.engine.inspect(container)["State"]["Running"],
                                    "a container that is not ours was stopped")
                self.assertIn("Id", service.engine.inspect(foreign[2]))
        finally:
            for container in foreign:
                service.engine.remove(container)

    def lost_run(self, hurt, patience):
        """The answer to a run whose sandbox is hurt while it runs."""
        with Service(short_form(1, 2)) as service:
            sandbox = service.wait_sandboxes(1)[0]["Id"]
            service.hello()
            service.wait_sandboxes(2)  # for the next one, so that none appears later on
            answers = []
            caller = threading.Thread(target=lambda: answers.append(service.execute(
                "import time; print('begun', flush=True); time.sleep(100)", timeout=120)))
            caller.start()
            wait_for(lambda: [s for s in service.request(
                "GET", "/apis/paddock.dev/v1/sandboxes").json["items"]
                if s["status"]["phase"] == "Claimed"])
            time.sleep(0.5)
            busy = [c["Id"] for c in service.sandboxes(state="running")]
            began = time.monotonic()
            for container in busy:
                hurt(service.engine, container)
            caller.join(patience)
            self.assertTrue(answers, "no answer within %s s" % patience)
            self.assertEqual(answers[0]["status"], "lost", answers[0])
            self.assertFalse(answers[0]["success"])
            self.assertIn(sandbox, busy)
            service.hello()
            for container in busy:
                service.engine.call("POST", "/containers/%s/unpause" % container)
            self.assertLessEqual(len(service.sandboxes()), 2)
            return time.monotonic() - began

    def test_container_killed_under_a_run(self):
        self.lost_run(lambda engine, container: engine.kill(container), 10)

    def test_container_frozen_under_a_run(self):
        """It says nothing any more, and no event tells."""
        self.lost_run(lambda engine, container: engine.call(
            "POST", "/containers/%s/pause" % container), 60)

    @staticmethod
    def _some_runs(service):
        for _ in range(5):
            try:
                service.request("POST", "/execute", {"code": "print(1)", "language": "python"},
                                timeout=20)
            except Exception:
                return  # the service is gone: that is the point


if __name__ == "__main__":
    unittest.main()
