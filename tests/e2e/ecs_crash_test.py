"""A service on ECS that is killed (SIGKILL) around RunTask: nothing twice, nothing left."""

import unittest

from lib.ecs import EcsCase, EcsService
from lib.service import is_sanitized, manifest, short_form, wait_for


class CrashTest(EcsCase):
    LAG = 4.0  # so long is nothing of a new task to be seen: longer than a restart takes

    def killed(self, service, fake):
        """Kill it and start it again; what was being held is let go."""
        service.kill9()
        fake.let_go()
        service.start()

    def in_the_end(self, service, fake, count, tokens):
        """So many tasks were ever made, and each of these tokens was said again."""
        self.wait_running(fake, count, 90)
        service.hello()
        said = [run["clientToken"] for run in fake.runs()]
        for token in tokens:
            self.assertGreater(said.count(token), 1, said)
            bodies = [run for run in fake.runs() if run["clientToken"] == token]
            self.assertTrue(all(body == bodies[0] for body in bodies))
        self.assertEqual(len(fake.tasks), count)

    def case(self, fault):
        fake = self.fake(lag=self.LAG)
        fake.fail("RunTask", 1, fault)
        with EcsService(fake, config=short_form(2, 2)) as service:
            self.assertTrue(fake.held.wait(60))
            tokens = {run["clientToken"] for run in fake.runs()}
            self.assertEqual(set(service.intents()), tokens)  # on the disk before the call
            self.killed(service, fake)
            self.in_the_end(service, fake, 2, tokens)
        self.assertEqual(self.stoppable(fake), [])

    def test_before_the_call(self):
        """ECS has made nothing of it: the restarted service asks with the same token."""
        self.case("hold-before")

    def test_before_the_answer(self):
        """ECS has made the task, and lists do not show it yet: asked again with the same
        token it names that one."""
        self.case("hold-after")

    def test_after_the_answer(self):
        """The service knew, lists do not yet."""
        fake = self.fake(lag=self.LAG)
        with EcsService(fake, config=short_form(2, 2)) as service:
            wait_for(lambda: len(fake.tasks) == 2, 60)
            tokens = {run["clientToken"] for run in fake.runs()}
            self.killed(service, fake)
            self.in_the_end(service, fake, 2, tokens)
        self.assertEqual(self.stoppable(fake), [])

    def test_again_and_again(self):
        """Killed in each of its calls until all of them are made."""
        if is_sanitized():
            print("note: once in each place is enough here")
            return
        fake = self.fake(lag=self.LAG)
        for fault in ("hold-after", "hold-before", "hold-after"):
            fake.fail("RunTask", 1, fault)
        with EcsService(fake, config=short_form(3, 3)) as service:
            for _ in range(3):
                self.assertTrue(fake.held.wait(60))
                self.killed(service, fake)
            self.in_the_end(service, fake, 3, [])
        self.assertEqual(self.stoppable(fake), [])

    def test_not_wanted_any_more(self):
        """The pool is gone when the service comes back: what the call has made is stopped."""
        fake = self.fake()
        fake.fail("RunTask", 1, "hold-after")
        gone = manifest("gone", minSize=1, maxSize=1, languages="[python]")
        with EcsService(fake, config=short_form(0, 1), pools={"gone": gone}) as service:
            self.assertTrue(fake.held.wait(60))
            service.kill9()
            service.remove_pool("gone")
            fake.let_go()
            service.start()
            self.assertEqual(len(fake.tasks), 1)
            task = next(iter(fake.tasks.values()))
            wait_for(lambda: task.desired == "STOPPED", 90)
            self.assertEqual(len(fake.tasks), 1)


if __name__ == "__main__":
    unittest.main()
