"""The package under a real systemd: the unit starts when it is ready, is confined, is
watched, and lives through a restart of the engine."""

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
import unittest

from lib.engine import Engine
from lib.service import IMAGE, wait_for

KEY = "unit-key-5e1f"
SANDBOXES = 2
CONFIG = "sandbox:\n  min_size: %d\n  max_size: %d\n  default_image: \"%s\"\n" % (SANDBOXES, SANDBOXES, IMAGE)


def systemctl(*words):
    done = subprocess.run(["systemctl"] + list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=600)
    if done.returncode:
        raise AssertionError("systemctl %s: %s" % (" ".join(words), done.stdout))
    return done.stdout


def show(name):
    return systemctl("show", "-p", name, "--value", "paddock").strip()


def ask(method, path, body=None, timeout=120):
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=timeout)
    try:
        connection.request(method, path, body and json.dumps(body),
                           {"X-API-Key": KEY, "Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def hello():
    """a program that says hello"""
    try:
        status, body = ask("POST", "/execute", {"code": "print('hello')", "language": "python", "timeout": 60})
    except OSError:
        return False
    return status == 200 and json.loads(body)["output"] == "hello\n"


def is_well():
    """health"""
    try:
        return ask("GET", "/health")[0] == 200
    except OSError:
        return False


def instance():
    with open("/var/lib/paddock/instance") as file:
        return file.read().strip()


def sandboxes(state=None):
    return {c["Id"] for c in Engine().sandboxes(instance(), state=state)}


def full():
    """all sandboxes running"""
    found = sandboxes("running")
    return found if len(found) == SANDBOXES else None


def install():
    subprocess.run(["dpkg", "-i", "/job/paddock.deb"], check=True, timeout=600, stdout=subprocess.DEVNULL)
    with open("/etc/paddock/environment", "w") as file:
        file.write("EXECUTION_API_KEY=%s\n" % KEY)
    with open("/etc/paddock/default.yaml", "w") as file:
        file.write(CONFIG)
    systemctl("start", "paddock")


class Unit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        install()
        wait_for(full, 120)

    def test_1_started_when_it_says_so(self):
        self.assertEqual([show(n) for n in ("Type", "ActiveState", "SubState")], ["notify", "active", "running"])
        self.assertTrue(hello())
        with open("/sys/kernel/security/apparmor/profiles") as file:
            self.assertIn("paddock-sandbox (enforce)", file.read())
        log = subprocess.run(["journalctl", "-u", "paddock", "-o", "cat"], stdout=subprocess.PIPE, text=True,
                             timeout=120).stdout
        self.assertRegex(log, r"sandbox ready.* isolation=cell")

    def test_2_confined(self):
        pid = show("MainPID")
        with open("/proc/%s/status" % pid) as file:
            status = dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.M))
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertNotEqual(status["Uid"].split()[0], "0")
        with open("/proc/%s/mounts" % pid) as file:
            mounts = {f[1]: f[3].split(",") for f in (line.split() for line in file)}
        for path in ("/", "/sys/fs/cgroup", "/proc/sys"):
            self.assertIn("ro", mounts[path], path)
        self.assertIn("rw", mounts["/var/lib/paddock"])
        self.assertFalse(os.path.exists("/proc/%s/root/dev/vda" % pid))

    def test_3_a_service_that_hangs_is_replaced_and_its_sandboxes_adopted(self):
        before, pid = wait_for(full, 60), int(show("MainPID"))
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: int(show("NRestarts")) >= 1 and show("ActiveState") == "active", 180, 0.5)
        took = time.monotonic() - began
        self.assertNotEqual(int(show("MainPID")), pid)
        wait_for(hello, 60, 1)
        self.assertTrue(wait_for(full, 60) & before, "no sandbox was adopted")
        print("     replaced %.0f s after it stopped" % took)
        self.assertLess(took, 60, "the watchdog took %.0f s" % took)

    def test_4_killed_it_comes_back(self):
        pid = int(show("MainPID"))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: show("ActiveState") == "active" and int(show("MainPID")) not in (0, pid), 60, 0.5)
        wait_for(hello, 60, 1)
        wait_for(full, 60)  # one that was used before may have been replaced
        wait_for(lambda: sandboxes() == sandboxes("running"), 60, 0.5)

    def test_5_the_engine_is_restarted_under_load(self):
        pid, seen, stop = show("MainPID"), [], threading.Event()

        def load():
            while not stop.is_set():
                try:
                    seen.append(ask("POST", "/execute", {"code": "print(1)", "language": "python", "timeout": 10})[0])
                except OSError as error:
                    seen.append(str(error))
                if seen[-1] != 200:
                    time.sleep(0.5)

        threads = [threading.Thread(target=load, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: 200 in seen, 60)
            systemctl("restart", "docker")
            after = len(seen)
            wait_for(lambda: 200 in seen[after:], 120)
            wait_for(is_well, 120, 1)
        finally:
            stop.set()
            for thread in threads:
                thread.join(600)
        self.assertEqual(set(seen) - {200, 503}, set(), seen)
        wait_for(full, 120, 0.5)
        wait_for(lambda: sandboxes() == sandboxes("running"), 60, 0.5)
        self.assertEqual(show("MainPID"), pid, "the service was restarted, too")
