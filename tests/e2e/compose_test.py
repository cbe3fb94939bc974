"""docker-compose build && docker-compose up -d, then a first execute: with the shipped
files, a project of the test's own, and a port that is free."""

import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from lib import live
from lib.engine import Engine, default_socket
from lib.service import ROOT, is_sanitized, wait_for

KEY = "compose-key-5d0f1e"
PROJECT = "paddock-e2e-%d" % os.getpid()
BASES = ("debian:bookworm-slim", "redis:7", "postgres:15", "python:3.11-slim")


def tool():
    """docker-compose 1.29, or the plugin that came after it."""
    for words in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(words[0]) and subprocess.run(
                words + ["version"], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL).returncode == 0:
            return words
    raise unittest.SkipTest("neither docker-compose nor docker compose is installed")


class Files(unittest.TestCase):
    def test_env_example_names_every_variable(self):
        with open(os.path.join(ROOT, "docker-compose.yml")) as file:
            text = file.read()
        asked = set(re.findall(r"\$\{(\w+)", text)) | set(re.findall(r"^      ([A-Z_]+):$", text, re.M))
        with open(os.path.join(ROOT, ".env.example")) as file:
            told = set(re.findall(r"^#?(\w+)=", file.read(), re.M))
        quiet = {"PADDOCK_TAG", "PADDOCK_BUILD_NETWORK", "CONSOLE_PACKAGES", "AWS_SESSION_TOKEN",
                 "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECS"}
        self.assertEqual(asked - told - quiet, set())

    def test_valid_by_the_specification(self):
        """The Compose specification, which Compose v2 reads, as docker-compose 1.29 ships it: no
        version key, and nothing that only an older format had."""
        path = "/usr/lib/python3/dist-packages/compose/config/compose_spec.json"
        if not os.path.exists(path):
            raise unittest.SkipTest("the schema of the specification is not installed")
        with open(path) as file:
            schema = json.load(file)
        with open(os.path.join(ROOT, "docker-compose.yml")) as file:
            text = live.yaml.safe_load(file)
        live.jsonschema.Draft7Validator(schema).validate(text)
        self.assertEqual(set(text), {"services", "volumes"})
        for name, service in text["services"].items():
            self.assertFalse({"links", "container_name", "volumes_from", "mem_limit", "net"} & set(service), name)
            for condition in service.get("depends_on", {}).values():
                self.assertIn(condition["condition"], ("service_healthy", "service_completed_successfully"))

    def test_published_on_loopback_alone(self):
        with open(os.path.join(ROOT, "docker-compose.yml")) as file:
            ports = re.findall(r'- "([^"]*:\d+)"', file.read())
        self.assertEqual(ports, ["${PADDOCK_PUBLISH:-127.0.0.1:8000}:8000"])

    def test_secrets_are_required(self):
        words = tool()
        with tempfile.NamedTemporaryFile("w", suffix=".env") as empty:
            env = {k: v for k, v in os.environ.items() if k not in ("EXECUTION_API_KEY", "POSTGRES_PASSWORD")}
            done = subprocess.run(words + ["--env-file", empty.name, "config"], cwd=ROOT, env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("in .env", done.stdout)


class Compose(unittest.TestCase):
    def setUp(self):
        self.words = tool()
        self.env_file = tempfile.NamedTemporaryFile("w", suffix=".env")
        self.env_file.write(
            "EXECUTION_API_KEY=%s\nPOSTGRES_PASSWORD=e2e-password\nPADDOCK_PUBLISH=127.0.0.1:0\n"
            "DOCKER_SOCKET=%s\nDOCKER_GID=%d\nPADDOCK_BUILD_NETWORK=host\nCONSOLE_PACKAGES=\n"
            % (KEY, default_socket(), os.stat(default_socket()).st_gid))
        self.env_file.flush()
        self.addCleanup(self.env_file.close)

    def compose(self, *words, timeout=600):
        env = dict(os.environ, DOCKER_BUILDKIT="0", COMPOSE_DOCKER_CLI_BUILD="0")
        for name in ("EXECUTION_API_KEY", "SANDBOX_PROVIDER", "REDIS_URL", "DATABASE_URL"):
            env.pop(name, None)
        done = subprocess.run(self.words + ["--env-file", self.env_file.name, "-p", PROJECT] + list(words),
                              cwd=ROOT, env=env, timeout=timeout, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, "%s: %s" % (words, done.stdout[-3000:]))
        return done.stdout

    def need_bases(self):
        script = "; ".join(["set -euo pipefail", "ROOT=%s" % ROOT]
                           + [". $ROOT/scripts/lib/%s.sh" % part
                              for part in ("say", "packages", "image", "base_images")]
                           + ["PULL_ANSWER_S=5"] + ["need_base_image " + image for image in BASES])
        done = subprocess.run(["bash", "-c", script], timeout=900, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def ask(self, method, path, body=None, key=KEY):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body and json.dumps(body),
                               {"Content-Type": "application/json", "X-API-Key": key})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def has_console(self):
        """Whether the image has it: a bundle that was there was copied (docs/console.md)."""
        status, page = self.ask("GET", "/")
        self.assertEqual(status, 200, page)
        found = re.search(rb'src="(/assets/[^"]+/console\.js)"', page)
        if not found:
            self.assertIn(b"left out of this build", page)
            return False
        status, script = self.ask("GET", found.group(1).decode())
        self.assertEqual((status, len(script) > 100000), (200, True))
        return True

    def test_build_up_execute_down(self):
        if is_sanitized():
            print("     not done again: the images hold a build of their own")
            return
        self.need_bases()
        self.compose("build")
        self.addCleanup(self.compose, "down", "-v", "-t", "20")
        self.compose("up", "-d", "--no-build")
        self.port = int(self.compose("port", "code-execution-service", "8000").rpartition(":")[2])
        wait_for(lambda: self.ask("GET", "/readyz")[0] == 200, 60, 0.2)
        body = {"code": "import sys; print(sys.version_info[0])"}
        status, text = self.ask("POST", "/execute", body)
        self.assertEqual((status, json.loads(text)["output"]), (200, "3\n"), text)
        self.assertEqual(self.has_console(), os.path.exists(os.path.join(ROOT, "build", "console", "bundle.stamp")))
        self.assertEqual(self.ask("POST", "/execute", body, "another-key-000")[0], 401)
        self.check_container()
        self.check_restart(body)
        log = self.compose("logs", "--no-color", "code-execution-service")
        self.assertNotIn(KEY, log)
        self.assertNotIn("e2e-password", log)
        self.assertIn('"msg":"serving"', log)

    def container(self):
        return self.compose("ps", "-q", "code-execution-service").strip()

    def check_container(self):
        """As little as it needs, and healthy by /livez."""
        about = Engine().inspect(self.container())
        self.assertEqual(about["Config"]["User"], "paddock")
        self.assertTrue(about["HostConfig"]["ReadonlyRootfs"])
        self.assertFalse(about["HostConfig"]["Privileged"])
        self.assertEqual(about["HostConfig"]["CapDrop"], ["ALL"])
        self.assertIn("livez", about["Config"]["Healthcheck"]["Test"])
        wait_for(lambda: Engine().inspect(self.container())["State"]["Health"]["Status"] == "healthy",
                 60, 0.5)

    def check_restart(self, body):
        """Killed, it comes back by itself, and its sandboxes are its again."""
        instance = self.instance()
        self.assertGreaterEqual(len(Engine().sandboxes(instance)), 1)
        Engine().call("POST", "/containers/%s/restart?t=0" % self.container())
        self.port = int(self.compose("port", "code-execution-service", "8000").rpartition(":")[2])
        wait_for(lambda: self.ask("POST", "/execute", body)[0] == 200, 60, 0.2)
        self.assertEqual(self.instance(), instance)
        self.compose("stop", "-t", "30", "code-execution-service")
        self.assertEqual(Engine().sandboxes(instance), [])

    def instance(self):
        log = self.compose("logs", "--no-color", "code-execution-service")
        return re.findall(r'"instance":"([0-9a-f]+)"', log)[-1]


if __name__ == "__main__":
    unittest.main()
