"""Pools on ECS, against a fake ECS whose tasks are real containers (tests/ecs)."""

import io
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import uuid

from lib.engine import Engine
from lib.service import IMAGE, ROOT, Service, binary, is_sanitized, manifest, short_form, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests", "ecs"))
import fake as fake_ecs  # noqa: E402
import tasks as fake_tasks  # noqa: E402

PORT = 8723
AGENT_IMAGE = "paddock-agent-ecs-test"


class EcsService(Service):
    """A service whose pools are on ECS unless they say otherwise."""

    def __init__(self, fake, env=None, **more):
        super().__init__(env=dict(fake.env(), SANDBOX_PROVIDER="ecs", ECS_AGENT_IMAGE=AGENT_IMAGE,
                                  **(env or {})), **more)

    def command(self):
        return [word for word in super().command() if word != "docker"]


def make_agent_image(engine):
    """What deploy/ecs/agent/Dockerfile makes, without a builder."""
    folder = os.path.dirname(binary())
    agent = os.path.join(folder, "paddock-agent-ecs")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(agent, "agent")
        for name in sorted(os.listdir(os.path.join(ROOT, "agent", "spares"))):
            tar.add(os.path.join(ROOT, "agent", "spares", name), "spares/" + name)
        for name in ("pdspare.so", "pdwait.so"):
            tar.add(os.path.join(folder, name), "spares/" + name)
    tag = AGENT_IMAGE
    subprocess.run(["docker", "import", "-", tag], input=data.getvalue(), check=True,
                   stdout=subprocess.DEVNULL,
                   env=dict(os.environ, DOCKER_HOST="unix://" + engine.path))


class EcsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = Engine()
        make_agent_image(cls.engine)
        cls.network = "fake-ecs-" + uuid.uuid4().hex[:8]
        status, answer = cls.engine.call("POST", "/networks/create", {
            "Name": cls.network, "Driver": "bridge", "CheckDuplicate": True,
            "Labels": {fake_tasks.LABEL: "network"}})
        assert status == 201, answer

    @classmethod
    def tearDownClass(cls):
        cls.engine.call("DELETE", "/networks/" + cls.network)

    def fake(self, **more):
        fake = fake_ecs.Fake(self.engine, self.network, **more)
        self.addCleanup(fake.close)
        return fake

    def wait_running(self, fake, count, timeout=60):
        def enough():
            """running tasks"""
            running = [t for t in fake.alive() if t.last == "RUNNING"]
            return running if len(running) >= count else None
        return wait_for(enough, timeout)


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
        self.assertTrue(all(t.desired == "STOPPED" for t in fake.alive()))
        run = next(c[2] for c in fake.calls if c[1] == "RunTask" and "tags" in c[2])
        self.assertEqual(run["launchType"], "FARGATE")
        self.assertTrue(run["clientToken"])


if __name__ == "__main__":
    unittest.main()
