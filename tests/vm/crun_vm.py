"""Cells, and every attack, under crun on control groups of version 2."""

import unittest

import apparmor_vm
from attacks_test import Held, selftest
from lib.service import Service, manifest, short_form


class Crun(unittest.TestCase):
    def test_attacks(self):
        apparmor_vm.load()
        pools = {"iso-" + name: manifest("iso-" + name, minSize=1, maxSize=2, isolation=name, runtime="crun",
                                         languages="[python, bash]") for name in Held.ISOLATIONS}
        with Service(short_form(0, 1), pools=pools) as service:
            for name in Held.ISOLATIONS:
                with self.subTest(isolation=name):
                    sandbox = service.wait_sandboxes(1, "iso-" + name, timeout=180)[0]
                    self.assertEqual(service.engine.inspect(sandbox["Id"])["HostConfig"]["Runtime"], "crun")
                    status, output = selftest(service, "iso-" + name)
                    self.assertEqual(status, 0, output)
                    self.assertRegex(service.log(), r"sandbox ready.* pool=iso-%s .*isolation=%s" % (name, name))
            answer = service.execute("x = bytearray(1 << 30)", pool="iso-cell", timeout=60)
            self.assertEqual(answer["status"], "memory_exceeded", answer)
