"""The kubectls of this machine as clients of one service."""

import glob
import json
import os
import re
import shutil
import subprocess

from lib.service import binary

OLDEST = (1, 28)


def _version(path):
    done = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True,
                          text=True, timeout=60)
    found = re.search(r'"gitVersion": *"v(\d+)\.(\d+)', done.stdout)
    return (int(found.group(1)), int(found.group(2))) if found else None


def installed():
    """{version: path} of every kubectl on PATH and beside it that is supported."""
    first = shutil.which("kubectl")
    if not first:
        return {}
    real = os.path.realpath(first)
    found = {}
    for path in sorted(glob.glob(real + ".1.*")) + [real]:
        version = _version(path)
        if version and version >= OLDEST:
            found.setdefault(version, path)
    return found


class Failed(AssertionError):
    def __init__(self, words, done):
        super().__init__("kubectl %s: %d\n%s%s" % (" ".join(words), done.returncode, done.stdout,
                                                   done.stderr))
        self.status, self.text = done.returncode, done.stdout + done.stderr


class Kubectl:
    def __init__(self, service, path=None, key=None):
        self.path = path or os.path.realpath(shutil.which("kubectl"))
        self.home = os.path.join(service.dir, "home-%s" % (key or "main"))
        os.makedirs(self.home, exist_ok=True)
        self.config = os.path.join(self.home, "kubeconfig")
        env = dict(service.env, PADDOCK_API_KEY=key or service.key)
        made = subprocess.run([binary(), "kubeconfig", "--state-dir", service.state_dir], env=env,
                              capture_output=True, text=True, timeout=30)
        assert made.returncode == 0, made.stderr
        with open(os.open(self.config, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(made.stdout)
        self.env = dict(os.environ, HOME=self.home, KUBECONFIG=self.config)

    def command(self, *words):
        return [self.path, "--cache-dir", os.path.join(self.home, "cache")] + list(words)

    def try_(self, *words, text=None, env=None, timeout=90):
        """The finished process, whatever its status."""
        return subprocess.run(self.command(*words), input=text, env=dict(self.env, **(env or {})),
                              capture_output=True, text=True, timeout=timeout)

    def __call__(self, *words, **more):
        """What it printed; raises Failed when it failed."""
        done = self.try_(*words, **more)
        if done.returncode != 0:
            raise Failed(words, done)
        return done.stdout + done.stderr

    def fails(self, *words, **more):
        """What it printed about its failure."""
        done = self.try_(*words, **more)
        assert done.returncode != 0, "should have failed: kubectl %s\n%s" % (words, done.stdout)
        return done.stdout + done.stderr

    def json(self, *words):
        done = self.try_(*words, "-o", "json")
        if done.returncode != 0:
            raise Failed(words, done)
        return json.loads(done.stdout)

    def start(self, *words):
        """A process that goes on; the caller ends it."""
        return subprocess.Popen(self.command(*words), env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
