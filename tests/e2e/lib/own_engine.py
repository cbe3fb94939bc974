"""A dockerd of the test's own, on roots of its own; extra flags are passed on."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile

from lib.engine import Engine
from lib.service import wait_for


class OwnEngine:
    def __init__(self, *flags, prefix=()):
        self.flags = list(flags)
        self.prefix = list(prefix)  # a command that starts it
        self.dir = tempfile.mkdtemp(prefix="pd-eng-", dir="/var/tmp")
        self.socket = os.path.join(self.dir, "docker.sock")
        self.process = None

    def start(self):
        self._launch()
        wait_for(self._answers, 120)

    def _forget_dead_containerd(self):
        """One that has ended and that nobody has waited for yet passes for alive."""
        path = os.path.join(self.dir, "exec", "containerd", "containerd.pid")
        with contextlib.suppress(OSError, ValueError):
            with open(path) as file:
                pid = int(file.read())
            try:
                with open("/proc/%d/stat" % pid) as file:
                    dead = file.read().rpartition(")")[2].split()[0] in "ZX"
            except FileNotFoundError:
                dead = True
            if dead:
                os.unlink(path)

    def _launch(self):
        self._forget_dead_containerd()
        log = open(os.path.join(self.dir, "log"), "a")
        self.process = subprocess.Popen(
            # A network of its own: --bridge=none takes docker0 away, and another engine uses it.
            ["unshare", "--net"] + self.prefix + ["dockerd", "--data-root", self.dir + "/data", "--exec-root", self.dir + "/exec",
             "-p", self.dir + "/pid", "-H", "unix://" + self.socket, "--iptables=false",
             "--ip6tables=false", "--bridge=none"] + self.flags, stdout=log, stderr=log,
            start_new_session=True)

    def _answers(self):
        """the test's own engine"""
        if self.process.poll() is not None:
            # One that was killed leaves a containerd behind that is about to die, too; who
            # starts meanwhile waits for it in vain and ends. An init system starts it again.
            self._launch()
        try:
            return Engine(self.socket).call("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)

    def load(self, image):
        save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        subprocess.run(["docker", "-H", "unix://" + self.socket, "load"], stdin=save.stdout,
                       stdout=subprocess.DEVNULL, check=True)
        save.wait()

    def left_processes(self):
        """What an engine that was killed has left running: its shims and what they keep."""
        parents, ours = {}, set()
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                with open("/proc/%d/stat" % pid) as file:
                    parents[pid] = int(file.read().rpartition(")")[2].split()[1])
                with open("/proc/%d/cmdline" % pid, "rb") as file:
                    if self.dir.encode() in file.read():
                        ours.add(pid)
            except OSError:
                continue
        return [pid for pid, parent in parents.items() if parent in ours] + sorted(ours)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.stop()
        for pid in self.left_processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for _ in range(5):  # one that was killed leaves its data mounted on itself
            if subprocess.run(["umount", "-l", self.dir + "/data"], stderr=subprocess.DEVNULL).returncode:
                break
        shutil.rmtree(self.dir, ignore_errors=True)
