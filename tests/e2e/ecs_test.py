"""Pools on ECS, against a fake ECS whose tasks are real containers (tests/ecs): runs, and
what goes wrong."""

import datetime
import threading
import time
import unittest

from lib.ecs import EcsCase, EcsService
from lib.service import is_sanitized, manifest, short_form, wait_for


class RunsTest(EcsCase):
    def test_execute_end_to_end(self):
        fake = self.fake()
        with EcsService(fake, config=short_form(1, 2)) as service:
            first = service.hello()
            warm = wait_for(lambda: (lambda a: a if a["warm"] else None)(service.hello()), 30)
            self.assertIn(warm["start"], ("zygote", "spare"))
            who = service.execute("import os; print(os.getuid())")["output"]
            self.assertGreater(int(who), 50000)  # a user of its own, not the agent's
            env = service.execute("import os; print([k for k in os.environ if k[:4] in "
                                  "('AWS_', 'ECS_') or k.startswith('PADDOCK')])")
            self.assertEqual(env["output"], "[]\n")
            net = service.execute("import socket\ntry:\n socket.socket()\nexcept OSError as e: print(e.errno)")
            self.assertIn(net["output"], ("97\n", "1\n", "13\n"))
            failed = service.execute("import sys; sys.exit(3)")
            self.assertEqual(failed["exit_code"], 3)
            self.assertTrue(first["success"])
            spent = service.execute("print('x' * 100000)")
            self.assertEqual(len(spent["output"]), 100001)
            self.check_figures(service)
        self.assertTrue(all(t.desired == "STOPPED" for t in fake.alive()))
        run = fake.runs()[0]
        self.assertEqual(run["launchType"], "FARGATE")
        self.assertTrue(run["clientToken"])


    def check_figures(self, service):
        """Calls are counted as Docker's are, by operation and code."""
        for operation in ("RunTask", "ListTasks", "DescribeTasks", "RegisterTaskDefinition"):
            self.assertGreater(service.calls("ecs", operation, "200"), 0, operation)
        # the preflight's, which is meant to be refused
        self.assertGreater(service.calls("ecs", "RunTask", "ClientException"), 0)
        text = service.request("GET", "/metrics").body.decode()
        self.assertIn('paddock_provider_call_seconds_count{provider="ecs",operation="RunTask"}', text)


class FaultsTest(EcsCase):
    def test_storms_and_lost_answers(self):
        """Throttling, errors, answers that never come, lagging reads: what is wanted comes to
        be, once."""
        fake = self.fake()
        fake.lag = 2.0
        fake.fail("RunTask", 1, "drop")
        fake.fail("RunTask", 2, "throttle")
        fake.fail("DescribeTasks", 3, "500")
        fake.fail("ListTasks", 2, "throttle")
        with EcsService(fake, config=short_form(3, 3)) as service:
            service.hello()
            wait_for(lambda: len([t for t in fake.alive() if t.last == "RUNNING"]) == 3, 60)
            fake.fail("StopTask", 2, "500")
            runs = fake.runs()
            self.assertEqual(sum(1 for r in runs if r["clientToken"] == runs[0]["clientToken"]) > 1, True)
            self.assertEqual(len(fake.tasks), 3)  # none twice
            self.assertEqual(self.stoppable(fake), fake.alive())
        self.assertEqual(self.stoppable(fake), [])

    def test_credentials_that_expire_in_flight(self):
        fake = self.fake()
        env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.url + "/container",
               "AWS_CONTAINER_AUTHORIZATION_TOKEN": fake.container_token,
               "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        with EcsService(fake, env=env, config=short_form(1, 2)) as service:
            service.hello()
            issued = fake.issued
            for key in fake.keys.values():  # revoked, all of a sudden
                key["expires"] = key["expires"] and key["expires"].replace(year=2000)
            self.wait_running(fake, 1)[0].stop("TerminationNotice", "the host is retired")
            wait_for(lambda: fake.issued > issued, 60)
            service.hello()
            self.assertGreater(fake.issued, issued)
            wait_for(lambda: service.calls("aws", "container_key", "200") > 1)
            log = service.log()
            for key in fake.keys.values():
                self.assertNotIn(key["secret"], log)
                self.assertNotIn(key["token"] or "no token", log)

    def test_death_before_running_is_told(self):
        fake = self.fake()
        fake.die_in = "PROVISIONING"
        with EcsService(fake, config=short_form(1, 1)) as service:
            wait_for(lambda: "died in PROVISIONING" in service.log(), 60)
            fake.die_in = None
            service.hello()

    def test_no_capacity_goes_elsewhere(self):
        fake = self.fake()
        fake.no_room_in = {"subnet-a", "FARGATE_SPOT"}
        pool = manifest("spot", minSize=1, maxSize=1, languages="[python]",
                        ecs="{capacityProviders: [FARGATE_SPOT, FARGATE]}")
        with EcsService(fake, config=short_form(1, 1), pools={"spot": pool}) as service:
            self.wait_running(fake, 2, 90)
            runs = fake.runs()
            spot = [r for r in runs if {"key": "paddock.dev/pool", "value": "spot"} in r["tags"]]
            self.assertEqual(spot[0]["capacityProviderStrategy"][0]["capacityProvider"], "FARGATE_SPOT")
            self.assertEqual(spot[-1]["launchType"], "FARGATE")
            self.assertIn("no capacity, trying elsewhere", service.log())

    def test_reclaimed_capacity_drains(self):
        """A task that is to go finishes its run, gets none any more, and is replaced."""
        fake = self.fake()
        fake.stop_seconds = 60
        with EcsService(fake, config=short_form(1, 2)) as service:
            service.hello()
            answer = {}
            run = threading.Thread(target=lambda: answer.update(
                service.execute("import time\nprint('a', flush=True)\ntime.sleep(22)\nprint('b')")))
            run.start()
            claimed = lambda: [t for t in self.wait_running(fake, 1)]
            time.sleep(1)  # tasks that stand still are described every 10 s, well within the run
            for task in claimed():
                task.stop("SpotInterruption", "Your Spot Task was interrupted.")
            run.join(60)
            self.assertEqual(answer.get("output"), "a\nb\n", answer)
            service.hello()
            self.assertIn("SpotInterruption", service.log())

    def test_missing_permissions_are_named(self):
        fake = self.fake()
        fake.denied = {"RunTask", "RegisterTaskDefinition"}
        with EcsService(fake, config=short_form(1, 1)) as service:
            wait_for(lambda: "IAM does not allow ecs:RunTask, ecs:RegisterTaskDefinition" in service.log(), 60)
            self.assertEqual(fake.tasks, {})
            fake.denied = set()
            service.hello()

    def test_a_long_storm_of_throttling(self):
        """Everything is throttled for a while: few calls are made, and it ends well."""
        fake = self.fake()
        fake.fail(None, 1 << 30, "throttle")
        with EcsService(fake, config=short_form(2, 2)) as service:
            time.sleep(6)
            self.assertEqual(fake.tasks, {})
            self.assertLess(len(fake.calls), 60)
            self.assertGreater(len(fake.calls), 1)
            fake.faults.clear()
            wait_for(lambda: len(fake.tasks) == 2, 120)
            service.hello()
            if is_sanitized():
                print("note: one storm is enough here")
                return
            # and once more, while it serves
            fake.fail(None, 1 << 30, "throttle")
            for _ in range(3):
                service.hello()
            next(iter(fake.alive())).stop("TerminationNotice", "the host is retired")
            time.sleep(3)
            service.hello()
            fake.faults.clear()
            self.wait_running(fake, 2, 120)
            wait_for(lambda: len(self.stoppable(fake)) == 2, 60)
        self.assertEqual(self.stoppable(fake), [])

    def test_clocks_that_differ(self):
        """AWS's clock is hours ahead, then, in the middle of it all, hours behind."""
        fake = self.fake()
        fake.skew = datetime.timedelta(hours=5)
        with EcsService(fake, config=short_form(1, 1)) as service:
            service.hello()
            fake.skew = datetime.timedelta(hours=-7)
            self.wait_running(fake, 1)[0].stop("TerminationNotice", "the host is retired")
            wait_for(lambda: len(fake.tasks) == 2, 90)
            service.hello()
            self.assertGreater(service.calls("ecs", "DescribeTasks", "InvalidSignatureException"), 0)

    def test_strangers_are_left_alone(self):
        """Tasks that are not ours, and an earlier life's that belong to no pool."""
        fake = self.fake()
        with EcsService(fake, config=short_form(1, 1)) as service:
            wait_for(lambda: "sandbox ready" in service.log(), 60)
            service.kill9()
            mine = next(iter(fake.tasks.values()))
            run = lambda **more: fake.call("RunTask", dict(
                mine.body, count=1, **more))["tasks"][0]["taskArn"]
            other = run(clientToken="other", startedBy="someone")
            tags = [dict(t, value="gone") if t["key"] == "paddock.dev/pool" else t
                    for t in mine.body["tags"]]
            orphan = run(clientToken="orphan", tags=tags)
            service.start()
            wait_for(lambda: "sandbox adopted" in service.log(), 60)
            service.hello()
            wait_for(lambda: fake.tasks[orphan].desired == "STOPPED", 60)
            self.assertIn("paddock", fake.tasks[orphan].reason)
            self.assertNotEqual(fake.tasks[other].desired, "STOPPED")
            self.assertNotEqual(mine.desired, "STOPPED")


if __name__ == "__main__":
    unittest.main()
