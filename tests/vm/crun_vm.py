"""Cells, and every attack, under crun on control groups of version 2."""

import unittest

import apparmor_vm
from apparmor_vm import ISOLATIONS
from lib.service import Service, manifest, short_form


class Crun(unittest.TestCase):
    def test_attacks(self):
        apparmor_vm.load()
        pools = {"iso-" + name: manifest("iso-" + name, minSize=1, maxSize=2, isolation=name, runtime="crun",
                                         languages="[python, bash]") for name in ISOLATIONS}
        with Service(short_form(0, 1), pools=pools) as service:
            for name in ISOLATIONS:
                with self.subTest(isolation=name):
                    sandbox = service.wait_sandboxes(1, "iso-" + name, timeout=180)[0]
                    self.assertEqual(service.engine.inspect(sandbox["Id"])["HostConfig"]["Runtime"], "crun")
                    apparmor_vm.attacks(self, service, "iso-" + name)
                    self.assertRegex(service.log(), r"sandbox ready.* pool=iso-%s .*isolation=%s" % (name, name))
            answer = service.execute("x = bytearray(1 << 30)", pool="iso-cell", timeout=60)
            self.assertEqual(answer["status"], "memory_exceeded", answer)
