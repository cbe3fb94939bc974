"""A service whose pools are on ECS, against the fake ECS of tests/ecs."""

import contextlib
import hashlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import unittest
import uuid

from lib.engine import Engine
from lib.service import ROOT, Service, binary, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests", "ecs"))
import fake as fake_ecs  # noqa: E402
import tasks as fake_tasks  # noqa: E402


def agent_files():
    """(name in the image, path) of what deploy/ecs/agent/Dockerfile puts there."""
    folder, spares = os.path.dirname(binary()), os.path.join(ROOT, "agent", "spares")
    return ([("agent", os.path.join(folder, "paddock-agent-ecs"))] +
            [("spares/" + name, os.path.join(spares, name)) for name in sorted(os.listdir(spares))] +
            [("spares/" + name, os.path.join(folder, name)) for name in ("pdspare.so", "pdwait.so")])


def agent_image():
    """Named by what is in it: tests of several builds share an engine."""
    content = hashlib.sha256()
    for _, path in agent_files():
        with open(path, "rb") as file:
            content.update(file.read())
    return "paddock-agent-ecs-test:" + content.hexdigest()[:16]


def make_agent_image(engine):
    """Without a builder."""
    if engine.call("GET", "/images/%s/json" % agent_image())[0] == 200:
        return
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, path in agent_files():
            tar.add(path, name)
    subprocess.run(["docker", "import", "-", agent_image()], input=data.getvalue(), check=True,
                   stdout=subprocess.DEVNULL,
                   env=dict(os.environ, DOCKER_HOST="unix://" + engine.path))


class PlainEcsService(Service):
    def command(self):
        return [word for word in super().command() if word != "docker"]

    def calls(self, provider, operation, code):
        """How many calls the service has counted."""
        text = self.request("GET", "/metrics").body.decode()
        found = re.search('paddock_provider_calls_total{provider="%s",operation="%s",code="%s"} '
                          r'(\d+)' % (provider, operation, code), text)
        return int(found.group(1)) if found else 0

    def intents(self):
        """token -> tasks, of the intents on the disk."""
        path = "file:%s/paddock.db?mode=ro" % self.state_dir
        with contextlib.closing(sqlite3.connect(path, uri=True, timeout=10)) as db:
            return dict(db.execute("SELECT token, count FROM ecs_intents"))


class EcsService(PlainEcsService):
    """A service whose pools are on ECS unless they say otherwise."""

    def __init__(self, fake, env=None, **more):
        super().__init__(env=dict(fake.env(), SANDBOX_PROVIDER="ecs", ECS_AGENT_IMAGE=agent_image(),
                                  **(env or {})), **more)


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

    @staticmethod
    def stoppable(fake):
        return [t for t in fake.tasks.values() if t.desired != "STOPPED"]
