"""The alert rules: each fires on what it is for and not before (by promtool), its runbook
speaks of what exists, and a real Prometheus fires them at a service brought into trouble."""

import os
import re
import subprocess
import threading
import unittest

import yaml

from lib.door import Door
from lib.engine import Engine
from lib.prometheus import OBSERVABILITY, Prometheus, need
from lib.service import ROOT, Service, binary, is_sanitized, manifest, short_form, wait_for


def rules():
    with open(os.path.join(OBSERVABILITY, "alerts.yaml")) as file:
        return [rule for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]


def faster(text):
    """The rules with short memories: minutes become seconds."""
    text, waits = re.subn(r"for: \d+[mh]", "for: 1s", text)
    assert waits >= 9, text
    return re.sub(r"\[(5|10)m\]", "[20s]", text)


class Rules(unittest.TestCase):
    def promtool(self, *words):
        need("promtool")
        done = subprocess.run(("promtool",) + words, cwd=OBSERVABILITY, timeout=120, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_promtool(self):
        self.promtool("check", "rules", "alerts.yaml")
        self.promtool("test", "rules", "alerts_test.yaml")
        self.promtool("check", "config", "--syntax-only", "prometheus.yaml")

    def test_each_is_tested_firing_and_quiet(self):
        with open(os.path.join(OBSERVABILITY, "alerts_test.yaml")) as file:
            cases = [case for test in yaml.safe_load(file)["tests"] for case in test["alert_rule_test"]]
        names = {rule["alert"] for rule in rules()}
        self.assertEqual({case["alertname"] for case in cases if case["exp_alerts"]}, names)
        self.assertEqual({case["alertname"] for case in cases if not case["exp_alerts"]}, names)

    def test_runbooks_speak_of_what_exists(self):
        """Figures, commands of paddock, log lines and other alerts that a runbook names."""
        with open(os.path.join(ROOT, "common", "metrics_table.c")) as file:
            figures = set(re.findall(r'= \{"((?:paddock|process)_\w+)"', file.read()))
        known = subprocess.run([binary(), "--help"], stdout=subprocess.PIPE, text=True, timeout=30).stdout
        source = ""
        for folder in ("api", "cli", "common", "controller"):
            for name in os.listdir(os.path.join(ROOT, folder)):
                if name.endswith(".c"):
                    with open(os.path.join(ROOT, folder, name)) as file:
                        source += file.read()
        names = {rule["alert"] for rule in rules()}
        for rule in rules():
            runbook = rule["annotations"]["runbook"]
            self.assertGreater(len(runbook), 40, rule)
            for figure in re.findall(r"\bpaddock_\w+", runbook):
                self.assertIn(figure, figures, rule["alert"])
            for command in re.findall(r"\bpaddock ([a-z]+)\b", re.sub(r"systemctl \w+ paddock|Restarting paddock", "", runbook)):
                self.assertRegex(known, r"(?m)^  %s\b" % command, rule["alert"])
            for line in re.findall(r"log lines? '([^']+)'", runbook):
                self.assertIn('"%s"' % line, source, rule["alert"])
            for other in re.findall(r"\bPaddock[A-Z]\w+", runbook):
                self.assertIn(other, names, rule["alert"])


class InTrouble(unittest.TestCase):
    """One service, brought into one trouble after the other."""

    def fires(self, name, pool=None, timeout=90):
        def firing():
            return (name, pool) in self.prometheus.firing()
        firing.__doc__ = "%s to fire, of pool %s" % (name, pool)
        wait_for(firing, timeout, 0.5)

    def test_each_fires(self):
        if is_sanitized():
            print("     the rules are the same for every build: fired with the plain one only")
            return
        crowded = manifest("crowded", minSize="1", maxSize="1", queue="{maxLength: 2, maxWait: 20s}")
        with Door() as door, Service(short_form(1, 2), socket_path=door.path,
                                     pools={"crowded": crowded}) as service:
            service.engine = Engine()  # the test's own way round the door
            service.wait_sandboxes(1, "crowded")
            service.wait_sandboxes(1, "default")
            with Prometheus(service, faster) as self.prometheus:
                wait_for(lambda: self.prometheus.query("paddock_ready == 1"), 60, 0.3)
                service.hello()
                self.assertEqual(self.prometheus.firing(), set())
                self.trouble_with_pools(service)
                self.trouble_with_runs(service)
                door.shut()
                for name in ("PaddockProviderDown", "PaddockNotReady"):
                    self.fires_any(name)
                door.open()
                wait_for(lambda: not self.prometheus.query("paddock_ready == 0") and
                         service.request("GET", "/readyz").status == 200, 90, 0.5)
                wait_for(lambda: ("PaddockNotReady", None) not in self.prometheus.firing(), 60, 0.5)
                service.stop()
                self.fires_any("PaddockDown")
                service.start()

    def fires_any(self, name):
        def firing():
            return name in {found for found, _ in self.prometheus.firing()}
        firing.__doc__ = name + " to fire"
        wait_for(firing, 90, 0.5)

    def trouble_with_pools(self, service):
        """An image that nobody has."""
        service.write_pool("broken", manifest("broken", image="paddock-test/no-such-image:1", minSize="1",
                                              maxSize="1"))
        self.fires("PaddockPoolUnavailable", "broken")
        self.fires("PaddockPoolDegraded", "broken")
        service.remove_pool("broken")

    def trouble_with_runs(self, service):
        """More runs than a pool can take, and sandboxes that die under them."""
        stop = threading.Event()

        def press():
            while not stop.is_set():
                service.request("POST", "/execute", {"code": "import time; time.sleep(2.5)", "pool": "crowded"})
                stop.wait(0.1)

        def kill():
            while not stop.wait(1):
                for found in service.sandboxes("crowded", "running"):
                    service.engine.kill(found["Id"])
        threads = [threading.Thread(target=press) for _ in range(5)]
        for thread in threads:
            thread.start()
        try:
            self.fires("PaddockQueueSlow", "crowded")
            self.fires("PaddockRefusing", "crowded")
            threads.append(threading.Thread(target=kill))
            threads[-1].start()
            self.fires("PaddockRunsLost", "crowded")
        finally:
            stop.set()
            for thread in threads:
                thread.join(120)


if __name__ == "__main__":
    unittest.main()
