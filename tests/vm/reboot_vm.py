"""The machine is booted again with sandboxes running and a program in one of them: what
was left is removed, and the service comes back by itself."""

import json
import threading
import time
import unittest

import unit_vm
from lib.service import wait_for

NOTE = "/var/lib/paddock-vm-reboot"


def before():
    """What is true before the boot, written down; the machine goes down under it."""
    unit_vm.install()
    unit_vm.systemctl("enable", "paddock")
    wait_for(unit_vm.full, 120)
    wait_for(unit_vm.hello, 60, 1)
    accepted = json.loads(unit_vm.ask("POST", "/executions", {"code": "import time\ntime.sleep(600)",
                                                              "language": "python", "timeout": 300})[1])
    threading.Thread(target=unit_vm.ask, daemon=True, args=("POST", "/execute", {
        "code": "import time\ntime.sleep(300)", "language": "python", "timeout": 300})).start()
    time.sleep(3)
    with open(NOTE, "w") as file:
        json.dump({"sandboxes": sorted(unit_vm.sandboxes()), "accepted": accepted["id"]}, file)


class Reboot(unittest.TestCase):
    def test_comes_back_with_nothing_left(self):
        with open(NOTE) as file:
            old = json.load(file)
        wait_for(lambda: unit_vm.show("ActiveState") == "active", 60, 0.5)
        wait_for(unit_vm.hello, 120, 1)
        wait_for(unit_vm.full, 120, 0.5)
        wait_for(lambda: not unit_vm.sandboxes() & set(old["sandboxes"]), 60, 0.5)
        self.assertEqual(len(unit_vm.sandboxes()), unit_vm.SANDBOXES)
        status, body = unit_vm.ask("GET", "/executions/" + old["accepted"])
        self.assertEqual(status, 200, body)
        print("     the run that was under way: %s %s" % (json.loads(body).get("status"),
                                                         json.loads(body).get("cause")))
