"""One `paddock serve` under test: its own port, state folder and files."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from lib.engine import Engine

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
KEY = "e2e-key-4f1c9a7d2b"
IMAGE = "python:3.11-slim"
# How many times longer than usual everything may take: where the machine is emulated.
PATIENCE = float(os.environ.get("PADDOCK_PATIENCE", "1"))


def binary():
    path = os.environ.get("PADDOCK_BINARY") or os.path.join(ROOT, "build", "dev", "paddock")
    if not os.access(path, os.X_OK):
        raise RuntimeError("no service to test at %s: build it, or set PADDOCK_BINARY" % path)
    return path


def is_sanitized():
    return os.environ.get("PADDOCK_SANITIZED") == "1"


def short_form(minimum, maximum):
    return ("sandbox:\n  min_size: %d\n  max_size: %d\n  default_image: \"%s\"\n"
            % (minimum, maximum, IMAGE))


def manifest(name, **spec):
    """A SandboxPool; values are YAML flow text."""
    lines = ["apiVersion: paddock.dev/v1", "kind: SandboxPool", "metadata: {name: %s}" % name,
             "spec:"]
    spec.setdefault("image", IMAGE)
    lines += ["  %s: %s" % (key, value) for key, value in spec.items()]
    return "\n".join(lines) + "\n"


def wait_for(what, timeout=30, every=0.05):
    """Wait until what() is truthy; its value."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %s s in vain for %s" % (timeout, what.__doc__ or what))
        time.sleep(every)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%d %r>" % (self.status, self.body[:600])


class Service:
    def __init__(self, config=None, pools=None, env=None, args=(), socket_path=None, key=KEY,
                 what="serve"):
        self.what = what
        self.dir = tempfile.mkdtemp(prefix="paddock-e2e-")
        self.engine = Engine(socket_path)
        self.key = key
        self.env = dict(os.environ, DOCKER_HOST="unix://" + self.engine.path, **(env or {}))
        for name in ("EXECUTION_API_KEY", "PADDOCK_STATE_DIR", "PADDOCK_CONFIG", "PADDOCK_LISTEN",
                     "PADDOCK_KUBE_LISTEN", "PADDOCK_TLS_CA"):
            if name not in (env or {}):
                self.env.pop(name, None)
        if key:
            self.env["EXECUTION_API_KEY"] = key
        self.args = list(args)
        self.process = None
        self.state_dir = os.path.join(self.dir, "state")
        self.pools_dir = os.path.join(self.dir, "pools.d")
        self.config = os.path.join(self.dir, "default.yaml")
        self.log_path = os.path.join(self.dir, "log")
        os.mkdir(self.pools_dir)
        self.write_config(config if config is not None else short_form(1, 2))
        for name, text in (pools or {}).items():
            self.write_pool(name, text)

    def write_config(self, text):
        with open(self.config, "w") as file:
            file.write(text)

    def write_pool(self, name, text):
        path = os.path.join(self.pools_dir, name + ".yaml")
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def remove_pool(self, name):
        os.unlink(os.path.join(self.pools_dir, name + ".yaml"))

    # ---- life ----

    def command(self):
        return [binary(), self.what, "docker", "--listen", "127.0.0.1:0",
                "--kube-listen", "127.0.0.1:0", "--config", self.config,
                "--pools-dir", self.pools_dir, "--state-dir", self.state_dir] + self.args

    def start(self, wait=True):
        self.log_from = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(self.command(), env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.port = int(wait_for(self._port, 30, 0.01))
        return self

    def _port(self):
        """the service's `serving` line"""
        found = re.search(r"\burl\"?[=:]\"?http://[^ ,]*:(\d+)", self.log(self.log_from))
        if not found and self.process.poll() is not None:
            raise AssertionError("the service ended with %s:\n%s"
                                 % (self.process.returncode, self.log(self.log_from)))
        return found and found.group(1)

    def log(self, start=0):
        with open(self.log_path, errors="replace") as file:
            file.seek(start)
            return file.read()

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=60):
        """SIGTERM; the exit status."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout * PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise AssertionError("SIGTERM did not stop the service in %s s:\n%s"
                                     % (timeout, self.log()[-3000:]))
        return self.process.returncode if self.process else None

    def close(self):
        """Stop, remove whatever is left of it, and say what was left."""
        leaked = []
        try:
            status = self.stop()
            leaked = self.containers() if os.path.exists(self.state_dir) else []
        finally:
            if self.process and self.process.poll() is None:
                self.kill9()
            if os.path.exists(os.path.join(self.state_dir, "instance")):
                self.engine.sweep(self.instance)
        log = self.log() if os.path.exists(self.log_path) else ""
        shutil.rmtree(self.dir, ignore_errors=True)
        if "Sanitizer" in log or "runtime error:" in log:
            raise AssertionError("sanitizer report:\n" + log[-6000:])
        if status not in (0, None):
            raise AssertionError("the service ended with %s:\n%s" % (status, log[-3000:]))
        if leaked:
            raise AssertionError("left behind after a clean stop: %s"
                                 % [(c["Id"][:12], c["State"]) for c in leaked])

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
            return
        print("---- the service's log ----\n" + self.log()[-8000:])
        try:
            self.close()
        except AssertionError as more:
            print(str(more))

    # ---- what is there ----

    @property
    def instance(self):
        with open(os.path.join(self.state_dir, "instance")) as file:
            return file.read().strip()

    def containers(self):
        return self.engine.containers(self.instance)

    def sandboxes(self, pool=None, state=None):
        return self.engine.sandboxes(self.instance, pool, state)

    def wait_sandboxes(self, count, pool=None, timeout=60):
        def enough():
            found = self.sandboxes(pool, "running")
            return [found] if len(found) == count else None
        enough.__doc__ = "%d running sandboxes of pool %s" % (count, pool or "any")
        return wait_for(enough, timeout)[0]

    # ---- requests ----

    def connect(self, timeout=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def request(self, method, path, body=None, headers=None, timeout=120, key=True):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * PATIENCE)
        sent = dict(headers or {})
        if key and self.key:
            sent.setdefault("X-API-Key", self.key)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def execute(self, code, language="python", **more):
        """POST /execute that must be answered 200; the decoded answer."""
        answer = self.request("POST", "/execute", dict(code=code, language=language, **more))
        assert answer.status == 200, answer
        return answer.json

    def hello(self, language="python"):
        code = {"python": "print('hello')", "bash": "echo hello",
                "javascript": "console.log('hello')"}[language]
        answer = self.execute(code, language)
        assert answer["success"] and answer["output"] == "hello\n", answer
        return answer
