"""What DEPLOYMENT.md promises of upgrades and backups: an upgrade loses nothing that was
accepted, and a backup taken from a running service is all that a new host needs.

PADDOCK_OLD_BINARY: an older program to upgrade from; else the same one, copied."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from executions_test import done, get, post
from lib.service import Service, binary, short_form, wait_for

POOLS = "/apis/paddock.dev/v1/namespaces/default/sandboxpools"


def pool(name):
    return {"apiVersion": "paddock.dev/v1", "kind": "SandboxPool", "metadata": {"name": name},
            "spec": {"image": "python:3.11-slim", "minSize": 0, "maxSize": 1, "languages": ["python"]}}


class Installed(Service):
    """A service whose program can be exchanged."""

    program = None

    def command(self):
        return [self.program or binary()] + super().command()[1:]


def new_key(state_dir):
    text = subprocess.run([binary(), "key", "new", "--name", "site", "--scopes", "execute,read",
                           "--state-dir", state_dir], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=60).stdout
    return text.split()[0]


class Upgrade(unittest.TestCase):
    def test_with_runs_queued_under_way_and_waited_for(self):
        folder = tempfile.mkdtemp(prefix="pd-old-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        old = os.path.join(folder, "paddock")
        shutil.copy2(os.environ.get("PADDOCK_OLD_BINARY") or binary(), old)
        service = Installed(short_form(1, 1))
        service.program = old
        with service:
            service.wait_sandboxes(1)
            service.request("POST", POOLS, pool("made-by-api"))
            before = service.request("GET", POOLS + "/made-by-api").json["metadata"]["uid"]
            key = new_key(service.state_dir)
            first = service.execute("print('history')")["id"]
            wait_for(lambda: get(service, first).status == 200)
            ids = [post(service, {"code": "import time; time.sleep(0.5); print(%d)" % i},
                        Idempotency_Key="upgrade-%d" % i).json["id"] for i in range(12)]
            answers = []
            waiting = threading.Thread(target=lambda: answers.append(
                service.request("POST", "/execute", {"code": "print('waited')"}, {"Idempotency-Key": "upgrade-sync"})))
            waiting.start()
            wait_for(lambda: "running" in {get(service, id).json["status"] for id in ids})
            self.assertEqual(service.stop(), 0)
            waiting.join(60)
            self.assertEqual(service.containers(), [])
            service.program = None  # the new one
            service.start()
            for number, id in enumerate(ids):
                end = done(service, id, 120)
                self.assertEqual((end["cause"], end["result"]["output"]), ("exited", "%d\n" % number), end)
            # Asked again under their keys they are what they were; nothing runs twice.
            again = post(service, {"code": "import time; time.sleep(0.5); print(0)"}, Idempotency_Key="upgrade-0")
            self.assertEqual(again.json["id"], ids[0])
            self.assertEqual(get(service, first).json["cause"], "exited")
            kept = wait_for(lambda: [found for found in [service.request("GET", POOLS + "/made-by-api")]
                                     if found.status == 200])[0]
            self.assertEqual(kept.json["metadata"]["uid"], before)
            service.key, admin = key, service.key
            self.assertEqual(service.execute("print(1)")["output"], "1\n")
            service.key = admin
            self.check_waited_for(service, answers)

    def check_waited_for(self, service, answers):
        """One that a client waited for was answered before the stop, or is refused and can be
        had under its key."""
        if answers and answers[0].status == 200:
            return
        again = service.request("POST", "/execute", {"code": "print('waited')"}, {"Idempotency-Key": "upgrade-sync"})
        self.assertEqual((again.status, again.json["output"]), (200, "waited\n"))


class Backup(unittest.TestCase):
    def back_up(self, source, target):
        """As DEPLOYMENT.md says it."""
        database = os.path.join(target, "paddock.db")
        subprocess.run(["sqlite3", os.path.join(source, "paddock.db"), ".backup '%s'" % database],
                       check=True, timeout=120)
        for name in ("key", "keys.d", "tls"):
            path = os.path.join(source, name)
            if os.path.isdir(path):
                shutil.copytree(path, os.path.join(target, name))
            elif os.path.exists(path):
                shutil.copy2(path, target)
        os.chmod(database, 0o600)

    def test_taken_while_it_runs_and_restored_elsewhere(self):
        if not shutil.which("sqlite3"):
            raise unittest.SkipTest("sqlite3 is not installed")
        folder = tempfile.mkdtemp(prefix="pd-backup-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        stop = threading.Event()
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            service.request("POST", POOLS, pool("made-by-api"))
            key = new_key(service.state_dir)
            ids = [post(service, {"code": "print(%d)" % i}).json["id"] for i in range(5)]
            for id in ids:
                done(service, id)
            plain = service.execute("print('plain')")["id"]
            wait_for(lambda: get(service, plain).status == 200)

            def write():
                while not stop.is_set():
                    service.request("POST", "/execute", {"code": "print(1)"})
                    time.sleep(0.01)
            writer = threading.Thread(target=write)
            writer.start()
            try:
                self.back_up(service.state_dir, folder)
            finally:
                stop.set()
                writer.join(60)
            old_instance = service.instance
        restored = Service(short_form(1, 2))
        os.mkdir(restored.state_dir, 0o700)
        shutil.copytree(folder, restored.state_dir, dirs_exist_ok=True)
        with restored:
            restored.wait_sandboxes(1)
            self.assertNotEqual(restored.instance, old_instance)
            for number, id in enumerate(ids):
                self.assertEqual(get(restored, id).json["result"]["output"], "%d\n" % number)
            self.assertEqual(get(restored, plain).json["cause"], "exited")
            wait_for(lambda: restored.request("GET", POOLS + "/made-by-api").status == 200)
            restored.key = key
            self.assertEqual(restored.execute("print('on the new host')")["output"], "on the new host\n")


if __name__ == "__main__":
    unittest.main()
