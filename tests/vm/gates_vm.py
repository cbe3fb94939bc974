"""A gate of the kernel that is closed to cells is named, with how to open it; the pool is
weaker, says why, and is not broken."""

import subprocess
import unittest

import apparmor_vm
from lib.service import Service, short_form

GATES = ("user.max_user_namespaces", "kernel.unprivileged_userns_clone")


def sysctl(name, value=None):
    path = "/proc/sys/" + name.replace(".", "/")
    if value is None:
        with open(path) as file:
            return file.read().strip()
    with open(path, "w") as file:
        file.write(value)
    return value


class Gates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        apparmor_vm.load()

    def test_each(self):
        for gate in GATES:
            with self.subTest(gate=gate):
                was = sysctl(gate)
                sysctl(gate, "0")
                try:
                    self.closed(gate)
                finally:
                    sysctl(gate, was)
        self.assertEqual(apparmor_vm.check_live()[0], 0)

    def closed(self, gate):
        status, said = apparmor_vm.check_live()
        self.assertEqual(status, 1, said)
        self.assertIn("sysctl -w %s=" % gate, said)
        with Service(short_form(1, 1)) as service:
            service.wait_sandboxes(1, timeout=120)
            service.hello()
            self.assertRegex(service.log(), r"sandbox ready.* isolation=container")
            pool = service.request("GET", "/apis/paddock.dev/v1/namespaces/default/sandboxpools/default").json
            said = [c["message"] for c in pool["status"]["conditions"] if "unshare" in c.get("message", "")]
            self.assertTrue(said, pool["status"]["conditions"])
