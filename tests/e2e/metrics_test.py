"""GET /metrics: what it says, that promtool and a real Prometheus understand it, and
that the dashboard and the alert rules ask for what is there."""

import json
import os
import re
import subprocess
import threading
import time
import unittest

from lib.prometheus import Prometheus, need
from lib.service import ROOT, Service, manifest, short_form, wait_for

OBSERVABILITY = os.path.join(ROOT, "deploy", "observability")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def samples(text):
    """{name{labels}: value}"""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if line and not line.startswith("#")}


def total(found, name, **labels):
    return sum(value for key, value in found.items()
               if key.split("{")[0] == name
               and all('%s="%s"' % pair in key for pair in labels.items()))


def expressions():
    with open(os.path.join(OBSERVABILITY, "dashboard.json")) as file:
        board = json.load(file)
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(1, 2)).start()
        cls.addClassCleanup(cls.service.close)
        cls.service.wait_sandboxes(1)

    def text(self, accept="text/plain"):
        answer = self.service.request("GET", "/metrics", headers={"Accept": accept})
        self.assertEqual(answer.status, 200, answer)
        return answer.headers["Content-Type"], answer.body.decode()

    def test_counts_what_happens(self):
        before = samples(self.text()[1])
        self.service.hello()
        self.service.hello("bash")
        self.assertFalse(self.service.execute("import sys; sys.exit(3)")["success"])
        self.service.execute("while True: pass", timeout=0.3)
        self.assertEqual(self.service.request("POST", "/execute", {"code": 1}).status, 422)
        self.assertEqual(self.service.request("GET", "/nowhere").status, 404)
        self.assertEqual(self.service.request("GET", "/languages", key=False).status, 401)
        after = samples(self.text()[1])

        def grown(name, **labels):
            return total(after, name, **labels) - total(before, name, **labels)
        self.assertEqual(grown("paddock_executions_total", pool="default"), 4)
        self.assertEqual(grown("paddock_executions_total", language="python", cause="exited"), 2)
        self.assertEqual(grown("paddock_executions_total", language="bash", cause="exited"), 1)
        self.assertEqual(grown("paddock_executions_total", cause="timed_out"), 1)
        for histogram in ("queue", "start", "run"):
            self.assertEqual(grown("paddock_execution_%s_seconds_count" % histogram), 4)
        self.assertGreaterEqual(grown("paddock_execution_run_seconds_sum"), 0.3)
        self.assertEqual(grown("paddock_execution_starts_total"), 4)
        self.assertEqual(grown("paddock_http_requests_total", route="/execute", code="200"), 4)
        self.assertEqual(grown("paddock_http_requests_total", route="/execute", code="422"), 1)
        self.assertEqual(grown("paddock_http_requests_total", route="none", code="404"), 1)
        self.assertEqual(grown("paddock_http_requests_total", route="/languages", code="401"), 1)
        self.assertGreaterEqual(total(after, "paddock_sandboxes", phase="warm"), 1)
        self.assertEqual(total(after, "paddock_provider_up", provider="docker"), 1)
        self.assertEqual(total(after, "paddock_ready"), 1)
        self.assertEqual(total(after, "paddock_pool_max_size", pool="default"), 2)
        self.assertGreaterEqual(total(after, "paddock_provider_calls_total",
                                      operation="containers_create", code="201"), 1)
        self.assertGreater(total(after, "paddock_loop_turn_seconds_count"), 10)
        self.assertGreater(total(after, "paddock_reconcile_seconds_count"), 1)
        self.assertGreaterEqual(total(after, "paddock_http_connections"), 1)
        self.assertGreater(total(after, "process_resident_memory_bytes"), 1e6)
        self.assertLess(abs(time.time() - total(after, "process_start_time_seconds")), 3600)
        wait_for(lambda: total(samples(self.text()[1]), "paddock_refill_seconds_count") > 0)

    def test_a_queue_shows_and_goes(self):
        callers = [threading.Thread(target=self.service.execute,
                                    args=("import time; time.sleep(1.5)",)) for _ in range(4)]
        for caller in callers:
            caller.start()
        wait_for(lambda: total(samples(self.text()[1]), "paddock_queue_runs") >= 1, 20, 0.02)
        for caller in callers:
            caller.join()
        found = samples(self.text()[1])
        self.assertEqual(total(found, "paddock_queue_runs"), 0)
        self.assertEqual(total(found, "paddock_executions_active"), 0)

    def test_pools_that_are_gone_are_gone(self):
        self.service.write_pool("short", manifest("short-lived", minSize="0", maxSize="1"))
        wait_for(lambda: 'paddock_pool_max_size{pool="short-lived"} 1' in self.text()[1])
        self.service.remove_pool("short")
        wait_for(lambda: 'paddock_pool_max_size{pool="short-lived"}' not in self.text()[1])

    def test_kubernetes_requests_by_resource_and_verb(self):
        pools = "/apis/paddock.dev/v1/namespaces/default/sandboxpools"
        merge = {"Content-Type": "application/merge-patch+json"}
        self.service.request("GET", pools)
        self.service.request("GET", pools + "/default")
        self.service.request("GET", pools + "?watch=1&timeoutSeconds=1")
        self.service.request("PATCH", pools + "/default/scale", '{"spec":{"replicas":1}}', merge)
        self.service.request("DELETE", pools + "/never-was")
        self.service.request("GET", "/apis")
        for name in range(20):  # names are nobody's label
            self.service.request("GET", pools + "/p%d" % name)
        found = samples(self.text()[1])
        for route, code in (("sandboxpools:list", 200), ("sandboxpools:get", 200), ("sandboxpools:watch", 200),
                            ("sandboxpools/scale:patch", 409), ("sandboxpools:delete", 404),
                            ("sandboxpools:get", 404), ("/apis", 200)):
            self.assertGreaterEqual(total(found, "paddock_http_requests_total", route=route, code=code), 1,
                                    (route, code))
        self.assertFalse([key for key in found if "p19" in key or "never-was" in key])

    def test_needs_a_key(self):
        self.assertEqual(self.service.request("GET", "/metrics", key=False).status, 401)

    def test_forms(self):
        kind, text = self.text()
        self.assertEqual(kind, "text/plain; version=0.0.4; charset=utf-8")
        self.assertNotIn("# EOF", text)
        kind, text = self.text(OPENMETRICS + ";q=0.5,text/plain;q=0.1")
        self.assertIn("openmetrics-text; version=1.0.0", kind)
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertIn("# TYPE paddock_executions counter\n", text)
        self.assertIn("text/plain", self.text("application/openmetrics-text;q=0, */*")[0])

    def test_promtool_finds_nothing(self):
        need("promtool")
        self.service.hello()
        done = subprocess.run(["promtool", "check", "metrics"], input=self.text()[1], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, ""), done.stdout)

    def test_document_names_every_figure(self):
        with open(os.path.join(ROOT, "common", "metrics_table.c")) as file:
            table = set(re.findall(r'= \{"((?:paddock|process)_\w+)"', file.read()))
        with open(os.path.join(ROOT, "docs", "observability.md")) as file:
            told = set(re.findall(r"^\| `((?:paddock|process)_\w+)`", file.read(), re.M))
        self.assertEqual(table, told)
        self.assertGreater(len(table), 30)

    def test_rules_and_dashboard_name_only_figures(self):
        with open(os.path.join(ROOT, "common", "metrics_table.c")) as file:
            table = set(re.findall(r'= \{"((?:paddock|process)_\w+)"', file.read()))
        with open(os.path.join(OBSERVABILITY, "alerts.yaml")) as file:
            asked = {("alerts", line) for line in re.findall(r"expr: (.*)", file.read())}
        for where, text in asked | set(expressions()):
            for name in re.findall(r"\b((?:paddock|process)_\w+)", text):
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                self.assertTrue({name, base} & table, "%s asks for %s" % (where, name))


def filled(text):
    """A query of the dashboard, its variables filled in."""
    for name in ("job", "instance", "pool"):
        text = text.replace("$" + name, ".*")
    return text.replace("$__rate_interval", "20s")


class RealPrometheus(unittest.TestCase):
    """The shipped scrape configuration and rules in a Prometheus, the dashboard's
    queries asked of it."""

    def test_scrapes_and_answers_the_dashboard(self):
        crowded = manifest("crowded", minSize="0", maxSize="1", queue="{maxLength: 1, maxWait: 30s}")
        with Service(short_form(1, 2), pools={"crowded": crowded}) as service, \
                Prometheus(service) as self.prometheus:
            service.wait_sandboxes(1)
            service.hello()
            wait_for(lambda: self.prometheus.query("up{job='paddock'} == 1"), 60, 0.3)
            self.refuse(service)
            end = time.monotonic() + 120
            while True:  # rates need figures that move while they are scraped
                service.hello()
                time.sleep(1.2)
                missing = self.unanswered()
                if not missing:
                    break
                self.assertLess(time.monotonic(), end, missing)
            self.check_rules()

    def refuse(self, service):
        """More runs than a queue of one takes: some are refused before they begin."""
        def ask():
            answers.append(service.request("POST", "/execute", {
                "code": "import time; time.sleep(1)", "pool": "crowded"}).status)
        answers = []
        callers = [threading.Thread(target=ask) for _ in range(5)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertIn(429, answers)

    def unanswered(self):
        """What of the dashboard has no answer yet; what Prometheus refuses fails."""
        return [(title, text) for title, text in expressions()
                if not self.prometheus.query(filled(text))]

    def check_rules(self):
        groups = wait_for(lambda: self.prometheus.ask("/api/v1/rules"), 20)["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreaterEqual(len(rules), 10)
        self.assertFalse([rule["name"] for rule in rules if rule.get("lastError")])
        firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
        self.assertEqual(firing, [])


if __name__ == "__main__":
    unittest.main()
