"""The engine goes down and comes back: the service stays up, says so, and recovers.
On a dockerd of the test's own, started on roots of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

from lib.door import Door
from lib.engine import Engine
from lib.own_engine import OwnEngine
from lib.service import IMAGE, ROOT, Service, binary, short_form, wait_for


class EngineRestart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0 or not shutil.which("dockerd"):
            raise unittest.SkipTest("a dockerd of the test's own needs root and dockerd")
        cls.own = OwnEngine()
        cls.addClassCleanup(cls.own.remove)
        cls.own.start()
        cls.own.load(IMAGE)

    def health(self, service):
        return service.request("GET", "/health")

    def test_down_and_up(self):
        with Service(short_form(1, 2), socket_path=self.own.socket) as service:
            service.wait_sandboxes(1)
            service.hello()
            self.assertEqual(self.health(service).status, 200)
            watch = Livez(service)
            for how in (signal.SIGTERM, signal.SIGKILL):
                self.own.stop(how)
                down = wait_for(lambda: self.health(service).status == 503 and self.health(service),
                                60)
                self.assertIn("docker", down.body.decode().lower())
                self.assertEqual(service.request("GET", "/livez").status, 200)
                began = time.monotonic()
                refused = service.request("POST", "/execute", {"code": "print(1)", "timeout": 5},
                                          timeout=90)
                self.assertIn(refused.status, (200, 503), refused)
                if refused.status == 503:
                    self.assertTrue(refused.headers["Retry-After"])
                print("     answered %d in %.1f s while the engine was down"
                      % (refused.status, time.monotonic() - began))
                self.own.start()
                wait_for(lambda: self.health(service).status == 200, 90)
                service.hello()
                wait_for(lambda: len(service.sandboxes(state="running")) == 1, 90)
                service.hello()
            asked, bad = watch.end()
            self.assertEqual(bad, [], "/livez failed while the engine restarted")
            self.assertGreater(asked, 20)


class Livez:
    """Asks /livez all the time, as something would that restarts what does not answer."""

    def __init__(self, service):
        self.service, self.asked, self.bad, self.stopped = service, 0, [], threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)
        self.thread.start()

    def ask(self):
        while not self.stopped.wait(0.1):
            try:
                status = self.service.request("GET", "/livez", timeout=10).status
            except OSError as error:
                status = error
            self.asked += 1
            if status != 200:
                self.bad.append(status)

    def end(self):
        self.stopped.set()
        self.thread.join(15)
        return self.asked, self.bad


class WhatWatches(unittest.TestCase):
    """Compose, systemd and orchestrators restart what does not answer /livez; load balancers
    send nothing to what does not answer /readyz. Neither may kill a service for its engine."""

    def health_check(self):
        """The words of the image's HEALTHCHECK."""
        with open(os.path.join(ROOT, "deploy", "docker", "code_execution", "Dockerfile")) as file:
            found = re.search(r'HEALTHCHECK [^[]*CMD (\[.*\])', file.read())
        return json.loads(found.group(1))

    def probe(self, service, words):
        return subprocess.run([binary()] + words[1:-1] + ["--url", "http://127.0.0.1:%d" % service.port, words[-1]],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode

    def test_health_check_while_the_engine_is_away(self):
        words = self.health_check()
        with Door() as door, Service(short_form(1, 1), socket_path=door.path) as service:
            service.engine = Engine()  # the test's own way round the door
            service.wait_sandboxes(1)
            ready = words[:-1] + ["readyz"]
            wait_for(lambda: self.probe(service, ready) == 0)
            self.assertEqual(self.probe(service, words), 0)
            door.shut()
            wait_for(lambda: self.probe(service, ready) != 0, 60)
            for _ in range(5):  # more often than the image's retries
                self.assertEqual(self.probe(service, words), 0)
            door.open()
            wait_for(lambda: self.probe(service, ready) == 0, 90)
            service.hello()


class EngineAbsent(unittest.TestCase):
    def test_starts_without_an_engine(self):
        with Service(short_form(1, 1), socket_path="/nonexistent/docker.sock") as service:
            service.engine = Engine()
            answer = wait_for(lambda: service.request("GET", "/health"), 10)
            self.assertEqual(answer.status, 503, answer)
            self.assertEqual(service.request("GET", "/livez").status, 200)
            self.assertEqual(service.request("GET", "/readyz").status, 503)


if __name__ == "__main__":
    unittest.main()
