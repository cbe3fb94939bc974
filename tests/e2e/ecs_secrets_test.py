"""AWS credentials stay in the service: no core file, no log, nothing that AWS is told."""

import json
import os
import resource
import signal
import subprocess
import tempfile
import unittest

from lib.ecs import EcsCase, EcsService
from lib.service import is_sanitized, short_form


def dumps_core(pid, reap):
    """Whether it leaves a core file when it aborts."""
    os.kill(pid, signal.SIGABRT)
    _, status = reap(pid, 0)
    return os.WCOREDUMP(status)


class SecretsTest(EcsCase):
    def setUp(self):
        limits = resource.getrlimit(resource.RLIMIT_CORE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, limits)
        resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))

    def test_no_core_file(self):
        if is_sanitized():
            print("note: the leak checker has to look into the process; it ran with the plain build")
            return
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=self.scratch())
        others_do = dumps_core(cat.pid, os.waitpid)
        cat.returncode = -signal.SIGABRT
        cat.stdin.close()
        if not others_do:
            print("note: no program leaves a core file here")
        fake = self.fake()
        with EcsService(fake, config=short_form(1, 1)) as service:
            service.hello()
            self.assertFalse(dumps_core(service.process.pid, os.waitpid))
            service.process.returncode = -signal.SIGABRT
            service.start()
            service.hello()

    def scratch(self):
        folder = tempfile.TemporaryDirectory(prefix="pd-core-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def test_nothing_secret_is_told(self):
        """Neither to AWS, nor to a task, nor to a log, nor in an answer, an error included."""
        fake = self.fake()
        env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.url + "/container",
               "AWS_CONTAINER_AUTHORIZATION_TOKEN": fake.container_token,
               "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        with EcsService(fake, env=env, args=["--log-level", "debug"], config=short_form(1, 1)) as service:
            service.hello()
            fake.fail(None, 3, "expired")
            task = self.wait_running(fake, 1)[0]
            _, container = self.engine.call("GET", "/containers/%s/json" % task.main)
            said = [service.log(), json.dumps([c[2] for c in list(fake.calls)]),
                    json.dumps(list(fake.definitions.values())), json.dumps(container),
                    json.dumps([t.described(0, True) for t in list(fake.tasks.values())]),
                    service.request("GET", "/metrics").body.decode(),
                    service.request("GET", "/health").body.decode(),
                    service.request("GET", "/apis/paddock.dev/v1/namespaces/default/sandboxpools").body.decode()]
            with open(os.path.join(service.state_dir, "ecs-link.pem")) as file:
                link_key = "".join(file.read().split("\n")[1:2])
            secrets = [fake.container_token, link_key] + [
                s for k in list(fake.keys.values()) for s in (k["secret"], k["token"]) if s]
            self.assertGreaterEqual(len(secrets), 4)
            for secret in secrets:
                for text in said:
                    self.assertFalse(secret in text, text[:200])


if __name__ == "__main__":
    unittest.main()
