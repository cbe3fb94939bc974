"""A redis-server of a test's own: its folder, its port, its end."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    def __init__(self, *settings, password=None, folder=None):
        if not shutil.which("redis-server"):
            raise unittest.SkipTest("redis-server is not installed")
        self.dir = tempfile.mkdtemp(prefix="paddock-redis-", dir=folder)
        self.port = free_port()
        self.settings = list(settings)
        self.password = password
        self.process = None

    @property
    def url(self):
        secret = ":%s@" % self.password if self.password else ""
        return "redis://%s127.0.0.1:%d/0" % (secret, self.port)

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                   "--dir", self.dir, "--logfile", os.path.join(self.dir, "log")] + self.settings
        if self.password:
            command += ["--requirepass", self.password]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while self.cli("PING", check=False) != "PONG":
            if time.monotonic() > end:
                raise AssertionError("redis-server does not start")
            time.sleep(0.02)
        return self

    def cli(self, *words, check=True):
        """One command by redis-cli; what it printed."""
        command = ["redis-cli", "-p", str(self.port)]
        env = dict(os.environ, REDISCLI_AUTH=self.password or "")
        if not self.password:
            env.pop("REDISCLI_AUTH")
        done = subprocess.run(command + list(words), env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        text = done.stdout.decode(errors="replace").strip()
        if check and (done.returncode or text.startswith(("ERR", "(error)", "WRONG", "NOAUTH"))):
            raise AssertionError("redis-cli %s: %s" % (" ".join(words[:2]), text))
        return text

    def kill9(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self, frozen=True):
        self.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def close(self):
        if self.process:
            self.freeze(False)
        self.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
