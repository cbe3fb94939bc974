"""That this machine is the one which the other tests speak of."""

import json
import os
import subprocess
import unittest

from lib.service import Service, binary, short_form


def info():
    return json.loads(subprocess.run(["docker", "info", "-f", "{{json .}}"], check=True, timeout=120,
                                     stdout=subprocess.PIPE).stdout)


class Host(unittest.TestCase):
    def test_cgroup_v2_only(self):
        self.assertTrue(os.path.exists("/sys/fs/cgroup/cgroup.controllers"))
        self.assertEqual(str(info()["CgroupVersion"]), "2")

    def test_apparmor_is_in_force(self):
        with open("/sys/module/apparmor/parameters/enabled") as file:
            self.assertEqual(file.read().strip(), "Y")
        self.assertTrue([o for o in info()["SecurityOptions"] if "apparmor" in o])

    def test_systemd_is_the_init(self):
        with open("/proc/1/comm") as file:
            self.assertEqual(file.read().strip(), "systemd")

    def test_causes_of_an_end(self):
        """The causes of an end that only a control group of version 2 tells."""
        with Service(short_form(1, 1)) as service:
            service.wait_sandboxes(1, timeout=300)
            service.hello()
            answer = service.execute("x = bytearray(1 << 30)", timeout=120)
            self.assertEqual(answer["status"], "memory_exceeded", answer)
            busy = service.execute("import time\nend = time.process_time() + 0.5\n"
                                   "while time.process_time() < end: pass", timeout=120)
            self.assertGreater(busy["usage"]["cpu"], 0.4, busy)

    def test_what_a_control_group_would_cost(self):
        """A figure, not a limit. An emulated machine's says something beside a fork only."""
        program = os.path.join(os.path.dirname(binary()), "tests", "bench_cgroup_cost")
        self.assertIn("entered by clone3", self.measure(program))

    def measure(self, program):
        root = "/sys/fs/cgroup/paddock-bench-root"
        os.mkdir(root)
        try:
            with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as file:
                file.write("+memory +cpu +pids")
            text = subprocess.run([program, "300", root], check=True, timeout=600, text=True,
                                  stdout=subprocess.PIPE).stdout
        finally:
            os.rmdir(root)
        print("     " + text.replace("\n", "\n     ").rstrip())
        return text
